//! Sends messages, and keeps what has to be known between two attempts.

use crate::{
    context::service_context::Context,
    error::{Error, Result},
    ports::{Document, DocumentKey, MailSender, Messenger, NewDocument},
    repositories::{record::RepositoryFailure, service::RepositoryService},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};
use tidemill_core::{
    api::page,
    execution::retry::backoff_ms,
    ids::{ExecutionId, digest::sha256_hex},
    notification::message::{Message, OutgoingReply, OutgoingRequest},
    time::Timestamp,
};

/// How long a sender holds a delivery exclusively; longer than its three requests may take.
pub(super) const DELIVERY_LEASE_MS: i64 = 40_000;
/// Time after which failed deliveries are abandoned.
const GIVE_UP_AFTER_MS: u64 = 86_400_000;
/// Number of attempts after which pauses are ten times as long.
const SLOW_RETRY_THRESHOLD: u32 = 6;

/// How messages are sent.
#[derive(Clone)]
pub struct Notifiers {
    /// Sends requests.
    pub messenger: Arc<dyn Messenger>,
    /// Sends e-mails, if the server has a mail server.
    pub mail: Option<Arc<dyn MailSender>>,
    /// Public URL of the deployment, with which links start.
    pub public_url: Option<String>,
}

impl fmt::Debug for Notifiers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has_mail = self.mail.is_some();
        f.debug_struct("Notifiers")
            .field("public_url", &self.public_url)
            .field("mail", &has_mail)
            .finish_non_exhaustive()
    }
}

impl Default for Notifiers {
    fn default() -> Self {
        let messenger = Arc::new(crate::system::messenger::HttpMessenger::default());
        Self { messenger, mail: None, public_url: None }
    }
}

/// Failed attempts of a delivery.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DeliveryFailure {
    tries: u32,
    since: Option<Timestamp>,
}

/// Why a request failed.
#[derive(Debug, Clone, Default)]
pub(super) struct SendFailure {
    /// The reason.
    pub why: String,
    /// The status of the reply, if there was one.
    pub status: Option<u16>,
    /// The receiver accepts no request before this.
    pub retry_at: Option<Timestamp>,
    /// Whether no request was sent, since the receiver limits them.
    pub is_paused: bool,
}

impl SendFailure {
    /// Creates a failure of a reply that lacks something.
    pub fn of_reply(why: impl Into<String>) -> Self {
        Self { why: why.into(), ..Self::default() }
    }

    /// Whether the request may have had an effect.
    pub fn is_uncertain(&self) -> bool {
        !self.is_paused && self.status.is_none_or(|status| status >= 500)
    }

    /// Whether what the request changes does not exist.
    pub const fn is_gone(&self) -> bool {
        matches!(self.status, Some(404 | 410))
    }
}

impl From<Error> for SendFailure {
    fn from(error: Error) -> Self {
        Self::of_reply(error.report().message)
    }
}

/// Receivers that limit requests, by a digest of their address or of the credential there, with the end of the pause.
type Pauses = Mutex<HashMap<String, Timestamp>>;

/// Sends messages.
#[derive(Debug)]
pub(super) struct Sender {
    pub context: Arc<Context>,
    pub repositories: RepositoryService,
    pub notifiers: Notifiers,
    pauses: Pauses,
}

impl Sender {
    pub fn new(context: Arc<Context>, repositories: RepositoryService, notifiers: Notifiers) -> Self {
        Self { context, repositories, notifiers, pauses: Pauses::default() }
    }

    /// Sends a request, unless its receiver limits requests now, and returns the reply of a success.
    pub async fn request(&self, request: &OutgoingRequest) -> Result<OutgoingReply, SendFailure> {
        let (now, key) = (self.context.now(), pause_key(request));
        let paused_until = self.pauses.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied();
        if let Some(until) = paused_until.filter(|until| *until > now) {
            let why = format!("the receiver accepts no request before {until}");
            return Err(SendFailure { why, status: None, retry_at: Some(until), is_paused: true });
        }
        let reply = match self.notifiers.messenger.send(request).await {
            Ok(reply) if reply.is_success() => return Ok(reply),
            Ok(reply) => reply,
            Err(error) => return Err(SendFailure::of_reply(error.to_string())),
        };
        let pause = reply.pause_ms(now);
        let retry_at = pause.map(|ms| now.plus_ms(i64::try_from(ms).unwrap_or(i64::MAX)));
        if let (true, Some(until)) = (reply.is_rate_limited(), retry_at) {
            let mut pauses = self.pauses.lock().unwrap_or_else(PoisonError::into_inner);
            pauses.retain(|_, until| *until > now);
            pauses.insert(key, until);
        }
        let why = format!("the receiver replied with status {}", reply.status);
        Err(SendFailure { why, status: Some(reply.status), retry_at, is_paused: false })
    }

    /// Holds a delivery for this process while it sends. `false`: another process has it.
    pub async fn hold<T: Serialize>(&self, of: &DocumentKey, value: &T, version: u64) -> Result<bool> {
        let held_until = self.context.now().plus_ms(DELIVERY_LEASE_MS);
        self.put(of.clone(), value, Some(held_until), Some(version)).await
    }

