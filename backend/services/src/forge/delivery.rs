//! Sends messages, and keeps what has to be known between two attempts.

use crate::{
    context::service_context::Context,
    error::{Error, Result},
    ports::{Document, DocumentKey, MailSender, Messenger, NewDocument},
    repositories::{record::RepositoryFailure, service::RepositoryService},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{fmt, sync::Arc};
use tidemill_core::{
    api::page, execution::retry::backoff_ms, ids::ExecutionId, notification::message::Message,
    time::Timestamp,
};

/// How long a sender holds a delivery exclusively; longer than a request may take.
const DELIVERY_LEASE_MS: i64 = 30_000;
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

/// Sends messages; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Sender {
    pub context: Arc<Context>,
    pub repositories: RepositoryService,
    pub notifiers: Notifiers,
}

impl Sender {
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
            Message::Request(request) => match self.notifiers.messenger.send(request).await {
                Ok(status) if (200..300).contains(&status) => Ok(()),
                Ok(status) => Err(format!("the receiver replied with status {status}")),
                Err(why) => Err(why),
            },
            Message::Mail(mail) => match &self.notifiers.mail {
                Some(sender) => sender.send(mail).await,
                None => Err("the server has no mail server (--smtp-url)".to_owned()),
            },
        };
        let Err(why) = outcome else {
            if previous.tries > 0 {
                self.record_failure(repo, None).await;
            }
            return Ok(());
        };
        self.record_failure(repo, Some(&format!("cannot send a {}: {why}", of.kind))).await;
        let now = self.context.now();
        let trouble =
            DeliveryFailure { tries: previous.tries.saturating_add(1), since: previous.since.or(Some(now)) };
        let (kind, name) = (&of.kind, &of.name);
        if trouble.since.is_some_and(|since| now.since_ms(since) >= GIVE_UP_AFTER_MS) {
            tracing::error!(
                kind,
                name,
                why,
                tries = trouble.tries,
                "cannot send a delivery for a day; it is abandoned"
            );
            return Err(None);
        }
        tracing::warn!(kind, name, why, tries = trouble.tries, "cannot send a delivery; it is retried");
        let pause = backoff_ms(trouble.tries, self.context.stores.ids.execution().0.as_u64_pair().1);
        let pause = if trouble.tries > SLOW_RETRY_THRESHOLD { pause * 10 } else { pause };
        Err(Some((trouble, now.plus_ms(i64::try_from(pause).unwrap_or(i64::MAX)))))
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

/// Reads the value of a document.
pub(super) fn read<T: DeserializeOwned>(document: &Document) -> Result<T> {
    serde_json::from_str(&document.value).map_err(|error| Error::storage("reading a delivery", error))
}
