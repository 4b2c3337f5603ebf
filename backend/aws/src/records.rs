//! The records in DynamoDB.

mod artifacts;
mod commit;
mod definition;
mod due;
mod due_partitions;
mod fold;
mod items;
mod list;
mod plain;
mod port;
mod removal;
mod spread;
mod staging;
mod store;

pub use definition::Definitions;
pub use store::DynamoRecords;
