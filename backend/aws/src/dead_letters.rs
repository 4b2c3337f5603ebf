//! The dead-letter queue: messages of jobs that no worker could take.

use super::{failure::storage_error, meter::Meter, queue::MessageBody};
use aws_config::SdkConfig;
use aws_sdk_sqs::Client;
use std::fmt;
use tidemill_core::execution::cost::Usage;
use tidemill_services::error::Result;

/// Maximum messages of one ReceiveMessage (Amazon SQS Developer Guide, quotas).
const MAX_BATCH_LEN: i32 = 10;

/// The dead-letter queue in SQS.
#[derive(Debug, Clone)]
pub struct DeadLetterQueue {
    client: Client,
    url: String,
    meter: Meter,
}

/// A received message. Unless it is deleted, it is received again after the queue's visibility timeout.
pub struct DeadMessage {
    /// The message's body; `None`: the message is not from Tidemill.
    pub body: Option<MessageBody>,
    receipt: String,
}

impl fmt::Debug for DeadMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadMessage").field("body", &self.body).finish_non_exhaustive()
    }
}

impl DeadLetterQueue {
    /// Creates the client of the queue at this URL.
    #[must_use]
    pub fn new(sdk: &SdkConfig, url: String, meter: Meter) -> Self {
        Self { client: Client::new(sdk), url, meter }
    }

    fn count(&self) {
        self.meter.count(Usage { queue_requests: 1, ..Usage::default() });
    }

    /// Receives messages that are there, without waiting.
    pub async fn receive(&self) -> Result<Vec<DeadMessage>> {
        self.count();
        let request =
            self.client.receive_message().queue_url(&self.url).max_number_of_messages(MAX_BATCH_LEN);
        let reply = request
            .wait_time_seconds(0)
            .send()
            .await
            .map_err(|error| storage_error("receiving from the dead-letter queue", error))?;
        let message = |message: &aws_sdk_sqs::types::Message| DeadMessage {
            body: serde_json::from_str(message.body().unwrap_or_default()).ok(),
            receipt: message.receipt_handle().unwrap_or_default().to_owned(),
        };
        Ok(reply.messages().iter().map(message).collect())
    }

    /// Deletes a message.
    pub async fn delete(&self, message: &DeadMessage) -> Result<()> {
        self.count();
        let delete = self.client.delete_message().queue_url(&self.url).receipt_handle(&message.receipt);
        let sent = delete.send().await;
        sent.map(drop).map_err(|error| storage_error("deleting from the dead-letter queue", error))
    }
}
