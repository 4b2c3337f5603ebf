//! Pull requests as the webhooks described them last: for their comments, and for events that start nothing.

use super::schedules::DiscoveredPipeline;
use crate::{
    context::service_context::Context,
    error::{Error, Result},
    ports::{DocumentKey, NewDocument},
    repositories::record::Repository,
};
use serde::{Deserialize, Serialize};
use tidemill_core::execution::facts::{Facts, PullRequest};
use tidemill_core::pipeline::PullRequestTrigger;
use tidemill_core::plan::trigger;
use tidemill_core::repository::webhook::{
    Provider, PullRequestAction, PullRequestComment, PullRequestUpdate,
};

/// Kind of the documents of pull requests.
const DOCUMENT_KIND: &str = "pull-request";
/// How long a pull request is known after its last event.
const RETENTION_MS: i64 = 180 * 86_400_000;
/// Maximum size of the triggers that are recorded of a commit, in bytes of JSON.
const MAX_LISTENERS_SIZE: usize = 16 << 10;

/// What is stored of a pull request, because the webhooks of comments do not have it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct KnownPullRequest {
    branch: String,
    target_branch: String,
    title: String,
    fetch_ref: String,
    from_fork: bool,
    draft: bool,
    labels: Vec<String>,
    /// What the last complete discovery found; `None` if that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    listeners: Option<Listeners>,
}

/// The triggers of pull requests in the pipeline files of a commit.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Listeners {
    commit: String,
    /// Their `types` and `labels`.
    on: Vec<PullRequestTrigger>,
}

fn key(of: &Repository, number: u64) -> DocumentKey {
    DocumentKey::new(DOCUMENT_KIND, format!("{}\n{number}", of.name()))
}

/// Returns the record of a pull request with its version.
async fn read(context: &Context, of: &Repository, number: u64) -> Result<Option<(KnownPullRequest, u64)>> {
    let Some(document) = context.stores.documents.get(&key(of, number)).await? else { return Ok(None) };
    let known = serde_json::from_str(&document.value)
        .map_err(|error| Error::storage("reading a pull request", error))?;
    Ok(Some((known, document.version)))
}

/// Writes the record of a pull request. On a conflict, the concurrent event is as new.
async fn write(
    context: &Context,
    of: &Repository,
    number: u64,
    known: &KnownPullRequest,
    version: Option<u64>,
) -> Result<()> {
    let value =
        serde_json::to_string(known).map_err(|error| Error::storage("writing a pull request", error))?;
    let expires_at = Some(context.now().plus_ms(RETENTION_MS));
    let new = NewDocument { key: key(of, number), value, due_at: None, expires_at };
    context.stores.documents.put(new, version).await.map(drop)
}

/// Records a pull request for its comments and further events, if the provider's webhooks of comments do not describe it. Returns
/// whether its event may start something: not if the discovery of the same commit found no pipeline that starts for it.
pub(super) async fn record(context: &Context, of: &Repository, request: &PullRequestUpdate) -> Result<bool> {
    if !matches!(of.provider, Provider::Github | Provider::Gitea) {
        return Ok(true);
    }
    let known = read(context, of, request.number).await?;
    let version = known.as_ref().map(|(_, version)| *version);
    let listeners = known.and_then(|(known, _)| known.listeners);
    let listeners = listeners.filter(|listeners| listeners.commit == request.commit);
    let may_start = listeners.as_ref().is_none_or(|listeners| may_start(listeners, request));
    let of_request = request.clone();
    let known = KnownPullRequest {
        branch: of_request.branch,
        target_branch: of_request.target_branch,
        title: of_request.title,
        fetch_ref: of_request.fetch_ref,
        from_fork: of_request.from_fork,
        draft: of_request.draft,
        labels: of_request.labels,
        listeners,
    };
    write(context, of, request.number, &known, version).await?;
    Ok(may_start)
}

/// Whether one of the pipelines may start for an event. What is not about labels or a close always may.
fn may_start(listeners: &Listeners, request: &PullRequestUpdate) -> bool {
    let described = PullRequest {
        labels: request.labels.clone(),
        action: Some(request.action),
        ..PullRequest::default()
    };
    PullRequestAction::DEFAULT.contains(&request.action)
        || listeners.on.iter().any(|on| trigger::has_action_and_labels(on, &described))
}

/// Records what the discovery of a pull request found. `is_complete`: whether the found pipelines are all, and depend on nothing but
/// the commit.
pub(super) async fn record_listeners(
    context: &Context,
    of: &Repository,
    facts: &Facts,
    found: &[DiscoveredPipeline],
    is_complete: bool,
) -> Result<()> {
    let (Some(request), Some(commit)) = (&facts.pull_request, &facts.commit) else { return Ok(()) };
    let Some((known, version)) = read(context, of, request.number).await? else { return Ok(()) };
    let on: Vec<PullRequestTrigger> = found
        .iter()
        .filter_map(|pipeline| pipeline.pull_request.as_ref())
        .map(|on| PullRequestTrigger {
            types: on.types.clone(),
            labels: on.labels.clone(),
            ..PullRequestTrigger::default()
        })
        .collect();
    let size = serde_json::to_string(&on).map_or(usize::MAX, |text| text.len());
    let listeners = Listeners { commit: commit.clone(), on };
    let listeners = Some(listeners).filter(|_| is_complete && size <= MAX_LISTENERS_SIZE);
    write(context, of, request.number, &KnownPullRequest { listeners, ..known }, Some(version)).await
}

/// Returns the pull request of a comment. Its commit is empty if only its ref is known.
pub(super) async fn of_comment(
    context: &Context,
    of: &Repository,
    comment: &PullRequestComment,
) -> Result<Option<PullRequestUpdate>> {
    if let Some(request) = &comment.request {
        return Ok(Some(request.clone()));
    }
    let Some((known, _)) = read(context, of, comment.number).await? else { return Ok(None) };
    Ok(Some(PullRequestUpdate {
        number: comment.number,
        title: known.title,
        target_branch: known.target_branch,
        branch: known.branch,
        commit: String::new(),
        fetch_ref: known.fetch_ref,
        from_fork: known.from_fork,
        draft: known.draft,
        labels: known.labels,
        ..PullRequestUpdate::default()
    }))
}
