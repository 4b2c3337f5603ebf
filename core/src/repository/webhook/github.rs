//! Webhooks of GitHub.

use super::action::PullRequestAction;
use super::body_error::BodyError;
use super::event::{
    Change, Event, Headers, MergeGroup, ParsedDelivery, PullRequestComment, PullRequestUpdate, Release,
    RerunRequest, change, comment_text, labels, long_comment, parse_body, sanitize,
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
    #[serde(default)]
    pub merged: Option<bool>,
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

pub(super) fn parse(headers: Headers<'_>, body: &[u8]) -> Result<ParsedDelivery, BodyError> {
    let event = headers("x-github-event").ok_or(BodyError::NoEvent("X-GitHub-Event"))?;
    match event {
        "ping" => Ok(ParsedDelivery { default_branch: None, events: vec![Event::Ping] }),
        "push" => Ok(push_delivery(parse_body(body)?)),
        "pull_request" => Ok(pull_request_delivery(parse_body(body)?)),
        "merge_group" => Ok(merge_group_delivery(parse_body(body)?)),
        "release" => Ok(release_delivery(parse_body(body)?)),
        "issue_comment" => Ok(comment_delivery(parse_body(body)?)),
        "check_run" | "check_suite" => rerun_delivery(event, parse_body(body)?),
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

pub(super) fn pull_request_delivery(body: PullRequestBody) -> ParsedDelivery {
    let PullRequestBody { action, pull_request: request, sender, repository } = body;
    let default_branch = repository.default_branch;
    let Some(action) = pull_request_action(&action, request.merged == Some(true)) else {
        let why = format!("the pull request action `{}` starts nothing", sanitize(&action));
        return ParsedDelivery { default_branch, ..ignored(why) };
    };
    let event = Event::PullRequest(Box::new(update(request, action, sender)));
    ParsedDelivery { default_branch, events: vec![event] }
}

/// Returns the action of this name. Gitea does not say whether a label was added or removed.
fn pull_request_action(name: &str, merged: bool) -> Option<PullRequestAction> {
    Some(match name {
        "opened" => PullRequestAction::Opened,
        "reopened" => PullRequestAction::Reopened,
        "synchronize" | "synchronized" => PullRequestAction::Synchronized,
        "ready_for_review" => PullRequestAction::ReadyForReview,
        "labeled" | "label_updated" => PullRequestAction::Labeled,
        "unlabeled" | "label_cleared" => PullRequestAction::Unlabeled,
        "closed" if merged => PullRequestAction::Merged,
        "closed" => PullRequestAction::Closed,
        _ => return None,
    })
}

fn update(request: Request, action: PullRequestAction, by: Option<User>) -> PullRequestUpdate {
    let id = |end: &BranchEnd| end.repo.as_ref().and_then(|repo| repo.id);
    // A head repository that was deleted was a fork.
    let from_fork = id(&request.head).is_none() || id(&request.head) != id(&request.base);
    let owner = request.head.repo.and_then(|repo| repo.owner).and_then(|owner| owner.login);
    let branch = if from_fork {
        format!("{}:{}", owner.as_deref().unwrap_or("fork"), request.head.name)
    } else {
        request.head.name
    };
    PullRequestUpdate {
        number: request.number,
        title: sanitize(&request.title),
        target_branch: request.base.name,
        branch,
        commit: request.head.sha,
        fetch_ref: format!("refs/pull/{}/head", request.number),
        from_fork,
        draft: request.draft.unwrap_or(false),
        labels: labels(request.labels.into_iter().flatten().filter_map(|label| label.name)),
        by: by.and_then(|user| user.login),
        action,
    }
}

#[derive(Deserialize)]
struct MergeGroupBody {
    action: String,
    merge_group: Group,
    sender: Option<User>,
    repository: Repository,
}

#[derive(Deserialize)]
struct Group {
    head_sha: String,
    head_ref: String,
    base_ref: String,
    base_sha: Option<String>,
}

fn merge_group_delivery(body: MergeGroupBody) -> ParsedDelivery {
    let MergeGroupBody { action, merge_group: group, sender, repository } = body;
    let default_branch = repository.default_branch;
    if action != "checks_requested" {
        let why = format!("the merge group action `{}` starts nothing", sanitize(&action));
        return ParsedDelivery { default_branch, ..ignored(why) };
    }
    let branch = |name: &str| name.strip_prefix("refs/heads/").unwrap_or(name).to_owned();
    let event = Event::MergeGroup(MergeGroup {
        branch: branch(&group.head_ref),
        target_branch: branch(&group.base_ref),
        commit: group.head_sha,
        before: group.base_sha,
        by: sender.and_then(|user| user.login),
    });
    ParsedDelivery { default_branch, events: vec![event] }
}

#[derive(Deserialize)]
struct CheckBody {
    action: String,
    check_run: Option<Check>,
    check_suite: Option<Check>,
    sender: Option<User>,
    repository: Repository,
}

/// A check run or a check suite.
#[derive(Deserialize)]
struct Check {
    head_sha: String,
    external_id: Option<String>,
    app: Option<App>,
}

#[derive(Deserialize)]
struct App {
    id: u64,
}

fn rerun_delivery(event: &str, body: CheckBody) -> Result<ParsedDelivery, BodyError> {
    let CheckBody { action, check_run, check_suite, sender, repository } = body;
    let default_branch = repository.default_branch;
    if action != "rerequested" {
        let why = format!("the {} action `{}` starts nothing", event.replace('_', " "), sanitize(&action));
        return Ok(ParsedDelivery { default_branch, ..ignored(why) });
    }
    let is_run = event == "check_run";
    let check = if is_run { check_run } else { check_suite };
    let check = check.ok_or(BodyError::Incomplete(if is_run { "check_run" } else { "check_suite" }))?;
    let event = Event::Rerun(RerunRequest {
        app_id: check.app.map_or(0, |app| app.id),
        commit: check.head_sha,
        check_run: is_run.then(|| check.external_id.unwrap_or_default()),
        author: sender.and_then(|user| user.login).unwrap_or_default(),
    });
    Ok(ParsedDelivery { default_branch, events: vec![event] })
}

#[derive(Deserialize)]
pub(super) struct ReleaseBody {
    action: String,
    release: PublishedRelease,
    sender: Option<User>,
    repository: Repository,
}

#[derive(Deserialize)]
struct PublishedRelease {
    tag_name: String,
}

pub(super) fn release_delivery(body: ReleaseBody) -> ParsedDelivery {
    let ReleaseBody { action, release, sender, repository } = body;
    let default_branch = repository.default_branch;
    if action != "published" {
        let why = format!("the release action `{}` starts nothing", sanitize(&action));
        return ParsedDelivery { default_branch, ..ignored(why) };
    }
    let by = sender.and_then(|user| user.login);
    // The body has no commit: `target_commitish` is where the tag would be created if there were none.
    let event = Event::Release(Release { tag: release.tag_name, commit: None, by });
    ParsedDelivery { default_branch, events: vec![event] }
}

#[derive(Deserialize)]
pub(super) struct CommentBody {
    action: String,
    issue: Issue,
    comment: Comment,
    sender: Option<User>,
    repository: Repository,
    /// Gitea.
    is_pull: Option<bool>,
    /// Gitea, in newer versions.
    pull_request: Option<Request>,
}

#[derive(Deserialize)]
struct Issue {
    number: u64,
    pull_request: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Comment {
    body: String,
    user: Option<User>,
    author_association: Option<String>,
}

/// GitHub says how the author belongs to the repository; Gitea does not.
pub(super) fn comment_delivery(body: CommentBody) -> ParsedDelivery {
    let CommentBody { action, issue, comment, sender, repository, is_pull, pull_request } = body;
    let default_branch = repository.default_branch;
    let ignored = |why: String| ParsedDelivery { default_branch: default_branch.clone(), ..ignored(why) };
    if action != "created" {
        return ignored(format!("the comment action `{}` starts nothing", sanitize(&action)));
    }
    if issue.pull_request.is_none() && is_pull != Some(true) {
        return ignored("only comments on pull requests start something".to_owned());
    }
    let Some(text) = comment_text(&comment.body) else { return ignored(long_comment()) };
    let may_write = comment.author_association.map(|of| matches!(&*of, "OWNER" | "MEMBER" | "COLLABORATOR"));
    let event = Event::Comment(Box::new(PullRequestComment {
        number: issue.number,
        request: pull_request.map(|request| update(request, PullRequestAction::default(), None)),
        text,
        author: comment.user.and_then(|user| user.login).unwrap_or_default(),
        may_write,
        by: sender.and_then(|user| user.login),
    }));
    ParsedDelivery { default_branch, events: vec![event] }
}
