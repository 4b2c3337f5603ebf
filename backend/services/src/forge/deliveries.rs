//! The last deliveries of each repository: what came of them, and their bodies, sealed, so that they can be redelivered.
//!
//! Only deliveries with a valid signature are kept. Of the others, one small document for each registered repository has the number.

use crate::{
    context::service_context::Context,
    error::{Error, Result},
    pack,
    ports::{Document, DocumentKey, MAX_DOCUMENT_SIZE, NewDocument},
    seal::SecretSealer,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};
use tidemill_core::{
    api::{DeliveryList, DeliveryOutcome, DeliveryView, RejectedDeliveries, RekeyReply},
    repository::{
        registration::WebhookReply,
        webhook::{Headers, Provider},
    },
    time::Timestamp,
};

/// Kind of the documents of deliveries.
const DELIVERY_KIND: &str = "webhook-delivery";
/// Kind of the documents of their bodies.
const BODY_KIND: &str = "webhook-body";
/// Kind of the documents with the numbers of rejected deliveries.
const REJECTED_KIND: &str = "webhook-rejected";
/// Name of the document that counts for all unregistered repositories, so that a rejection is the same work for each; no repository
/// has it, since names of repositories have a slash.
const UNREGISTERED: &str = "unregistered";
/// Retention of deliveries.
const RETENTION_MS: u64 = 7 * 86_400_000;
/// Number of kept deliveries of a repository.
const MAX_KEPT: usize = 20;
/// Maximum number of older deliveries that are removed at once.
const MAX_REMOVED: usize = 20;
/// Maximum size of a kept body, in bytes.
const MAX_KEPT_BODY: usize = 256 << 10;
/// Maximum number of kept lines of a delivery, and of characters of each.
const MAX_LINES: usize = 20;
const MAX_LINE_CHARS: usize = 500;
/// Number of bodies that one call re-encrypts, and that are read at once.
const MAX_REKEYED_PER_CALL: usize = 100;
const REKEY_PAGE_SIZE: usize = 20;
/// Length of an id: the time and the random part, in hex.
const ID_LEN: usize = 16 + 32;

/// A delivery with a valid signature.
pub(super) struct AuthenticDelivery<'h, 'a> {
    pub provider: Provider,
    pub headers: Headers<'h>,
    /// Its JSON.
    pub json: &'a [u8],
    /// Size of its body in bytes.
    pub bytes: usize,
    /// The delivery that it repeats.
    pub redelivery_of: Option<&'a str>,
}

/// The kept part of a delivery, from which it can be processed again. Other headers are not kept: one of them is a secret at GitLab.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct KeptDelivery {
    pub provider: Provider,
    pub headers: BTreeMap<String, String>,
    pub json: String,
}

/// Keeps deliveries; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct DeliveryLog {
    context: Arc<Context>,
    seal: SecretSealer,
}

impl DeliveryLog {
    pub const fn new(context: Arc<Context>, seal: SecretSealer) -> Self {
        Self { context, seal }
    }

    /// Keeps a delivery of `repository`, and what came of it. A failure to do so does not fail the delivery.
    pub async fn record(
        &self,
        repository: &str,
        of: &AuthenticDelivery<'_, '_>,
        result: &Result<WebhookReply>,
    ) {
        if let Err(error) = self.try_record(repository, of, result).await {
            tracing::warn!(repository, %error, "cannot keep a delivery for its repository's list");
        }
    }

    async fn try_record(
        &self,
        repository: &str,
        of: &AuthenticDelivery<'_, '_>,
        result: &Result<WebhookReply>,
    ) -> Result<()> {
        let now = self.context.now();
        // In the order of their names, the newest is the first.
        let id = self.context.stores.ids.execution().0.as_u128();
        let time = u64::MAX - u64::try_from(now.0).unwrap_or(0);
        let id = format!("{time:016x}{:032x}", !id);
        let name = name(repository, &id);
        let expires_at = Some(now.plus_ms(i64::try_from(RETENTION_MS).unwrap_or(i64::MAX)));
        let documents = &self.context.stores.documents;
        let body = self.sealed_body(&name, of).await?;
        let can_redeliver = body.is_some();
        if let Some(value) = body {
            let key = DocumentKey::new(BODY_KIND, name.clone());
            documents.put(NewDocument { key, value, due_at: None, expires_at }, None).await?;
        }
        let (outcome, mut lines, executions) = outcome(result);
        lines.truncate(MAX_LINES);
        let lines = lines.into_iter().map(|line| cut(&line)).collect();
        let view = DeliveryView {
            id,
            delivery_id: of.provider.delivery_id(of.headers).map(cut),
            received_at: now,
            provider: of.provider,
            event: of.provider.event_name(of.headers),
            action: of.provider.action_name(of.json),
            bytes: of.bytes as u64,
            outcome,
            lines,
            executions,
            redelivery_of: of.redelivery_of.map(str::to_owned),
            can_redeliver,
        };
        let key = DocumentKey::new(DELIVERY_KIND, name);
        let value =
            serde_json::to_string(&view).map_err(|error| Error::storage("writing a delivery", error))?;
        documents.put(NewDocument { key, value, due_at: None, expires_at }, None).await?;
        self.remove_older(repository).await
    }

