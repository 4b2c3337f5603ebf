//! The DynamoDB table.

mod batch;
mod client;
mod item;
mod write;

pub use client::{Query, Table};
pub use item::{Item, Key, binary, get_binary, get_number, get_text, named_attributes, number, size, text};
pub use write::{Change, WriteOutcome};