    /// Sends a message. The error has the failures so far and the time of the next attempt; `None` if the delivery is abandoned.
    pub async fn send(
        &self,
        message: &Message,
        of: &DocumentKey,
        (repo, previous): (&str, &DeliveryFailure),
    ) -> Result<(), Option<(DeliveryFailure, Timestamp)>> {
        let outcome = match message {
            Message::Request(request) => self.request(request).await.map(drop),
            Message::Mail(mail) => match &self.notifiers.mail {
                Some(sender) => {
                    sender.send(mail).await.map_err(|error| SendFailure::of_reply(error.to_string()))
                }
                None => Err(SendFailure::of_reply("the server has no mail server (--smtp-url)")),
            },
        };
        match outcome {
            Ok(()) => {
                self.succeeded(repo, previous).await;
                Ok(())
            }
            Err(failure) => Err(self.failed(&failure, of, (repo, previous)).await),
        }
    }

    /// Records that a delivery succeeded after failures.
    pub async fn succeeded(&self, repo: &str, previous: &DeliveryFailure) {
        if previous.tries > 0 {
            self.record_failure(repo, None).await;
        }
    }

    /// Records a failure of a delivery. Returns the failures so far and the time of the next attempt; `None` if it is abandoned.
    pub async fn failed(
        &self,
        failure: &SendFailure,
        of: &DocumentKey,
        (repo, previous): (&str, &DeliveryFailure),
    ) -> Option<(DeliveryFailure, Timestamp)> {
        let now = self.context.now();
        let why = &failure.why;
        // A delivery that waits for the receiver has not failed.
        let since = previous.since.or(Some(now));
        let tries = previous.tries.saturating_add(u32::from(!failure.is_paused));
        let trouble = DeliveryFailure { tries, since };
        if !failure.is_paused {
            self.record_failure(repo, Some(&format!("cannot send a {}: {why}", of.kind))).await;
        }
        let (kind, name) = (&of.kind, &of.name);
        if trouble.since.is_some_and(|since| now.since_ms(since) >= GIVE_UP_AFTER_MS) {
            tracing::error!(
                kind,
                name,
                why,
                tries = trouble.tries,
                "cannot send a delivery for a day; it is abandoned"
            );
            return None;
        }
        tracing::warn!(kind, name, why, tries = trouble.tries, "cannot send a delivery; it is retried");
        let pause = backoff_ms(trouble.tries, self.context.stores.ids.execution().0.as_u64_pair().1);
        let pause = if trouble.tries > SLOW_RETRY_THRESHOLD { pause * 10 } else { pause };
        let retry_at = now.plus_ms(i64::try_from(pause).unwrap_or(i64::MAX));
        Some((trouble, failure.retry_at.map_or(retry_at, |at| at.max(retry_at))))
    }

    async fn record_failure(&self, repo: &str, message: Option<&str>) {
        if let Err(error) =
            self.repositories.record_failure(repo, RepositoryFailure::Notifications, message).await
        {
            tracing::warn!(repo, %error, "cannot record the failure of a delivery");
        }
    }

    /// Reads a document again, and returns it if it is due at most `ahead_ms` from now.
    pub async fn due<T: DeserializeOwned>(
        &self,
        of: &DocumentKey,
        ahead_ms: i64,
    ) -> Result<Option<(Document, T)>> {
        // The index of due documents may lag behind.
        let Some(document) = self.context.stores.documents.get(of).await? else { return Ok(None) };
        if document.due_at.is_none_or(|at| at > self.context.now().plus_ms(ahead_ms)) {
            return Ok(None);
        }
        let value = read(&document)?;
        Ok(Some((document, value)))
    }

    /// Writes a document of a delivery.
    pub async fn put<T: Serialize>(
        &self,
        key: DocumentKey,
        value: &T,
        due_at: Option<Timestamp>,
        if_version: Option<u64>,
    ) -> Result<bool> {
        let value =
            serde_json::to_string(value).map_err(|error| Error::storage("writing a delivery", error))?;
        let new = NewDocument { key, value, due_at, expires_at: None };
        self.context.stores.documents.put(new, if_version).await
    }

    /// Returns the page of an execution, if the deployment has a public URL.
    pub fn url(&self, execution: ExecutionId) -> Option<String> {
        self.notifiers.public_url.as_deref().map(|base| page::execution_page(base, execution))
    }
}

/// Returns what limits are counted by: the credential of a request, or else its address.
fn pause_key(request: &OutgoingRequest) -> String {
    let is_credential = |name: &str| matches!(name, "authorization" | "private-token");
    let credential = request.headers.iter().find(|(name, _)| is_credential(name));
    sha256_hex(credential.map_or(&request.url, |(_, value)| value).as_bytes())
}

/// Reads the value of a document.
pub(super) fn read<T: DeserializeOwned>(document: &Document) -> Result<T> {
    serde_json::from_str(&document.value).map_err(|error| Error::storage("reading a delivery", error))
}
