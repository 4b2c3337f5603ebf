//! GitHub's webhooks.

use super::event::{Change, Event, Headers, ParsedDelivery, PullRequestUpdate, body_of, change, title};
use serde::Deserialize;

#[derive(Deserialize)]
struct Named {
    repository: Option<Addresses>,
}

#[derive(Deserialize)]
#[allow(clippy::struct_field_names, reason = "these are the provider's")]
struct Addresses {
    clone_url: Option<String>,
    ssh_url: Option<String>,
    html_url: Option<String>,
}

/// The addresses of the repository; Gitea has the same fields.
pub(super) fn addresses(body: &[u8]) -> Vec<String> {
    let named: Option<Named> = serde_json::from_slice(body).ok();
    let Some(of) = named.and_then(|named| named.repository) else { return Vec::new() };
    [of.clone_url, of.ssh_url, of.html_url].into_iter().flatten().collect()
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
pub(super) struct Requested {
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
    pub head: End,
    pub base: End,
}

#[derive(Deserialize)]
pub(super) struct End {
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

pub(super) fn read(headers: Headers<'_>, body: &[u8]) -> Result<ParsedDelivery, String> {
    let event = headers("x-github-event").ok_or("there is no header X-GitHub-Event")?;
    match event {
        "ping" => Ok(ParsedDelivery { default_branch: None, events: vec![Event::Ping] }),
        "push" => Ok(pushed(body_of(body)?)),
        "pull_request" => {
            Ok(requested(body_of(body)?, &["opened", "synchronize", "reopened", "ready_for_review"]))
        }
        other => {
            // It must be JSON all the same.
            body_of::<serde::de::IgnoredAny>(body)?;
            Ok(ignored(format!("the event `{}` starts nothing", title(other))))
        }
    }
}

pub(super) fn ignored(why: String) -> ParsedDelivery {
    ParsedDelivery { default_branch: None, events: vec![Event::Ignored(why)] }
}

pub(super) fn pushed(push: Push) -> ParsedDelivery {
    let Push { name, before, after, head_commit, pusher, repository } = push;
    // Of an annotated tag, `after` is the tag's own object.
    let commit = match head_commit {
        Some(head) if !super::event::is_nothing(&after) => head.id,
        _ => after,
    };
    let by = pusher.and_then(|user| user.login.or(user.name));
    let event = change(&name, Change { name: String::new(), commit, before, by });
    ParsedDelivery { default_branch: repository.default_branch, events: vec![event] }
}

pub(super) fn requested(of: Requested, starting: &[&str]) -> ParsedDelivery {
    let Requested { action, pull_request: request, sender, repository } = of;
    let default_branch = repository.default_branch;
    if !starting.contains(&action.as_str()) {
        let why = format!("a pull request that is `{}` has no new commits", title(&action));
        return ParsedDelivery { default_branch, ..ignored(why) };
    }
    let id = |end: &End| end.repo.as_ref().and_then(|repo| repo.id);
    // A repository that was deleted since was another, too.
    let from_fork = id(&request.head).is_none() || id(&request.head) != id(&request.base);
    let owner = request.head.repo.and_then(|repo| repo.owner).and_then(|owner| owner.login);
    let branch = if from_fork {
        format!("{}:{}", owner.as_deref().unwrap_or("fork"), request.head.name)
    } else {
        request.head.name
    };
    let event = Event::PullRequest(Box::new(PullRequestUpdate {
        number: request.number,
        title: title(&request.title),
        target_branch: request.base.name,
        branch,
        commit: request.head.sha,
        fetch_ref: format!("refs/pull/{}/head", request.number),
        from_fork,
        draft: request.draft.unwrap_or(false),
        by: sender.and_then(|user| user.login),
    }));
    ParsedDelivery { default_branch, events: vec![event] }
}
