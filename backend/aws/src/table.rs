//! The DynamoDB table.

mod batch;
mod client;
mod item;
mod write;

pub use client::{Query, Table};
pub use item::{Item, Key, binary, get_binary, get_number, get_text, number, size, text};
pub use write::{Change, WriteOutcome};
