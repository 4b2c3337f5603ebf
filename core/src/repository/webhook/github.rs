//! Webhooks of GitHub.

use super::event::{
    Change, Event, Headers, ParsedDelivery, PullRequestUpdate, change, labels, parse_body, sanitize,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct RepositoryBody {
    repository: Option<Addresses>,
}

#[derive(Deserialize)]
#[allow(clippy::struct_field_names, reason = "field names of the provider")]
struct Addresses {
    clone_url: Option<String>,
    ssh_url: Option<String>,
    html_url: Option<String>,
}

/// Returns the addresses of the repository; Gitea has the same fields.
pub(super) fn addresses(body: &[u8]) -> Vec<String> {
    let body: Option<RepositoryBody> = serde_json::from_slice(body).ok();
    let Some(addresses) = body.and_then(|body| body.repository) else { return Vec::new() };
    [addresses.clone_url, addresses.ssh_url, addresses.html_url].into_iter().flatten().collect()
}

#[derive(Deserialize)]
pub(super) struct Push {
    #[serde(rename = "ref")]
    pub name: String,
    pub before: Option<String>,
    pub after: String,
    pub head_commit: Option<Commit>,
    pub pusher: Option<User>,
    pub repository: Repository,
}

#[derive(Deserialize)]
pub(super) struct Commit {
    pub id: String,
}

#[derive(Deserialize)]
pub(super) struct User {
    pub login: Option<String>,
    #[serde(default)]
    pub name: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Repository {
    pub default_branch: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct PullRequestBody {
    pub action: String,
    pub pull_request: Request,
    pub sender: Option<User>,
    pub repository: Repository,
}

#[derive(Deserialize)]
pub(super) struct Request {
    pub number: u64,
    #[serde(default)]
    pub title: String,
    #[serde(default)]
    pub draft: Option<bool>,
    pub labels: Option<Vec<Label>>,
    pub head: BranchEnd,
    pub base: BranchEnd,
}

#[derive(Deserialize)]
pub(super) struct Label {
    pub name: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct BranchEnd {
    #[serde(rename = "ref")]
    pub name: String,
    pub sha: String,
    pub repo: Option<EndRepository>,
}

#[derive(Deserialize)]
pub(super) struct EndRepository {
    pub id: Option<u64>,
    pub owner: Option<User>,
}

pub(super) fn parse(headers: Headers<'_>, body: &[u8]) -> Result<ParsedDelivery, String> {
    let event = headers("x-github-event").ok_or("there is no header X-GitHub-Event")?;
    match event {
        "ping" => Ok(ParsedDelivery { default_branch: None, events: vec![Event::Ping] }),
        "push" => Ok(push_delivery(parse_body(body)?)),
        "pull_request" => Ok(pull_request_delivery(
            parse_body(body)?,
            &["opened", "synchronize", "reopened", "ready_for_review"],
        )),
        other => {
            // It must be valid JSON even if it is ignored.
            parse_body::<serde::de::IgnoredAny>(body)?;
            Ok(ignored(format!("the event `{}` starts nothing", sanitize(other))))
        }
    }
}

pub(super) fn ignored(why: String) -> ParsedDelivery {
    ParsedDelivery { default_branch: None, events: vec![Event::Ignored(why)] }
}

pub(super) fn push_delivery(push: Push) -> ParsedDelivery {
    let Push { name, before, after, head_commit, pusher, repository } = push;
    // For an annotated tag, `after` is the tag object.
    let commit = match head_commit {
        Some(head) if !super::event::is_zero_hash(&after) => head.id,
        _ => after,
    };
    let by = pusher.and_then(|user| user.login.or(user.name));
    let event = change(&name, Change { name: String::new(), commit, before, by });
    ParsedDelivery { default_branch: repository.default_branch, events: vec![event] }
}

pub(super) fn pull_request_delivery(body: PullRequestBody, starting_actions: &[&str]) -> ParsedDelivery {
    let PullRequestBody { action, pull_request: request, sender, repository } = body;
    let default_branch = repository.default_branch;
    if !starting_actions.contains(&action.as_str()) {
        let why = format!("the pull request action `{}` adds no new commits", sanitize(&action));
        return ParsedDelivery { default_branch, ..ignored(why) };
    }
    let id = |end: &BranchEnd| end.repo.as_ref().and_then(|repo| repo.id);
    // A head repository that was deleted was a fork.
    let from_fork = id(&request.head).is_none() || id(&request.head) != id(&request.base);
    let owner = request.head.repo.and_then(|repo| repo.owner).and_then(|owner| owner.login);
    let branch = if from_fork {
        format!("{}:{}", owner.as_deref().unwrap_or("fork"), request.head.name)
    } else {
        request.head.name
    };
    let event = Event::PullRequest(Box::new(PullRequestUpdate {
        number: request.number,
        title: sanitize(&request.title),
        target_branch: request.base.name,
        branch,
        commit: request.head.sha,
        fetch_ref: format!("refs/pull/{}/head", request.number),
        from_fork,
        draft: request.draft.unwrap_or(false),
        labels: labels(request.labels.into_iter().flatten().filter_map(|label| label.name)),
        by: sender.and_then(|user| user.login),
    }));
    ParsedDelivery { default_branch, events: vec![event] }
}
