//! WebhookService: takes what git providers post.

use super::discovery_start::{self, DiscoveryStart};
use crate::{
    context::service_context::Context,
    error::{Error, Result},
    executions::{idempotency_keys::IdempotencyKey, pipeline::service::PipelineExecutionService},
    ports::{DocumentKey, NewDocument},
    repositories::{record::Repository, service::RepositoryService},
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tidemill_core::execution::{
    discovery::Discovery,
    facts::{Facts, PullRequest},
};
use tidemill_core::ids::digest::sha256_hex;
use tidemill_core::repository::{
    canonical,
    registration::WebhookReply,
    webhook::{Change, Event, Headers, Provider, PullRequestUpdate, json_of},
};
use tidemill_core::{api::Trigger, time::Timestamp};

/// What is known of a delivery before its body is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliverySender {
    /// The address names no repository: the body may be small only, since it is kept before anything is known of it.
    Unnamed,
    /// The address names a repository, and there is a signature.
    Named,
    /// The same, but there is no such repository. The body is read as any other, so that this does not show, and not kept.
    Unknown,
}

/// Kind of the documents that say which bodies were taken.
const DOCUMENT_KIND: &str = "delivery";
/// For how long a body is taken once.
const DEDUPLICATION_WINDOW_MS: u64 = 24 * 3_600_000;
/// When a delivery's record may be removed: clocks may differ by a little.
const DELIVERY_RETENTION_MS: i64 = 25 * 3_600_000;
/// Names of one repository that are looked up at most; bodies have two or three.
const MAX_NAMES: usize = 4;
/// The longest name that a repository can have, in bytes.
const MAX_NAME_LEN: usize = 400;
/// How often a delivery's record is written while others write it.
const MAX_ATTEMPTS: u32 = 20;

/// A body that was taken.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct DeliveryRecord {
    taken_at: Timestamp,
    /// [`Repository::delivery_epoch`] at that time.
    epoch: i64,
}

/// What providers post.
#[derive(Debug, Clone)]
pub struct WebhookService {
    context: Arc<Context>,
    pipelines: PipelineExecutionService,
    repositories: RepositoryService,
}

impl WebhookService {
    pub(crate) fn new(
        context: Arc<Context>,
        pipelines: PipelineExecutionService,
        repositories: RepositoryService,
    ) -> Self {
        Self { context, pipelines, repositories }
    }

    /// What can be said of a delivery by its address and headers.
    pub async fn expected(
        &self,
        provider: Provider,
        hint: Option<&str>,
        headers: Headers<'_>,
    ) -> Result<DeliverySender> {
        let repository = || hint.map(canonical).unwrap_or_default();
        // Of what has none, nothing is read.
        provider
            .is_signed(headers)
            .map_err(|refusal| Error::Unproven { repository: repository(), reason: refusal.to_string() })?;
        if hint.is_none() {
            return Ok(DeliverySender::Unnamed);
        }
        let known = self.repositories.find(&repository()).await?;
        let is_known = known.is_some_and(|known| known.provider == provider);
        Ok(if is_known { DeliverySender::Named } else { DeliverySender::Unknown })
    }

    /// Takes a delivery: its signature is checked with the secret of the repository that it names (or `hint` does), and what it tells
    /// is recorded as work. The same body again within a day makes nothing new, whatever stands beside it: no header is signed.
    pub async fn take(
        &self,
        provider: Provider,
        hint: Option<&str>,
        headers: Headers<'_>,
        body: &[u8],
    ) -> Result<WebhookReply> {
        let json = json_of(headers("content-type"), body);
        let repository = self.proven(provider, hint, headers, &json, body).await?;
        let delivered =
            provider.read(headers, &json).map_err(|refusal| Error::Invalid(refusal.to_string()))?;
        let name = repository.name();
        if let Some(branch) = &delivered.default_branch
            && repository.default_branch.is_none()
        {
            self.repositories.told_default_branch(&name, branch).await?;
        }
        let default_branch = repository.default_branch.clone().or(delivered.default_branch);
        let default_branch = default_branch.or_else(|| repository.default_branch().map(str::to_owned));
        let mut reply = WebhookReply::default();
        let mut looks = Vec::new();
        for (event, what) in delivered.events.into_iter().enumerate() {
            match what {
                Event::Push(change) => looks.push((event, pushed(change, default_branch.clone()))),
                Event::Tag(change) => looks.push((event, tagged(change, default_branch.clone()))),
                Event::PullRequest(request) => {
                    looks.push((event, requested(*request, default_branch.clone())));
                }
                Event::Deleted(what) => reply.lines.push(format!("{what} was deleted: nothing starts")),
                Event::Ping => reply.lines.push(format!("{name} can be heard")),
                Event::Ignored(why) => reply.lines.push(format!("nothing starts: {why}")),
            }
        }
        if looks.is_empty() {
            return Ok(reply);
        }
        let body = sha256_hex(body);
        let DeliveryRecord { taken_at, epoch } = self.delivery(&repository, &body).await?;
        for (event, look) in looks {
            let key = IdempotencyKey::Webhook { repo: &name, body: &body, taken_at, epoch, event };
            let made =
                discovery_start::start_discovery(&self.pipelines, &self.context, &repository, look, key)
                    .await?;
            if made.attached {
                let id = made.execution_id;
                reply.lines.push(format!(
                    "it was taken before; see execution {id}, and `tidemill repo redeliver` to have it taken again"
                ));
            } else {
                reply.lines.push(format!("it is looked at by execution {}", made.execution_id));
                reply.executions.push(made.execution_id);
            }
        }
        Ok(reply)
    }

