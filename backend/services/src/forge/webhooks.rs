//! Receives webhooks of git providers.

use super::{
    comments,
    deliveries::{AuthenticDelivery, DeliveryLog},
    outbox::Outbox,
    pull_requests,
    reports::reruns::Reruns,
};
use crate::{
    context::service_context::Context,
    error::{Error, Result},
    executions::{
        idempotency_keys::{CallerKey, IdempotencyKey},
        pipeline::{
            discovery_start::{self, DiscoveryStart},
            service::PipelineExecutionService,
        },
    },
    ports::{DocumentKey, NewDocument},
    repositories::{record::Repository, service::RepositoryService},
    seal::SecretSealer,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tidemill_core::execution::{
    discovery::Discovery,
    facts::{Comment, Facts, PullRequest},
};
use tidemill_core::ids::digest::sha256_hex;
use tidemill_core::repository::{
    canonical_name,
    registration::WebhookReply,
    webhook::{
        Change, Event, Headers, MergeGroup, Provider, PullRequestComment, PullRequestUpdate, Release,
        json_body,
    },
};
use tidemill_core::{
    api::{DeliveryList, RekeyReply, Trigger},
    time::Timestamp,
};

/// Sender of a delivery, as far as known before its body is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliverySender {
    /// The URL names no repository, so only a small body is accepted: it is buffered before the sender is known.
    NoRepository,
    /// The URL names a registered repository, and there is a signature.
    Registered,
    /// The URL names an unregistered repository. The body is read, so that the reply does not reveal this, and dropped.
    Unregistered,
}

/// Kind of the documents of accepted bodies.
const DOCUMENT_KIND: &str = "delivery";
/// Time within which the same body is accepted only once.
const DEDUPLICATION_WINDOW_MS: u64 = 24 * 3_600_000;
/// Retention of a delivery's record; longer than the window, since clocks differ.
const DELIVERY_RETENTION_MS: i64 = 25 * 3_600_000;
/// Maximum number of repository names of a body that are looked up; bodies have two or three.
const MAX_NAMES: usize = 4;
/// Maximum length of the name of a repository, in bytes.
const MAX_NAME_LEN: usize = 400;
/// Maximum number of attempts to write a delivery's record.
const MAX_ATTEMPTS: u32 = 20;

/// What makes a delivery another one than those before.
#[derive(Clone, Copy)]
enum DeliveryKey<'a> {
    /// Its body, as received.
    Body(&'a [u8]),
    /// The request to process a kept delivery again.
    Redelivery { id: &'a str, request: &'a str },
}

/// The stored record of an accepted body.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct DeliveryRecord {
    taken_at: Timestamp,
    /// [`Repository::delivery_epoch`] at that time.
    epoch: i64,
}

/// Service for webhooks.
#[derive(Debug, Clone)]
pub struct WebhookService {
    context: Arc<Context>,
    pipelines: PipelineExecutionService,
    repositories: RepositoryService,
    reruns: Arc<Reruns>,
    deliveries: DeliveryLog,
}

impl WebhookService {
    pub(crate) fn new(
        context: Arc<Context>,
        pipelines: PipelineExecutionService,
        repositories: RepositoryService,
        reruns: Reruns,
        seal: SecretSealer,
    ) -> Self {
        let deliveries = DeliveryLog::new(context.clone(), seal);
        Self { context, pipelines, repositories, reruns: Arc::new(reruns), deliveries }
    }

    pub(crate) fn with_outbox(self, outbox: Outbox) -> Self {
        Self { reruns: Arc::new(self.reruns.with_outbox(outbox)), ..self }
    }

    /// Classifies a delivery by its URL and headers.
    pub async fn classify(
        &self,
        provider: Provider,
        hint: Option<&str>,
        headers: Headers<'_>,
    ) -> Result<DeliverySender> {
        let repository = hint.map(canonical_name).unwrap_or_default();
        let registered = if hint.is_some() { self.repositories.find(&repository).await? } else { None };
        let registered = registered.filter(|registered| registered.provider == provider);
        // The body of an unsigned delivery is not read.
        if let Err(refusal) = provider.check_signature_present(headers) {
            let registered = registered.map(|registered| registered.name());
            return Err(Error::InvalidSignature { repository, registered, reason: refusal.to_string() });
        }
        Ok(match (hint, registered) {
            (None, _) => DeliverySender::NoRepository,
            (Some(_), Some(_)) => DeliverySender::Registered,
            (Some(_), None) => DeliverySender::Unregistered,
        })
    }

