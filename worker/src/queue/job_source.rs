//! Sources of jobs: the port, with two adapters for the server's long poll and an SQS queue.

mod long_poll;
mod port;
#[cfg(feature = "sqs")]
mod sqs;

pub use long_poll::LongPoll;
pub use port::{JobOffer, JobRequest, JobSource, JobSourceError, Receipt};
#[cfg(feature = "sqs")]
pub use sqs::{SqsJobSource, SqsRequests, SqsSettings, SqsUsage};
