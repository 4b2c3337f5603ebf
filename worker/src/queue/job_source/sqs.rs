//! Jobs from an SQS queue: a message contains a job's id, and the server's API grants its lease.
//!
//! The records are authoritative and a message is only a hint, so a message delivered twice, late or never is harmless: the API
//! rejects a claim of a job that is running or ended, and the sweep sends the message of an unclaimed job again.

use super::port::{JobOffer, JobRequest, JobSource, JobSourceError, Receipt};
use crate::client::{ApiClient, ApiError, format_causes};
use async_trait::async_trait;
use aws_sdk_sqs::{
    Client,
    config::{
        ConfigBag, Intercept, Region, RuntimeComponents, interceptors::BeforeTransmitInterceptorContextRef,
        timeout::TimeoutConfig,
    },
    error::BoxError,
    error::{ProvideErrorMetadata, SdkError},
    operation::change_message_visibility::ChangeMessageVisibilityError,
    types::{Message, MessageSystemAttributeName},
};
use serde::Deserialize;
use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tidemill_core::{
    api::{JobExecuteReply, JobExecuteRequest},
    ids::{JobId, LeaseToken},
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The first pause before a message is visible again whose job could not be claimed. It doubles with each receipt, so that
/// the five receipts of the dead-letter rule outlast an API that is down for some minutes.
const INITIAL_BACK_OFF: Duration = Duration::from_secs(15);
const MAX_BACK_OFF: Duration = Duration::from_secs(900);
/// Claims without a reply before the message is made visible again.
const MAX_CLAIM_ATTEMPTS: u32 = 3;
/// The first pause before a claim is retried. It doubles.
const CLAIM_RETRY_DELAY: Duration = Duration::from_millis(500);
/// The pause after a failed extension of a message's visibility timeout.
const HOLD_RETRY_DELAY: Duration = Duration::from_secs(2);
/// Time after which the message of a running job is deleted: less than the 12 hours for which SQS hides one.
const MAX_HOLD: Duration = Duration::from_secs(11 * 3_600);
/// The attribute that counts the receipts of a message.
const RECEIVE_COUNT: MessageSystemAttributeName = MessageSystemAttributeName::ApproximateReceiveCount;

/// Settings of an SQS job source.
#[derive(Debug, Clone)]
pub struct SqsSettings {
    /// The queue's URL.
    pub queue_url: String,
    /// The longest time that a request waits for a message. SQS accepts whole seconds up to 20.
    pub wait: Duration,
    /// How long a message is invisible to other workers after its receipt and after each extension. Longer than a lease, so
    /// that it stays invisible while the job runs.
    pub visibility: Duration,
    /// The pause before a message is visible again whose job could not be claimed, at its first receipt.
    pub back_off: Duration,
    /// How long the message of a running job is held, after which it is deleted. SQS hides a message for at most 12 hours.
    pub max_hold: Duration,
}

impl SqsSettings {
    /// Returns the default settings for the queue at `queue_url`.
    #[must_use]
    pub fn new(queue_url: impl Into<String>) -> Self {
        Self {
            queue_url: queue_url.into(),
            wait: Duration::from_secs(20),
            visibility: Duration::from_secs(60),
            back_off: INITIAL_BACK_OFF,
            max_hold: MAX_HOLD,
        }
    }
}

/// Requests that were sent to SQS, including retries, as each is billed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SqsUsage {
    /// `ReceiveMessage`.
    pub receive: u64,
    /// `DeleteMessage`.
    pub delete: u64,
    /// `ChangeMessageVisibility`.
    pub change_visibility: u64,
}

/// Counts requests to SQS as they are sent.
#[derive(Debug, Clone, Default)]
pub struct SqsRequests(Arc<[AtomicU64; 3]>);

impl SqsRequests {
    /// Returns the requests sent so far.
    #[must_use]
    pub fn usage(&self) -> SqsUsage {
        let [receive, delete, change_visibility] =
            [0, 1, 2].map(|index: usize| self.0[index].load(Ordering::Relaxed));
        SqsUsage { receive, delete, change_visibility }
    }
}