    /// Processes a delivery: verifies its signature with the secret of the repository that the body (or `hint`) names, and starts
    /// discoveries. The same body within a day starts nothing new, whatever its headers, which are not signed.
    pub async fn receive(
        &self,
        provider: Provider,
        hint: Option<&str>,
        headers: Headers<'_>,
        body: &[u8],
    ) -> Result<WebhookReply> {
        let json = json_body(headers("content-type"), body);
        let repository = self.authenticated_repository(provider, hint, headers, &json, body).await?;
        let bytes = body.len();
        let delivery = AuthenticDelivery { provider, headers, json: &json, bytes, redelivery_of: None };
        let result = self.process(&repository, &delivery, DeliveryKey::Body(body)).await;
        self.deliveries.record(&repository.name(), &delivery, &result).await;
        result
    }

    /// Returns the last deliveries of a repository.
    pub async fn deliveries(&self, repo: &str) -> Result<DeliveryList> {
        self.deliveries.list(&self.repositories.get(repo).await?.name()).await
    }

    /// Processes a kept delivery of a repository again. Under one key, its events start once.
    pub async fn redeliver(&self, repo: &str, id: &str, key: Option<&CallerKey>) -> Result<WebhookReply> {
        let request = match key {
            Some(key) => key.of_repository(repo)?.name,
            // Without a key, each request is another one.
            None => self.context.stores.ids.execution().to_string(),
        };
        let request = request.as_str();
        let repository = self.repositories.get(repo).await?;
        let name = repository.name();
        let kept = self.deliveries.kept(&name, id).await?;
        if kept.provider != repository.provider {
            return Err(Error::Conflict(format!(
                "{} sent the delivery, and {name} is now registered for {}",
                kept.provider, repository.provider
            )));
        }
        let headers = |name: &str| kept.headers.get(name).map(String::as_str);
        let json = kept.json.as_bytes();
        let delivery = AuthenticDelivery {
            provider: kept.provider,
            headers: &headers,
            json,
            bytes: json.len(),
            redelivery_of: Some(id),
        };
        let result = self.process(&repository, &delivery, DeliveryKey::Redelivery { id, request }).await;
        self.deliveries.record(&name, &delivery, &result).await;
        result
    }

    /// Counts a delivery whose signature is missing or wrong, for the list of its repository.
    pub async fn count_rejected(&self, registered: Option<&str>, reason: &str) {
        if let Err(error) = self.deliveries.count_rejected(registered, reason).await {
            tracing::warn!(%error, "cannot count a rejected webhook");
        }
    }

    /// Re-encrypts kept deliveries of all repositories under the newest key, a limited number per call. Call it again while `more` is
    /// set.
    pub async fn rekey(&self) -> Result<RekeyReply> {
        self.deliveries.rekey().await
    }

    /// Removes all kept deliveries of a repository.
    pub(crate) async fn forget(&self, repository: &str) -> Result<()> {
        self.deliveries.remove_all(repository).await
    }