    /// The repository that a delivery is of, if its signature proves that. An unknown repository, one of another provider, a missing
    /// signature and a wrong one are one error, after the same work.
    async fn proven(
        &self,
        provider: Provider,
        hint: Option<&str>,
        headers: Headers<'_>,
        json: &[u8],
        body: &[u8],
    ) -> Result<Repository> {
        let mut names = match hint {
            Some(hint) => vec![canonical(hint)],
            None => provider.repositories(json),
        };
        names.retain(|name| (1..=MAX_NAME_LEN).contains(&name.len()));
        names.truncate(MAX_NAMES);
        if names.is_empty() {
            let words =
                "the body names no repository; add `?repo=` and the repository to the webhook's address";
            return Err(Error::Invalid(words.into()));
        }
        let mut known = None;
        for name in &names {
            // All are looked up, and something is verified in any case, so that the time does not tell which are known.
            let found = self.repositories.find(name).await?;
            known = known.or(found.filter(|found| found.provider == provider));
        }
        let secret = match &known {
            Some(repository) => self.repositories.webhook_secret(repository).await,
            None => self.repositories.decoy_secret().await,
        };
        let secret = match secret {
            Err(Error::Sealed(why)) => Err(format!("its webhook secret cannot be opened: {why}")),
            secret => Ok(secret?),
        };
        let verified = secret.and_then(|secret| {
            provider.verify(&secret, headers, body).map_err(|refusal| refusal.to_string())
        });
        let reason = match (known, verified) {
            (Some(repository), Ok(())) => return Ok(repository),
            (Some(_), Err(reason)) => reason,
            (None, _) => format!("no repository of {provider} is called so"),
        };
        Err(Error::Unproven { repository: names.join(" or "), reason })
    }

    /// When a body was taken first, within a day and since an administrator last allowed redeliveries; that is now, if it was not.
    async fn delivery(&self, of: &Repository, body: &str) -> Result<DeliveryRecord> {
        let documents = &self.context.stores.documents;
        let key = DocumentKey::new(DOCUMENT_KIND, format!("{}\n{body}", of.name()));
        for _ in 0..MAX_ATTEMPTS {
            let now = self.context.now();
            let known = documents.get(&key).await?;
            if let Some(known) = &known {
                let before: DeliveryRecord = serde_json::from_str(&known.value)
                    .map_err(|error| Error::storage("reading a delivery's record", error))?;
                // A newer epoch was allowed while this delivery was on its way.
                if before.epoch >= of.delivery_epoch
                    && now.since_ms(before.taken_at) < DEDUPLICATION_WINDOW_MS
                {
                    return Ok(before);
                }
            }
            let delivery = DeliveryRecord { taken_at: now, epoch: of.delivery_epoch };
            let value = serde_json::to_string(&delivery)
                .map_err(|error| Error::storage("recording a delivery", error))?;
            let expires_at = Some(now.plus_ms(DELIVERY_RETENTION_MS));
            let new = NewDocument { key: key.clone(), value, due_at: None, expires_at };
            if documents.put(new, known.map(|known| known.version)).await? {
                return Ok(delivery);
            }
        }
        Err(Error::Conflict("the same delivery comes too often at once; try again".into()))
    }
}

fn pushed(change: Change, default_branch: Option<String>) -> DiscoveryStart {
    let Change { name, commit, before, by } = change;
    let facts = Facts {
        trigger: Trigger::Push,
        branch: Some(name),
        commit: Some(commit),
        default_branch,
        ..Facts::default()
    };
    DiscoveryStart { facts, discovery: Discovery { before, ..Discovery::default() }, by }
}

fn tagged(change: Change, default_branch: Option<String>) -> DiscoveryStart {
    let Change { name, commit, by, .. } = change;
    let fetch_ref = Some(format!("refs/tags/{name}"));
    let facts = Facts {
        trigger: Trigger::Push,
        tag: Some(name),
        commit: Some(commit),
        default_branch,
        ..Facts::default()
    };
    DiscoveryStart { facts, discovery: Discovery { fetch_ref, ..Discovery::default() }, by }
}

fn requested(request: PullRequestUpdate, default_branch: Option<String>) -> DiscoveryStart {
    let discovery = Discovery {
        fetch_ref: Some(request.fetch_ref),
        target_branch: Some(request.target_branch.clone()),
        ..Discovery::default()
    };
    let facts = Facts {
        trigger: Trigger::PullRequest,
        branch: Some(request.branch),
        commit: Some(request.commit),
        default_branch,
        pull_request: Some(PullRequest {
            number: request.number,
            target_branch: request.target_branch,
            title: request.title,
            from_fork: request.from_fork,
            draft: request.draft,
        }),
        ..Facts::default()
    };
    DiscoveryStart { facts, discovery, by: request.by }
}