impl Intercept for SqsRequests {
    fn name(&self) -> &'static str {
        "tidemill: count requests"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let target = context.request().headers().get("x-amz-target").unwrap_or_default();
        let index = match target.rsplit('.').next() {
            Some("ReceiveMessage") => 0,
            Some("DeleteMessage") => 1,
            _ => 2,
        };
        self.0[index].fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// An SQS queue of job ids.
#[derive(Debug)]
pub struct SqsJobSource {
    sqs: Client,
    api: ApiClient,
    settings: SqsSettings,
    requests: SqsRequests,
    /// Whether the queue ever answered. A queue that never did is probably misspelled, or this worker lacks permissions.
    answered: AtomicBool,
}

/// The fields of a message that are read. Others are for other readers or later versions.
#[derive(Debug, Deserialize)]
struct JobMessage {
    job_id: JobId,
    #[serde(default)]
    trace: Option<String>,
}

/// A message. `count` is how often it was received, including this time.
struct ReceivedMessage {
    id: String,
    receipt: String,
    count: u32,
    body: String,
}

impl SqsJobSource {
    /// Connects to the queue in `settings`, with the credentials and region of the process's environment. Leases come from
    /// `api`.
    pub async fn connect(settings: SqsSettings, api: ApiClient) -> Self {
        use aws_smithy_http_client::{Builder, tls};
        let http = Builder::new()
            .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
            .build_https();
        let region = region_of(&settings.queue_url).map(Region::new);
        let mut loader = aws_config::from_env().http_client(http);
        if let Some(region) = region {
            loader = loader.region(region);
        }
        Self::new(&loader.load().await, settings, api)
    }

    /// Creates a source with the caller's AWS configuration.
    #[must_use]
    pub fn new(aws: &aws_config::SdkConfig, settings: SqsSettings, api: ApiClient) -> Self {
        let requests = SqsRequests::default();
        // A receive request waits by design; its reply takes at most that long plus the network's time.
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(5))
            .read_timeout(settings.wait + Duration::from_secs(10))
            .build();
        let config = aws_sdk_sqs::config::Builder::from(aws)
            .timeout_config(timeouts)
            .interceptor(requests.clone())
            .build();
        Self { sqs: Client::from_conf(config), api, settings, requests, answered: AtomicBool::new(false) }
    }

    /// Returns the counter of requests to SQS.
    #[must_use]
    pub fn requests(&self) -> SqsRequests {
        self.requests.clone()
    }

    /// Receives one message, which is invisible to other workers from now on.
    async fn receive(&self, wait: Duration) -> Result<Option<ReceivedMessage>, JobSourceError> {
        let received = self
            .sqs
            .receive_message()
            .queue_url(&self.settings.queue_url)
            .max_number_of_messages(1)
            .wait_time_seconds(whole_seconds(wait))
            .visibility_timeout(whole_seconds(self.settings.visibility))
            .message_system_attribute_names(RECEIVE_COUNT)
            .send()
            .await;
        let reply = received.map_err(|error| self.receive_error(&error))?;
        self.answered.store(true, Ordering::Relaxed);
        Ok(reply.messages.unwrap_or_default().into_iter().next().and_then(read_message))
    }

    fn receive_error<E, R>(&self, error: &SdkError<E, R>) -> JobSourceError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug,
    {
        let message =
            format!("the queue {} cannot be read: {}", self.settings.queue_url, format_causes(error));
        // The code without the namespace that SQS and KMS prepend.
        let code = error.code().and_then(|code| code.rsplit(['.', '#']).next());
        let is_unusable = matches!(
            code,
            Some(
                "NonExistentQueue"
                    | "QueueDoesNotExist"
                    | "AccessDenied"
                    | "AccessDeniedException"
                    | "KmsAccessDenied"
            )
        );
        // Once the queue has answered, the worker keeps running: permissions and queues may be restored, but a worker that exits
        // loses its jobs.
        if is_unusable && !self.answered.load(Ordering::Relaxed) {
            return JobSourceError::Unusable(message);
        }
        JobSourceError::Transient(message)
    }

    /// Makes the message visible to other workers after `after`.
    async fn change_visibility(
        &self,
        receipt: &str,
        after: Duration,
    ) -> Result<(), SdkError<ChangeMessageVisibilityError>> {
        let changed = self
            .sqs
            .change_message_visibility()
            .queue_url(&self.settings.queue_url)
            .receipt_handle(receipt)
            .visibility_timeout(whole_seconds(after))
            .send()
            .await;
        changed.map(drop)
    }