    /// Returns the sealed body of a delivery, unless it is too large.
    async fn sealed_body(&self, name: &str, of: &AuthenticDelivery<'_, '_>) -> Result<Option<String>> {
        let Ok(json) = std::str::from_utf8(of.json) else { return Ok(None) };
        if json.len() > MAX_KEPT_BODY {
            return Ok(None);
        }
        let header = |name: &&str| (of.headers)(name).map(|value| ((*name).to_owned(), cut(value)));
        let kept = KeptDelivery {
            provider: of.provider,
            headers: of.provider.event_headers().iter().filter_map(header).collect(),
            json: json.to_owned(),
        };
        let packed = self.context.compute("compressing a delivery", move || pack::pack(&kept)).await??;
        let sealed = self.seal.seal(&sealing_place(name), &packed).await?;
        let value =
            serde_json::to_string(&sealed).map_err(|error| Error::storage("writing a delivery", error))?;
        Ok(Some(value).filter(|value| value.len() <= MAX_DOCUMENT_SIZE))
    }

    /// Removes deliveries beyond the number that is kept.
    async fn remove_older(&self, repository: &str) -> Result<()> {
        let documents = &self.context.stores.documents;
        let (all, _) =
            documents.list(DELIVERY_KIND, &prefix(repository), None, MAX_KEPT + MAX_REMOVED).await?;
        for old in all.into_iter().skip(MAX_KEPT) {
            documents.delete(&DocumentKey::new(BODY_KIND, old.key.name.clone()), None).await?;
            documents.delete(&old.key, None).await?;
        }
        Ok(())
    }

    /// Returns the last deliveries of a repository, newest first.
    pub async fn list(&self, repository: &str) -> Result<DeliveryList> {
        let now = self.context.now();
        let documents = &self.context.stores.documents;
        let (all, _) = documents.list(DELIVERY_KIND, &prefix(repository), None, MAX_KEPT).await?;
        let mut deliveries = all.iter().map(parse::<DeliveryView>).collect::<Result<Vec<_>>>()?;
        // The store may keep them for longer.
        deliveries.retain(|delivery| now.since_ms(delivery.received_at) < RETENTION_MS);
        let rejected = documents.get(&rejected_key(repository)).await?;
        let rejected = rejected.as_ref().map(parse::<RejectedDeliveries>).transpose()?.unwrap_or_default();
        let is_recent = rejected.last_at.is_some_and(|at| now.since_ms(at) < RETENTION_MS);
        let rejected = if is_recent { rejected } else { RejectedDeliveries::default() };
        Ok(DeliveryList { repository: repository.to_owned(), deliveries, rejected })
    }

