//! Webhooks of Bitbucket Cloud.

use super::{
    action::PullRequestAction,
    body_error::BodyError,
    event::{
        Change, Event, Headers, ParsedDelivery, PullRequestComment, PullRequestUpdate, change, comment_text,
        long_comment, parse_body, sanitize,
    },
    github::ignored,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct RepositoryBody {
    repository: Option<LinkedRepository>,
}

#[derive(Deserialize)]
struct LinkedRepository {
    links: Option<Links>,
}

#[derive(Deserialize)]
struct Links {
    html: Option<Link>,
}

#[derive(Deserialize)]
struct Link {
    href: String,
}

pub(super) fn addresses(body: &[u8]) -> Vec<String> {
    let body: Option<RepositoryBody> = serde_json::from_slice(body).ok();
    let links = body.and_then(|body| body.repository).and_then(|repository| repository.links);
    links.and_then(|links| links.html).into_iter().map(|link| link.href).collect()
}

#[derive(Deserialize)]
struct PushBody {
    push: Changes,
    actor: Option<User>,
    repository: Repository,
}

#[derive(Deserialize)]
struct Changes {
    changes: Vec<RefChange>,
}

#[derive(Deserialize)]
struct RefChange {
    new: Option<Reference>,
    old: Option<Reference>,
}

#[derive(Deserialize)]
struct Reference {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    target: Target,
}

#[derive(Deserialize)]
struct Target {
    hash: String,
}

#[derive(Deserialize)]
struct User {
    nickname: Option<String>,
    display_name: Option<String>,
    /// Unlike the names, nobody else can take it.
    account_id: Option<String>,
}

#[derive(Deserialize)]
struct Repository {
    mainbranch: Option<Branch>,
}

#[derive(Deserialize)]
struct Branch {
    name: String,
}

#[derive(Deserialize)]
struct PullRequestBody {
    pullrequest: Request,
    actor: Option<User>,
    repository: Repository,
}

#[derive(Deserialize)]
struct Request {
    id: u64,
    #[serde(default)]
    title: String,
    #[serde(default)]
    draft: Option<bool>,
    source: BranchEnd,
    destination: BranchEnd,
}

#[derive(Deserialize)]
struct BranchEnd {
    branch: Branch,
    commit: Option<Target>,
    repository: Option<FullName>,
}

#[derive(Deserialize)]
struct FullName {
    full_name: Option<String>,
}

pub(super) fn parse(headers: Headers<'_>, body: &[u8]) -> Result<ParsedDelivery, BodyError> {
    match headers("x-event-key").ok_or(BodyError::NoEvent("X-Event-Key"))? {
        "diagnostics:ping" => Ok(ParsedDelivery { default_branch: None, events: vec![Event::Ping] }),
        "repo:push" => Ok(push_delivery(parse_body(body)?)),
        "pullrequest:created" => pull_request_delivery(parse_body(body)?, PullRequestAction::Opened),
        "pullrequest:updated" => pull_request_delivery(parse_body(body)?, PullRequestAction::Synchronized),
        "pullrequest:comment_created" => comment_delivery(parse_body(body)?),
        other => {
            parse_body::<serde::de::IgnoredAny>(body)?;
            Ok(ignored(format!("the event `{}` starts nothing", sanitize(other))))
        }
    }
}

fn user_name(user: Option<User>) -> Option<String> {
    user.and_then(|user| user.nickname.or(user.display_name))
}

fn push_delivery(body: PushBody) -> ParsedDelivery {
    let by = user_name(body.actor);
    let event = |entry: RefChange| {
        let before = entry.old.as_ref().map(|old| old.target.hash.clone());
        let Some(new) = entry.new else {
            return Event::Deleted(entry.old.map_or_else(|| "a branch".to_owned(), |old| old.name));
        };
        let full_ref = match new.kind.as_str() {
            "tag" => format!("refs/tags/{}", new.name),
            "branch" | "named_branch" => format!("refs/heads/{}", new.name),
            _ => new.name,
        };
        let commit = new.target.hash;
        change(&full_ref, Change { name: String::new(), commit, before, by: by.clone() })
    };
    let events = body.push.changes.into_iter().map(event).collect();
    ParsedDelivery { default_branch: body.repository.mainbranch.map(|branch| branch.name), events }
}

fn pull_request_delivery(
    body: PullRequestBody,
    action: PullRequestAction,
) -> Result<ParsedDelivery, BodyError> {
    let PullRequestBody { pullrequest, actor, repository } = body;
    let default_branch = repository.mainbranch.map(|branch| branch.name);
    Ok(match update(pullrequest, action, actor)? {
        Some(request) => {
            ParsedDelivery { default_branch, events: vec![Event::PullRequest(Box::new(request))] }
        }
        None => ParsedDelivery { default_branch, ..of_fork() },
    })
}

/// Bitbucket Cloud has no ref in the target repository that points to the commit.
fn of_fork() -> ParsedDelivery {
    ignored("Bitbucket shows the commits of forks' pull requests in the fork only".to_owned())
}

/// Returns the pull request; `None` if it comes from a fork.
fn update(
    request: Request,
    action: PullRequestAction,
    by: Option<User>,
) -> Result<Option<PullRequestUpdate>, BodyError> {
    let name = |end: &BranchEnd| end.repository.as_ref().and_then(|repo| repo.full_name.clone());
    let from_fork = name(&request.source).is_none() || name(&request.source) != name(&request.destination);
    if from_fork {
        return Ok(None);
    }
    let commit = request.source.commit.ok_or(BodyError::Incomplete("commit"))?.hash;
    Ok(Some(PullRequestUpdate {
        number: request.id,
        title: sanitize(&request.title),
        target_branch: request.destination.branch.name,
        fetch_ref: format!("refs/heads/{}", request.source.branch.name),
        branch: request.source.branch.name,
        commit,
        from_fork,
        draft: request.draft.unwrap_or(false),
        labels: Vec::new(),
        by: user_name(by),
        action,
    }))
}

#[derive(Deserialize)]
struct CommentBody {
    pullrequest: Request,
    comment: Comment,
    actor: Option<User>,
    repository: Repository,
}

#[derive(Deserialize)]
struct Comment {
    content: Content,
    user: Option<User>,
}

#[derive(Deserialize)]
struct Content {
    raw: String,
}

fn comment_delivery(body: CommentBody) -> Result<ParsedDelivery, BodyError> {
    let CommentBody { pullrequest, comment, actor, repository } = body;
    let default_branch = repository.mainbranch.map(|branch| branch.name);
    let Some(text) = comment_text(&comment.content.raw) else {
        return Ok(ParsedDelivery { default_branch, ..ignored(long_comment()) });
    };
    let Some(request) = update(pullrequest, PullRequestAction::default(), None)? else {
        return Ok(ParsedDelivery { default_branch, ..of_fork() });
    };
    let event = Event::Comment(Box::new(PullRequestComment {
        number: request.number,
        request: Some(request),
        text,
        author: comment.user.and_then(|user| user.account_id).unwrap_or_default(),
        may_write: None,
        by: user_name(actor),
    }));
    Ok(ParsedDelivery { default_branch, events: vec![event] })
}