    async fn release(&self, message: &ReceivedMessage, after: Duration) {
        if let Err(error) = self.change_visibility(&message.receipt, after).await {
            tracing::info!(error = %format_causes(&error), "the message stays invisible until its visibility timeout");
        }
    }

    async fn delete(&self, receipt: &str) {
        let deleted = self
            .sqs
            .delete_message()
            .queue_url(&self.settings.queue_url)
            .receipt_handle(receipt)
            .send()
            .await;
        if let Err(error) = deleted {
            tracing::warn!(error = %format_causes(&error),
                "the message of a settled job could not be deleted; it is delivered once more");
        }
    }

    /// Claims the job of `message`; `None` if there is nothing to run.
    async fn claim(
        &self,
        message: ReceivedMessage,
        request: &JobRequest,
    ) -> Result<Option<JobOffer>, JobSourceError> {
        let body = match serde_json::from_str::<JobMessage>(&message.body) {
            Ok(body) => body,
            Err(error) => {
                // Its text is not logged, as it may contain anything.
                tracing::error!(%error, message = %message.id, receipts = message.count,
                    "a message cannot be read; it is left for the dead-letter queue");
                return Ok(None);
            }
        };
        let job = body.job_id;
        let claim = JobExecuteRequest {
            labels: request.labels.clone(),
            worker: request.worker.clone(),
            job_id: Some(job),
            execution_id: None,
            // Generated here, so that a retried claim after a lost reply returns the same attempt.
            lease: Some(LeaseToken(Uuid::new_v4())),
            wait_ms: 0,
            lookahead: request.lookahead,
            slot_price: request.slot_price,
        };
        let mut reply = self.api.execute(&claim).await;
        for attempt in 1..MAX_CLAIM_ATTEMPTS {
            if !reply.as_ref().is_err_and(ApiError::is_transient) {
                break;
            }
            tokio::time::sleep(back_off(CLAIM_RETRY_DELAY.min(self.settings.back_off), attempt)).await;
            reply = self.api.execute(&claim).await;
        }
        match reply {
            Ok(JobExecuteReply::Assigned { mut assignment, upcoming }) => {
                assignment.trace = body.trace.or(assignment.trace);
                Ok(Some(JobOffer { assignment, upcoming, receipt: Receipt(Some(message.receipt)) }))
            }
            Ok(JobExecuteReply::Nothing { reason }) => {
                tracing::debug!(%job, %reason, "no job to run");
                self.delete(&message.receipt).await;
                Ok(None)
            }
            Err(error) if error.is_transient() => {
                let pause = back_off(self.settings.back_off, message.count);
                self.release(&message, pause).await;
                Err(JobSourceError::Transient(format!("job {job} could not be claimed: {error}")))
            }
            Err(ApiError::Rejected { status: 401 | 403, message: reason, .. }) => {
                self.release(&message, Duration::ZERO).await;
                Err(JobSourceError::Rejected(reason))
            }
            Err(error @ ApiError::Address(_)) => {
                self.release(&message, Duration::ZERO).await;
                Err(JobSourceError::Rejected(error.to_string()))
            }
            Err(error) => {
                // Neither running nor ended: an unknown job, or the wrong server. Deleting the message would hide that.
                tracing::error!(%job, %error, receipts = message.count,
                    "a job cannot be claimed; its message is left for the dead-letter queue");
                Err(JobSourceError::Transient(error.to_string()))
            }
        }
    }
}

#[async_trait]
impl JobSource for SqsJobSource {
    /// One: an idle worker sends one request in 20 s, and receives no message without a free slot.
    fn max_concurrent_requests(&self) -> usize {
        1
    }

    async fn next(
        &self,
        request: &JobRequest,
        stop: &CancellationToken,
    ) -> Result<Option<JobOffer>, JobSourceError> {
        let wait = if request.no_wait { Duration::ZERO } else { self.settings.wait };
        let receiving = self.receive(wait);
        tokio::pin!(receiving);
        let received = tokio::select! {
            biased;
            () = stop.cancelled() => {
                // An aborted request may still receive a message, which would then be invisible for a minute. So the request
                // is completed, and its message is made visible to other workers immediately.
                if let Ok(Some(message)) = receiving.await {
                    self.release(&message, Duration::ZERO).await;
                }
                return Ok(None);
            }
            received = &mut receiving => received?,
        };
        // A claim is not interrupted, as the lease may be granted already.
        match received {
            Some(message) => self.claim(message, request).await,
            None => Ok(None),
        }
    }