    /// Returns the kept part of a delivery.
    pub async fn kept(&self, repository: &str, id: &str) -> Result<KeptDelivery> {
        let missing = || {
            Error::NotFound(format!(
                "there is no delivery {id} of {repository} that can be redelivered; bodies of the last {MAX_KEPT} deliveries with at \
                 most {} KiB are kept for 7 days",
                MAX_KEPT_BODY >> 10
            ))
        };
        if id.len() != ID_LEN || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(Error::NotFound(format!(
                "a delivery of {repository} is named by its id in the list of its deliveries"
            )));
        }
        let name = name(repository, id);
        let documents = &self.context.stores.documents;
        let delivery = documents.get(&DocumentKey::new(DELIVERY_KIND, name.clone())).await?;
        let delivery = delivery.as_ref().map(parse::<DeliveryView>).transpose()?.ok_or_else(missing)?;
        if self.context.now().since_ms(delivery.received_at) >= RETENTION_MS {
            return Err(missing());
        }
        let document = documents.get(&DocumentKey::new(BODY_KIND, name.clone())).await?;
        let sealed: String = parse(&document.ok_or_else(missing)?)?;
        let packed = self.seal.open(&sealing_place(&name), &sealed).await?;
        self.context.compute("decompressing a delivery", move || pack::unpack(&packed)).await?
    }

    /// Counts a delivery whose signature is missing or wrong. Counting is the same work whether a repository is registered or not, and
    /// a concurrent count may win.
    pub async fn count_rejected(&self, registered: Option<&str>, reason: &str) -> Result<()> {
        let now = self.context.now();
        let documents = &self.context.stores.documents;
        let key = rejected_key(registered.unwrap_or(UNREGISTERED));
        let known = documents.get(&key).await?;
        let version = known.as_ref().map(|document| document.version);
        let known = known.as_ref().map(parse::<RejectedDeliveries>).transpose()?.unwrap_or_default();
        let is_recent = known.last_at.is_some_and(|at| now.since_ms(at) < RETENTION_MS);
        let count = if is_recent { known.count } else { 0 };
        let next = RejectedDeliveries {
            count: count.saturating_add(1),
            last_at: Some(now),
            last_reason: Some(cut(reason)),
        };
        let value = serde_json::to_string(&next)
            .map_err(|error| Error::storage("counting a rejected delivery", error))?;
        let expires_at = Some(now.plus_ms(i64::try_from(RETENTION_MS).unwrap_or(i64::MAX)));
        documents.put(NewDocument { key, value, due_at: None, expires_at }, version).await.map(drop)
    }

    /// Re-encrypts bodies under the newest key, a limited number per call. Call it again while `more` is set.
    pub async fn rekey(&self) -> Result<RekeyReply> {
        let documents = &self.context.stores.documents;
        let mut reply = RekeyReply { renewed: 0, more: true, unreadable: Vec::new() };
        let mut after = None::<String>;
        loop {
            let (page, more) = documents.list(BODY_KIND, "", after.as_deref(), REKEY_PAGE_SIZE).await?;
            for document in page {
                let name = document.key.name.clone();
                after = Some(name.clone());
                let sealed =
                    match self.seal.resealed(&sealing_place(&name), &parse::<String>(&document)?).await {
                        Ok(Some(sealed)) => sealed,
                        Ok(None) => continue,
                        Err(Error::CannotOpen(_)) => {
                            let repository = name.lines().next().unwrap_or_default();
                            reply.unreadable.push(format!("a delivery of {repository}"));
                            continue;
                        }
                        Err(error) => return Err(error),
                    };
                if reply.renewed == MAX_REKEYED_PER_CALL {
                    return Ok(reply);
                }
                let value = serde_json::to_string(&sealed)
                    .map_err(|error| Error::storage("writing a delivery", error))?;
                // The name begins with the time, which counts down.
                let time = name.lines().nth(1).and_then(|id| u64::from_str_radix(id.get(..16)?, 16).ok());
                let received_at = u64::MAX - time.unwrap_or(u64::MAX);
                let expires_at = i64::try_from(received_at.saturating_add(RETENTION_MS)).ok().map(Timestamp);
                let new = NewDocument { key: document.key, value, due_at: None, expires_at };
                // On a conflict it was removed meanwhile.
                reply.renewed += usize::from(documents.put(new, Some(document.version)).await?);
            }
            if !more {
                return Ok(RekeyReply { more: false, ..reply });
            }
        }
    }

    /// Removes all deliveries of a repository.
    pub async fn remove_all(&self, repository: &str) -> Result<()> {
        let documents = &self.context.stores.documents;
        for kind in [BODY_KIND, DELIVERY_KIND] {
            for document in documents.all(kind, &prefix(repository)).await? {
                documents.delete(&document.key, None).await?;
            }
        }
        documents.delete(&rejected_key(repository), None).await.map(drop)
    }
}

/// Returns what came of a delivery, its lines, and the executions that it started.
fn outcome(
    result: &Result<WebhookReply>,
) -> (DeliveryOutcome, Vec<String>, Vec<tidemill_core::ids::ExecutionId>) {
    match result {
        Ok(reply) => {
            let outcome =
                if reply.executions.is_empty() { DeliveryOutcome::Skipped } else { DeliveryOutcome::Started };
            (outcome, reply.lines.clone(), reply.executions.clone())
        }
        Err(Error::Invalid(why)) => (DeliveryOutcome::Refused, vec![why.clone()], Vec::new()),
        Err(Error::Storage { .. } | Error::Damaged(_) | Error::DiskFull(_)) => {
            let line = "the server failed while it processed the delivery; its log has the details";
            (DeliveryOutcome::Failed, vec![line.to_owned()], Vec::new())
        }
        Err(error) => (DeliveryOutcome::Failed, vec![error.to_string()], Vec::new()),
    }
}

fn prefix(repository: &str) -> String {
    format!("{repository}\n")
}

fn name(repository: &str, id: &str) -> String {
    format!("{}{id}", prefix(repository))
}

fn rejected_key(repository: &str) -> DocumentKey {
    DocumentKey::new(REJECTED_KIND, repository)
}

/// Returns the place for which a body is sealed.
fn sealing_place(name: &str) -> String {
    format!("{BODY_KIND}\n{name}")
}

/// Returns the beginning of a text.
fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_LINE_CHARS).collect()
}

fn parse<T: for<'de> Deserialize<'de>>(document: &Document) -> Result<T> {
    serde_json::from_str(&document.value).map_err(|error| Error::storage("reading a delivery", error))
}