    /// Starts discoveries for the events of an authentic delivery.
    async fn process(
        &self,
        repository: &Repository,
        delivery: &AuthenticDelivery<'_, '_>,
        key: DeliveryKey<'_>,
    ) -> Result<WebhookReply> {
        let AuthenticDelivery { provider, headers, json, .. } = *delivery;
        let delivered =
            provider.parse(headers, json).map_err(|refusal| Error::Invalid(refusal.to_string()))?;
        let name = repository.name();
        if let Some(branch) = &delivered.default_branch
            && repository.default_branch.is_none()
        {
            self.repositories.record_default_branch(&name, branch).await?;
        }
        let default_branch = repository.default_branch.clone().or(delivered.default_branch);
        let default_branch = default_branch.or_else(|| repository.default_branch().map(str::to_owned));
        let mut reply = WebhookReply::default();
        let (mut starts, mut reruns) = (Vec::new(), Vec::new());
        for (event, what) in delivered.events.into_iter().enumerate() {
            match what {
                Event::Push(change) => starts.push((event, push_start(change, default_branch.clone()))),
                Event::Tag(change) => starts.push((event, tag_start(change, default_branch.clone()))),
                Event::PullRequest(request) => {
                    if pull_requests::record(&self.context, repository, &request).await? {
                        starts.push((event, pull_request_start(*request, default_branch.clone())));
                    } else {
                        reply.lines.push(format!(
                            "nothing starts: no pipeline of this commit starts when a pull request with these labels is {}",
                            request.action.as_str()
                        ));
                    }
                }
                Event::MergeGroup(group) => {
                    starts.push((event, merge_group_start(group, default_branch.clone())));
                }
                Event::Release(release) => {
                    starts.push((event, release_start(release, default_branch.clone())));
                }
                Event::Comment(comment) => {
                    match self.comment_start(repository, *comment, default_branch.clone()).await? {
                        Ok(start) => starts.push((event, *start)),
                        Err(why) => {
                            tracing::info!(repository = name, why, "a comment starts nothing");
                            reply.lines.push(format!("nothing starts: {why}"));
                        }
                    }
                }
                Event::Deleted(what) => reply.lines.push(format!("{what} was deleted: nothing starts")),
                Event::Rerun(request) => match self.reruns.refusal(repository, &request).await? {
                    None => reruns.push((event, request)),
                    Some(why) => {
                        tracing::info!(repository = name, why, "checks are not run again");
                        reply.lines.push(format!("nothing starts: {why}"));
                    }
                },
                Event::Ping => reply.lines.push(format!("the webhook of {name} works")),
                Event::Ignored(why) => reply.lines.push(format!("nothing starts: {why}")),
            }
        }
        if starts.is_empty() && reruns.is_empty() {
            return Ok(reply);
        }
        let hash;
        let key = match key {
            DeliveryKey::Body(body) => {
                hash = sha256_hex(body);
                let DeliveryRecord { taken_at, epoch } = self.record_delivery(repository, &hash).await?;
                IdempotencyKey::Webhook { repo: &name, body: &hash, taken_at, epoch, event: 0 }
            }
            DeliveryKey::Redelivery { id, request } => {
                IdempotencyKey::Redelivery { repo: &name, delivery: id, request, event: 0 }
            }
        };
        for (event, request) in reruns {
            self.reruns.run(repository, &request, &key.of_event(event), &mut reply).await?;
        }
        for (event, start) in starts {
            let key = key.of_event(event);
            let started =
                discovery_start::start_discovery(&self.pipelines, &self.context, repository, start, key)
                    .await?;
            if started.attached {
                let id = started.execution_id;
                reply.lines.push(format!(
                    "delivered before, see execution {id}; to allow it again, run `tidemill repo redeliver {}`",
                    repository.url
                ));
            } else {
                reply.lines.push(format!("started discovery {}", started.execution_id));
                reply.executions.push(started.execution_id);
            }
        }
        Ok(reply)
    }

    /// Returns what a comment starts, or the reason why it starts nothing.
    async fn comment_start(
        &self,
        repository: &Repository,
        comment: PullRequestComment,
        default_branch: Option<String>,
    ) -> Result<Result<Box<DiscoveryStart>, String>> {
        if let Err(why) = comments::check_author(repository, &comment) {
            return Ok(Err(why));
        }
        let Some(request) = pull_requests::of_comment(&self.context, repository, &comment).await? else {
            return Ok(Err(format!(
                "pull request {} is not known; the webhook needs the events of pull requests, and one of this",
                comment.number
            )));
        };
        let PullRequestComment { text, author, by, .. } = comment;
        let mut start = pull_request_start(PullRequestUpdate { by, ..request }, default_branch);
        start.facts.trigger = Trigger::Comment;
        start.facts.commit = start.facts.commit.filter(|commit| !commit.is_empty());
        start.facts.comment = Some(Box::new(Comment { text, author }));
        if let Some(request) = &mut start.facts.pull_request {
            request.action = None;
        }
        Ok(Ok(Box::new(start)))
    }

    /// Returns the repository of a delivery, if the signature is valid. An unregistered repository, one of another provider, and a missing
    /// or wrong signature return the same error, after the same work.
    async fn authenticated_repository(
        &self,
        provider: Provider,
        hint: Option<&str>,
        headers: Headers<'_>,
        json: &[u8],
        body: &[u8],
    ) -> Result<Repository> {
        let mut names = match hint {
            Some(hint) => vec![canonical_name(hint)],
            None => provider.repository_names(json),
        };
        names.retain(|name| (1..=MAX_NAME_LEN).contains(&name.len()));
        names.truncate(MAX_NAMES);
        if names.is_empty() {
            let message =
                "the body names no repository; add `?repo=` and the repository to the webhook's URL";
            return Err(Error::Invalid(message.into()));
        }
        let mut registered: Option<Repository> = None;
        for name in &names {
            // Looks up all names and always verifies a signature, so that timing does not reveal which are registered.
            let found = self.repositories.find(name).await?;
            registered = registered.or(found.filter(|found| found.provider == provider));
        }
        let secret = match &registered {
            Some(repository) => self.repositories.webhook_secret(repository).await,
            None => self.repositories.decoy_secret().await,
        };
        let secret = match secret {
            Err(Error::CannotOpen(why)) => Err(format!("its webhook secret cannot be decrypted: {why}")),
            secret => Ok(secret?),
        };
        let verified = secret.and_then(|secret| {
            provider.verify(&secret, headers, body).map_err(|refusal| refusal.to_string())
        });
        let (registered, reason) = match (registered, verified) {
            (Some(repository), Ok(())) => return Ok(repository),
            (Some(repository), Err(reason)) => (Some(repository.name()), reason),
            (None, _) => (None, format!("no repository of {provider} has this name")),
        };
        Err(Error::InvalidSignature { repository: names.join(" or "), registered, reason })
    }

