//! Webhooks of GitLab.

use super::{
    event::{
        Change, Event, Headers, ParsedDelivery, PullRequestUpdate, change, labels, parse_body, sanitize,
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

pub(super) fn parse(headers: Headers<'_>, body: &[u8]) -> Result<ParsedDelivery, String> {
    match headers("x-gitlab-event").ok_or("there is no header X-Gitlab-Event")? {
        "Push Hook" | "Tag Push Hook" => Ok(push_delivery(parse_body(body)?)),
        "Merge Request Hook" => Ok(pull_request_delivery(parse_body(body)?)),
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
    let PullRequestBody { object_attributes: request, user, project } = body;
    let default_branch = project.default_branch;
    let action = request.action.as_deref().unwrap_or("unknown");
    // An update without an old commit changes only the title, labels and the like.
    let starts = matches!(action, "open" | "reopen") || action == "update" && request.oldrev.is_some();
    if !starts {
        let why = format!("the merge request action `{}` adds no new commits", sanitize(action));
        return ParsedDelivery { default_branch, ..ignored(why) };
    }
    let from_fork =
        request.source_project_id.is_none() || request.source_project_id != request.target_project_id;
    let owner = request.source.and_then(|source| source.path_with_namespace);
    let owner = owner.as_deref().and_then(|path| path.rsplit_once('/')).map_or("fork", |(owner, _)| owner);
    let branch = if from_fork { format!("{owner}:{}", request.source_branch) } else { request.source_branch };
    let event = Event::PullRequest(Box::new(PullRequestUpdate {
        number: request.iid,
        title: sanitize(&request.title),
        target_branch: request.target_branch,
        branch,
        commit: request.last_commit.id,
        fetch_ref: format!("refs/merge-requests/{}/head", request.iid),
        from_fork,
        draft: request.draft.or(request.work_in_progress).unwrap_or(false),
        labels: labels(request.labels.into_iter().flatten().filter_map(|label| label.title)),
        by: user.and_then(|user| user.username),
    }));
    ParsedDelivery { default_branch, events: vec![event] }
}
