//! Comments on pull requests: who may start something by one, and the pull requests that comments belong to.

use crate::{
    context::service_context::Context,
    error::{Error, Result},
    ports::{DocumentKey, NewDocument},
    repositories::record::Repository,
};
use serde::{Deserialize, Serialize};
use tidemill_core::repository::webhook::{Provider, PullRequestComment, PullRequestUpdate};

/// Kind of the documents of pull requests.
const DOCUMENT_KIND: &str = "pull-request";
/// How long a pull request is known after its last event.
const RETENTION_MS: i64 = 180 * 86_400_000;

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
}

/// Checks that the author of a comment may start pipelines of a repository. Returns the reason if not.
pub(super) fn check_author(of: &Repository, comment: &PullRequestComment) -> Result<(), String> {
    let author = &comment.author;
    let is_listed = of.comment_authors.iter().any(|name| name.eq_ignore_ascii_case(author));
    let provider = of.provider;
    match (of.comment_authors.is_empty(), comment.may_write) {
        (false, _) if is_listed && !author.is_empty() => Ok(()),
        (false, _) => Err(format!("{author} is not among the `--comment-authors` of the repository")),
        (true, Some(true)) => Ok(()),
        (true, Some(false)) => {
            Err(format!("{author} is not an owner, a member or a collaborator of the repository"))
        }
        (true, None) => Err(format!(
            "the webhooks of {provider} do not say what {author} may do; name those who may start pipelines with `tidemill repo add \
             --comment-authors`"
        )),
    }
}

fn key(of: &Repository, number: u64) -> DocumentKey {
    DocumentKey::new(DOCUMENT_KIND, format!("{}\n{number}", of.name()))
}

/// Records a pull request for its comments, if the provider's webhooks of comments do not describe it.
pub(super) async fn record(context: &Context, of: &Repository, request: &PullRequestUpdate) -> Result<()> {
    if !matches!(of.provider, Provider::Github | Provider::Gitea) {
        return Ok(());
    }
    let request = request.clone();
    let known = KnownPullRequest {
        branch: request.branch,
        target_branch: request.target_branch,
        title: request.title,
        fetch_ref: request.fetch_ref,
        from_fork: request.from_fork,
        draft: request.draft,
        labels: request.labels,
    };
    let value =
        serde_json::to_string(&known).map_err(|error| Error::storage("writing a pull request", error))?;
    let documents = &context.stores.documents;
    let key = key(of, request.number);
    let version = documents.get(&key).await?.map(|existing| existing.version);
    let expires_at = Some(context.now().plus_ms(RETENTION_MS));
    // On a conflict, the concurrent event is as new.
    documents.put(NewDocument { key, value, due_at: None, expires_at }, version).await.map(drop)
}

/// Returns the pull request of a comment. Its commit is empty if only its ref is known.
pub(super) async fn pull_request(
    context: &Context,
    of: &Repository,
    comment: &PullRequestComment,
) -> Result<Option<PullRequestUpdate>> {
    if let Some(request) = &comment.request {
        return Ok(Some(request.clone()));
    }
    let Some(document) = context.stores.documents.get(&key(of, comment.number)).await? else {
        return Ok(None);
    };
    let known: KnownPullRequest = serde_json::from_str(&document.value)
        .map_err(|error| Error::storage("reading a pull request", error))?;
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
