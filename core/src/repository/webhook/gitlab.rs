//! Webhooks of GitLab.

use super::{
    action::PullRequestAction,
    body_error::BodyError,
    event::{
        Change, Event, Headers, ParsedDelivery, PullRequestComment, PullRequestUpdate, Release, change,
        comment_text, labels, long_comment, parse_body, sanitize,
    },
    github::ignored,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct RepositoryBody {
    project: Option<Addresses>,
}

#[derive(Deserialize)]
#[allow(clippy::struct_field_names, reason = "field names of the provider")]
struct Addresses {
    git_http_url: Option<String>,
    git_ssh_url: Option<String>,
    web_url: Option<String>,
}

pub(super) fn addresses(body: &[u8]) -> Vec<String> {
    let body: Option<RepositoryBody> = serde_json::from_slice(body).ok();
    let Some(addresses) = body.and_then(|body| body.project) else { return Vec::new() };
    [addresses.git_http_url, addresses.git_ssh_url, addresses.web_url].into_iter().flatten().collect()
}

#[derive(Deserialize)]
struct Push {
    #[serde(rename = "ref")]
    name: String,
    before: Option<String>,
    after: String,
    checkout_sha: Option<String>,
    user_username: Option<String>,
    project: Project,
}

#[derive(Deserialize)]
struct Project {
    default_branch: Option<String>,
}

#[derive(Deserialize)]
struct PullRequestBody {
    object_attributes: Request,
    user: Option<User>,
    project: Project,
    changes: Option<Changes>,
}

#[derive(Deserialize)]
struct Changes {
    labels: Option<LabelChange>,
}

#[derive(Deserialize)]
struct LabelChange {
    #[serde(default)]
    previous: Vec<Label>,
    #[serde(default)]
    current: Vec<Label>,
}

#[derive(Deserialize)]
struct User {
    username: Option<String>,
}

#[derive(Deserialize)]
struct Request {
    iid: u64,
    #[serde(default)]
    title: String,
    action: Option<String>,
    oldrev: Option<String>,
    source_branch: String,
    target_branch: String,
    source_project_id: Option<u64>,
    target_project_id: Option<u64>,
    last_commit: Commit,
    #[serde(default)]
    draft: Option<bool>,
    #[serde(default)]
    work_in_progress: Option<bool>,
    source: Option<Source>,
    labels: Option<Vec<Label>>,
}

#[derive(Deserialize)]
struct Label {
    title: Option<String>,
}

#[derive(Deserialize)]
struct Source {
    path_with_namespace: Option<String>,
}

#[derive(Deserialize)]
struct Commit {
    id: String,
}

pub(super) fn parse(headers: Headers<'_>, body: &[u8]) -> Result<ParsedDelivery, BodyError> {
    match headers("x-gitlab-event").ok_or(BodyError::NoEvent("X-Gitlab-Event"))? {
        "Push Hook" | "Tag Push Hook" => Ok(push_delivery(parse_body(body)?)),
        "Merge Request Hook" => Ok(pull_request_delivery(parse_body(body)?)),
        "Release Hook" => Ok(release_delivery(parse_body(body)?)),
        "Note Hook" => Ok(comment_delivery(parse_body(body)?)),
        other => {
            parse_body::<serde::de::IgnoredAny>(body)?;
            Ok(ignored(format!("the event `{}` starts nothing", sanitize(other))))
        }
    }
}

fn push_delivery(push: Push) -> ParsedDelivery {
    let Push { name, before, after, checkout_sha, user_username: by, project } = push;
    // For an annotated tag, `after` is the tag object.
    let commit = checkout_sha.filter(|_| !super::event::is_zero_hash(&after)).unwrap_or(after);
    let event = change(&name, Change { name: String::new(), commit, before, by });
    ParsedDelivery { default_branch: project.default_branch, events: vec![event] }
}

fn pull_request_delivery(body: PullRequestBody) -> ParsedDelivery {
    let PullRequestBody { object_attributes: request, user, project, changes } = body;
    let default_branch = project.default_branch;
    let Some(action) = pull_request_action(&request, changes) else {
        let action = request.action.as_deref().unwrap_or("unknown");
        let why = format!("the merge request action `{}` adds no new commits", sanitize(action));
        return ParsedDelivery { default_branch, ..ignored(why) };
    };
    let event = Event::PullRequest(Box::new(update(request, action, user)));
    ParsedDelivery { default_branch, events: vec![event] }
}

fn pull_request_action(request: &Request, changes: Option<Changes>) -> Option<PullRequestAction> {
    Some(match request.action.as_deref()? {
        "open" => PullRequestAction::Opened,
        "reopen" => PullRequestAction::Reopened,
        "close" => PullRequestAction::Closed,
        "merge" => PullRequestAction::Merged,
        // An update without an old commit changes only the title, labels and the like.
        "update" if request.oldrev.is_some() => PullRequestAction::Synchronized,
        "update" => {
            let LabelChange { previous, current } = changes?.labels?;
            let is_new = |label: &Label| !previous.iter().any(|before| before.title == label.title);
            if current.iter().any(is_new) { PullRequestAction::Labeled } else { PullRequestAction::Unlabeled }
        }
        _ => return None,
    })
}

fn update(request: Request, action: PullRequestAction, by: Option<User>) -> PullRequestUpdate {
    let from_fork =
        request.source_project_id.is_none() || request.source_project_id != request.target_project_id;
    let owner = request.source.and_then(|source| source.path_with_namespace);
    let owner = owner.as_deref().and_then(|path| path.rsplit_once('/')).map_or("fork", |(owner, _)| owner);
    let branch = if from_fork { format!("{owner}:{}", request.source_branch) } else { request.source_branch };
    PullRequestUpdate {
        number: request.iid,
        title: sanitize(&request.title),
        target_branch: request.target_branch,
        branch,
        commit: request.last_commit.id,
        fetch_ref: format!("refs/merge-requests/{}/head", request.iid),
        from_fork,
        draft: request.draft.or(request.work_in_progress).unwrap_or(false),
        labels: labels(request.labels.into_iter().flatten().filter_map(|label| label.title)),
        by: by.and_then(|user| user.username),
        action,
    }
}

#[derive(Deserialize)]
struct ReleaseBody {
    action: String,
    tag: String,
    commit: Option<Commit>,
    project: Project,
}

fn release_delivery(body: ReleaseBody) -> ParsedDelivery {
    let ReleaseBody { action, tag, commit, project } = body;
    let default_branch = project.default_branch;
    if action != "create" {
        let why = format!("the release action `{}` starts nothing", sanitize(&action));
        return ParsedDelivery { default_branch, ..ignored(why) };
    }
    let commit = commit.map(|commit| commit.id);
    ParsedDelivery { default_branch, events: vec![Event::Release(Release { tag, commit, by: None })] }
}

#[derive(Deserialize)]
struct CommentBody {
    object_attributes: Note,
    merge_request: Option<Request>,
    user: Option<User>,
    project: Project,
}

#[derive(Deserialize)]
struct Note {
    #[serde(rename = "note")]
    text: String,
    /// Older versions send new comments only, without an action.
    action: Option<String>,
    #[serde(default)]
    system: Option<bool>,
}

fn comment_delivery(body: CommentBody) -> ParsedDelivery {
    let CommentBody { object_attributes: note, merge_request, user, project } = body;
    let default_branch = project.default_branch;
    let ignored = |why: String| ParsedDelivery { default_branch: default_branch.clone(), ..ignored(why) };
    let Some(request) = merge_request else {
        return ignored("only comments on merge requests start something".to_owned());
    };
    if note.action.as_deref().is_some_and(|action| action != "create") || note.system == Some(true) {
        return ignored("only new comments of people start something".to_owned());
    }
    let Some(text) = comment_text(&note.text) else { return ignored(long_comment()) };
    let by = user.and_then(|user| user.username);
    let event = Event::Comment(Box::new(PullRequestComment {
        number: request.iid,
        request: Some(update(request, PullRequestAction::default(), None)),
        text,
        author: by.clone().unwrap_or_default(),
        may_write: None,
        by,
    }));
    ParsedDelivery { default_branch, events: vec![event] }
}
