//! Checks of each port.

pub mod documents;
pub mod exact_queue;
pub mod listing;
pub mod logs;
pub mod objects;
pub mod queue;
pub mod queue_with_labels;
pub mod records;
pub mod removal;
