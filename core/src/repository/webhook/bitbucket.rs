//! Webhooks of Bitbucket Cloud.

use super::{
    event::{Change, Event, Headers, ParsedDelivery, PullRequestUpdate, body_of, change, title},
    github::ignored,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Named {
    repository: Option<Linked>,
}

#[derive(Deserialize)]
struct Linked {
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
    let named: Option<Named> = serde_json::from_slice(body).ok();
    let links = named.and_then(|named| named.repository).and_then(|of| of.links);
    links.and_then(|links| links.html).into_iter().map(|link| link.href).collect()
}

#[derive(Deserialize)]
struct Pushed {
    push: Changes,
    actor: Option<User>,
    repository: Repository,
}

#[derive(Deserialize)]
struct Changes {
    changes: Vec<OneChange>,
}

#[derive(Deserialize)]
struct OneChange {
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
struct Requested {
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
    source: End,
    destination: End,
}

#[derive(Deserialize)]
struct End {
    branch: Branch,
    commit: Option<Target>,
    repository: Option<Full>,
}

#[derive(Deserialize)]
struct Full {
    full_name: Option<String>,
}

pub(super) fn read(headers: Headers<'_>, body: &[u8]) -> Result<ParsedDelivery, String> {
    match headers("x-event-key").ok_or("there is no header X-Event-Key")? {
        "diagnostics:ping" => Ok(ParsedDelivery { default_branch: None, events: vec![Event::Ping] }),
        "repo:push" => Ok(pushed(body_of(body)?)),
        "pullrequest:created" | "pullrequest:updated" => requested(body_of(body)?),
        other => {
            body_of::<serde::de::IgnoredAny>(body)?;
            Ok(ignored(format!("the event `{}` starts nothing", title(other))))
        }
    }
}

fn who(user: Option<User>) -> Option<String> {
    user.and_then(|user| user.nickname.or(user.display_name))
}

fn pushed(of: Pushed) -> ParsedDelivery {
    let by = who(of.actor);
    let event = |one: OneChange| {
        let before = one.old.as_ref().map(|old| old.target.hash.clone());
        let Some(new) = one.new else {
            return Event::Deleted(one.old.map_or_else(|| "a branch".to_owned(), |old| old.name));
        };
        let full = match new.kind.as_str() {
            "tag" => format!("refs/tags/{}", new.name),
            "branch" | "named_branch" => format!("refs/heads/{}", new.name),
            _ => new.name,
        };
        let commit = new.target.hash;
        change(&full, Change { name: String::new(), commit, before, by: by.clone() })
    };
    let events = of.push.changes.into_iter().map(event).collect();
    ParsedDelivery { default_branch: of.repository.mainbranch.map(|branch| branch.name), events }
}

fn requested(of: Requested) -> Result<ParsedDelivery, String> {
    let request = of.pullrequest;
    let default_branch = of.repository.mainbranch.map(|branch| branch.name);
    let name = |end: &End| end.repository.as_ref().and_then(|repo| repo.full_name.clone());
    let from_fork = name(&request.source).is_none() || name(&request.source) != name(&request.destination);
    if from_fork {
        // Bitbucket Cloud has no ref that would show it in the repository itself.
        let why = "Bitbucket shows the commits of forks' pull requests in the fork only".to_owned();
        return Ok(ParsedDelivery { default_branch, ..ignored(why) });
    }
    let commit = request.source.commit.ok_or("the pull request has no commit")?.hash;
    let event = Event::PullRequest(Box::new(PullRequestUpdate {
        number: request.id,
        title: title(&request.title),
        target_branch: request.destination.branch.name,
        fetch_ref: format!("refs/heads/{}", request.source.branch.name),
        branch: request.source.branch.name,
        commit,
        from_fork,
        draft: request.draft.unwrap_or(false),
        by: who(of.actor),
    }));
    Ok(ParsedDelivery { default_branch, events: vec![event] })
}
