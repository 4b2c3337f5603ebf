//! What a job says about itself: a summary in Markdown, and annotations, which are remarks on places in the sources. They are
//! shown with the execution and decide nothing.

pub mod annotation;
pub mod command;
pub mod markdown;
pub mod report_file;
pub mod view;
