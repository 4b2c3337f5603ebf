//! WebhookService: takes what git providers post.

use super::{
    context::Context,
    discoveries::{self, Look},
    pipeline::{PipelineExecutionService, hash},
    repositories::{Repository, RepositoryService},
};
use crate::error::{Error, Result};
use std::sync::Arc;
use tidemill_core::{
    api::Trigger,
    discovery::Discovery,
    facts::{Facts, PullRequest},
    repo::canonical,
    repository::WebhookReply,
    webhook::{Change, Event, Headers, Provider, PullRequestChange, Refusal, json_of},
};

/// What is known of a delivery before its body is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// The address names no repository: the body may be small only, since it is kept before anything is known of it.
    Unnamed,
    /// The address names a repository, and there is a signature.
    Named,
    /// The same, but there is no such repository. The body is read as any other, so that this does not show, and not kept.
    Unknown,
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
    ) -> Result<Expected> {
        // Of what has none, nothing is read.
        provider.is_signed(headers).map_err(|refusal| refused(&refusal))?;
        let Some(hint) = hint else { return Ok(Expected::Unnamed) };
        Ok(match self.named(provider, Some(hint), &[]).await {
            Ok(_) => Expected::Named,
            Err(Error::NotFound(_)) => Expected::Unknown,
            Err(error) => return Err(error),
        })
    }

    /// Takes a delivery: its signature is checked with the secret of the repository that it names (or `hint` does), and what it tells
    /// is recorded as work. The same delivery again makes nothing new.
    pub async fn take(
        &self,
        provider: Provider,
        hint: Option<&str>,
        headers: Headers<'_>,
        body: &[u8],
    ) -> Result<WebhookReply> {
        let json = json_of(headers("content-type"), body);
        let repository = self.named(provider, hint, &json).await?;
        let secret = self.repositories.webhook_secret(&repository).await?;
        provider.verify(&secret, headers, body).map_err(|refusal| refused(&refusal))?;
        let delivered = provider.read(headers, &json).map_err(|refusal| refused(&refusal))?;
        let name = repository.name();
        if let Some(branch) = &delivered.default_branch
            && repository.default_branch.is_none()
        {
            self.repositories.told_default_branch(&name, branch).await?;
        }
        let default_branch = repository.default_branch.clone().or(delivered.default_branch);
        let default_branch = default_branch.or_else(|| repository.default_branch().map(str::to_owned));
        let id = provider.delivery_id(headers).map_or_else(|| hash(&body), str::to_owned);
        let mut reply = WebhookReply::default();
        for (at, event) in delivered.events.into_iter().enumerate() {
            let look = match event {
                Event::Push(change) => pushed(change, default_branch.clone()),
                Event::Tag(change) => tagged(change, default_branch.clone()),
                Event::PullRequest(request) => requested(*request, default_branch.clone()),
                Event::Deleted(what) => {
                    reply.lines.push(format!("{what} was deleted: nothing starts"));
                    continue;
                }
                Event::Ping => {
                    reply.lines.push(format!("{name} can be heard"));
                    continue;
                }
                Event::Ignored(why) => {
                    reply.lines.push(format!("nothing starts: {why}"));
                    continue;
                }
            };
            let key = format!("webhook:{provider}:{}", hash(&(&name, &id, at)));
            let made = discoveries::look(&self.pipelines, &self.context, &repository, look, key).await?;
            let words = if made.attached { "was taken before; see" } else { "is looked at by" };
            reply.lines.push(format!("it {words} execution {}", made.execution_id));
            if !made.attached {
                reply.executions.push(made.execution_id);
            }
        }
        Ok(reply)
    }

    async fn named(&self, provider: Provider, hint: Option<&str>, json: &[u8]) -> Result<Repository> {
        let names = match hint {
            Some(hint) => vec![canonical(hint)],
            None => provider.repositories(json),
        };
        if names.is_empty() {
            let words =
                "the body names no repository; add `?repo=` and the repository to the webhook's address";
            return Err(Error::Invalid(words.into()));
        }
        for name in &names {
            if let Some(found) = self.repositories.find(name).await?
                && found.provider == provider
            {
                return Ok(found);
            }
        }
        Err(Error::NotFound(format!(
            "no repository of {provider} is called {}; make it known with: tidemill repo add",
            names.join(" or ")
        )))
    }
}

fn refused(refusal: &Refusal) -> Error {
    match refusal {
        Refusal::Unsigned(_) | Refusal::WrongSignature(_) => Error::Unproven(refusal.to_string()),
        Refusal::Malformed { .. } => Error::Invalid(refusal.to_string()),
    }
}

fn pushed(change: Change, default_branch: Option<String>) -> Look {
    let Change { name, commit, before, by } = change;
    let facts = Facts {
        trigger: Trigger::Push,
        branch: Some(name),
        commit: Some(commit),
        default_branch,
        ..Facts::default()
    };
    Look { facts, discovery: Discovery { before, ..Discovery::default() }, by }
}

fn tagged(change: Change, default_branch: Option<String>) -> Look {
    let Change { name, commit, by, .. } = change;
    let fetch_ref = Some(format!("refs/tags/{name}"));
    let facts = Facts {
        trigger: Trigger::Push,
        tag: Some(name),
        commit: Some(commit),
        default_branch,
        ..Facts::default()
    };
    Look { facts, discovery: Discovery { fetch_ref, ..Discovery::default() }, by }
}

fn requested(request: PullRequestChange, default_branch: Option<String>) -> Look {
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
    Look { facts, discovery, by: request.by }
}