    /// Returns the record of the first delivery of a body within a day and the current redelivery epoch, and creates it if there is none.
    async fn record_delivery(&self, of: &Repository, body: &str) -> Result<DeliveryRecord> {
        let documents = &self.context.stores.documents;
        let key = DocumentKey::new(DOCUMENT_KIND, format!("{}\n{body}", of.name()));
        for _ in 0..MAX_ATTEMPTS {
            let now = self.context.now();
            let existing = documents.get(&key).await?;
            if let Some(existing) = &existing {
                let previous: DeliveryRecord = serde_json::from_str(&existing.value)
                    .map_err(|error| Error::storage("reading a delivery's record", error))?;
                // A newer epoch may have started while this delivery was processed.
                if previous.epoch >= of.delivery_epoch
                    && now.since_ms(previous.taken_at) < DEDUPLICATION_WINDOW_MS
                {
                    return Ok(previous);
                }
            }
            let delivery = DeliveryRecord { taken_at: now, epoch: of.delivery_epoch };
            let value = serde_json::to_string(&delivery)
                .map_err(|error| Error::storage("recording a delivery", error))?;
            let expires_at = Some(now.plus_ms(DELIVERY_RETENTION_MS));
            let new = NewDocument { key: key.clone(), value, due_at: None, expires_at };
            if documents.put(new, existing.map(|existing| existing.version)).await? {
                return Ok(delivery);
            }
        }
        Err(Error::Conflict("too many concurrent deliveries of the same body; try again".into()))
    }
}

fn push_start(change: Change, default_branch: Option<String>) -> DiscoveryStart {
    let Change { name, commit, before, by } = change;
    let facts = Facts {
        trigger: Trigger::Push,
        branch: Some(name),
        commit: Some(commit),
        default_branch,
        ..Facts::default()
    };
    let discovery = Discovery { before, can_skip: true, ..Discovery::default() };
    DiscoveryStart { facts, discovery, requested_by: by, started_by: None, parent: None }
}

fn tag_start(change: Change, default_branch: Option<String>) -> DiscoveryStart {
    let Change { name, commit, by, .. } = change;
    let fetch_ref = Some(format!("refs/tags/{name}"));
    let facts = Facts {
        trigger: Trigger::Push,
        tag: Some(name),
        commit: Some(commit),
        default_branch,
        ..Facts::default()
    };
    DiscoveryStart {
        facts,
        discovery: Discovery { fetch_ref, ..Discovery::default() },
        requested_by: by,
        started_by: None,
        parent: None,
    }
}

fn release_start(release: Release, default_branch: Option<String>) -> DiscoveryStart {
    let Release { tag, commit, by } = release;
    // Without a commit, it is the one that the tag points to.
    let change = Change { name: tag, commit: commit.unwrap_or_default(), before: None, by };
    let mut start = tag_start(change, default_branch);
    start.facts.trigger = Trigger::Release;
    start.facts.commit = start.facts.commit.filter(|commit| !commit.is_empty());
    start
}

fn merge_group_start(group: MergeGroup, default_branch: Option<String>) -> DiscoveryStart {
    let MergeGroup { branch, target_branch, commit, before, by } = group;
    let fetch_ref = Some(format!("refs/heads/{branch}"));
    let facts = Facts {
        trigger: Trigger::MergeGroup,
        branch: Some(branch),
        commit: Some(commit),
        default_branch,
        merge_target: Some(target_branch),
        ..Facts::default()
    };
    let discovery = Discovery { fetch_ref, before, ..Discovery::default() };
    DiscoveryStart { facts, discovery, requested_by: by, started_by: None, parent: None }
}

fn pull_request_start(request: PullRequestUpdate, default_branch: Option<String>) -> DiscoveryStart {
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
            labels: request.labels,
            action: Some(request.action),
        }),
        ..Facts::default()
    };
    DiscoveryStart { facts, discovery, requested_by: request.by, started_by: None, parent: None }
}
