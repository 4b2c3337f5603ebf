//! Implements the ports on AWS: records and logs in DynamoDB, the queue in SQS, objects in S3.

mod backoff;
mod changes;
mod connect;
mod dead_letters;
mod documents;
mod failure;
mod keys;
mod logs;
mod meter;
mod objects;
mod parameter;
mod queue;
mod records;
mod table;

pub use changes::{StreamChange, parse_change};
pub use connect::{ResourceNames, load_sdk_config, open, open_with_clock};
pub use dead_letters::{DeadLetterQueue, DeadMessage};
pub use documents::DynamoDocuments;
pub use logs::AwsLogs;
pub use meter::Meter;
pub use objects::S3Objects;
pub use queue::{MessageBody, SqsQueue};
pub use records::DynamoRecords;