    /// Holds the message, so that the queue knows how many jobs of each repository run, and serves others first. A message that SQS would
    /// show again is deleted instead: the lease alone keeps the job from other workers, and if it is lost, another message is sent.
    async fn hold(&self, receipt: &Receipt) -> Infallible {
        let Some(receipt) = &receipt.0 else { return std::future::pending().await };
        let held_until = Instant::now() + self.settings.max_hold;
        // Two extensions may fail before the message is visible; and even then the API rejects other claims.
        let period = self.settings.visibility / 3;
        let mut pause = period;
        loop {
            tokio::time::sleep(pause).await;
            if Instant::now() >= held_until {
                self.delete(receipt).await;
                return std::future::pending().await;
            }
            pause = match self.change_visibility(receipt, self.settings.visibility).await {
                Ok(()) => period,
                Err(error) => {
                    tracing::info!(error = %format_causes(&error), "the visibility timeout of the message could not be extended; retrying");
                    HOLD_RETRY_DELAY.min(period)
                }
            };
        }
    }

    /// Deletes the message regardless of the attempt's end. If the job was queued again because the attempt failed, was given
    /// back or lost its lease, another message was sent for it. This message would only be received once more in vain, and each
    /// receipt brings a message nearer to the dead-letter queue, which ends jobs.
    async fn settle(&self, receipt: Receipt) {
        if let Some(receipt) = receipt.0 {
            self.delete(&receipt).await;
        }
    }
}

fn read_message(message: Message) -> Option<ReceivedMessage> {
    let count = message.attributes.as_ref().and_then(|attributes| attributes.get(&RECEIVE_COUNT));
    let count = count.and_then(|text| text.parse().ok()).unwrap_or(1);
    let id = message.message_id.unwrap_or_default();
    Some(ReceivedMessage {
        id,
        receipt: message.receipt_handle?,
        count,
        body: message.body.unwrap_or_default(),
    })
}

/// Returns `first`, doubled with each receipt after the first, up to [`MAX_BACK_OFF`]. SQS counts the receipts, so no iterator
/// of pauses fits.
fn back_off(first: Duration, receipts: u32) -> Duration {
    first.saturating_mul(1 << receipts.saturating_sub(1).min(16)).min(MAX_BACK_OFF)
}

fn whole_seconds(time: Duration) -> i32 {
    i32::try_from(time.as_secs()).unwrap_or(i32::MAX)
}

/// Returns the region in the URL of a queue on AWS: `https://sqs.<region>.amazonaws.com/...`.
fn region_of(queue_url: &str) -> Option<String> {
    let host = queue_url.split_once("://")?.1.split('/').next()?;
    let region = host.strip_prefix("sqs.")?.split_once(".amazonaws.com")?.0;
    Some(region.to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::{INITIAL_BACK_OFF, JobMessage, back_off, region_of};
    use std::time::Duration;

    #[test]
    fn message_with_unknown_fields_is_read() {
        let id = "0190f3c4-1111-8abc-b234-567800001000";
        let body = format!(r#"{{"v":2,"job_id":"{id}","ix":[1],"trace":null,"new":{{"a":1}}}}"#);
        let message: JobMessage = serde_json::from_str(&body).unwrap();
        assert_eq!((message.job_id.to_string(), message.trace), (id.to_owned(), None));
        for broken in ["", "hello", "{}", r#"{"job_id":"no"}"#] {
            assert!(serde_json::from_str::<JobMessage>(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn back_off_doubles_with_each_receipt_up_to_its_maximum() {
        let pauses: Vec<u64> = (1..=4).map(|count| back_off(INITIAL_BACK_OFF, count).as_secs()).collect();
        assert_eq!(pauses, [15, 30, 60, 120]);
        assert_eq!(back_off(INITIAL_BACK_OFF, 40), Duration::from_secs(900));
    }

    #[test]
    fn region_is_read_from_the_queue_url() {
        assert_eq!(region_of("https://sqs.eu-central-1.amazonaws.com/1/q").as_deref(), Some("eu-central-1"));
        assert_eq!(region_of("https://sqs.cn-north-1.amazonaws.com.cn/1/q").as_deref(), Some("cn-north-1"));
        assert_eq!(region_of("http://127.0.0.1:4566/000000000000/q"), None);
    }
}
