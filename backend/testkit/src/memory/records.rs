//! The records in memory.

mod batch;
mod observer;
mod port;
mod state;

pub use observer::{Change, Observer};
pub use port::MemoryRecords;
