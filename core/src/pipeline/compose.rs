//! Composes the document of a pipeline: files that it includes and templates that its jobs extend.

pub(crate) mod include;
pub(crate) mod merge;
pub(crate) mod templates;
