//! `repo`: manages repositories whose webhooks and schedules start pipelines.

use super::{credential, deliveries};
use crate::{
    args::{AddRepo, ApprovalArg, FormatArgs, Repo, RepoAction},
    deployment::{Deployment, query_encoded},
    failure::{Failure, Outcome},
    output::{self, Printable},
    settings::{Settings, input},
};
use serde::Deserialize;
use serde_json::json;
use std::{io::Write, path::Path, time::Duration};
use tidemill_core::api::{ExecuteReply, path};
use tidemill_core::notification::receiver::{Notify, NotifyKind};
use tidemill_core::repository::registration::{
    ApprovalPolicy, CredentialView, RedeliveryReply, RemoveRepositoryReply, RepositoryList, RepositoryQuery,
    RepositoryReply, RepositoryRequest,
};

/// `tidemill repo`.
pub async fn repo(settings: &Settings, args: &Repo) -> Outcome {
    let request = match &args.action {
        RepoAction::Add(add) => Some(request(add)?),
        _ => None,
    };
    let deployment = Deployment::connect(settings).await?;
    match &args.action {
        RepoAction::Add(args) => {
            if let Some(request) = request {
                add(settings, &deployment, &request, args.format).await?;
            }
        }
        RepoAction::List { format } => list(&deployment, format.is_json()).await?,
        RepoAction::Remove { url, format } => {
            let path = format!("{}?repo={}", path::REPOSITORIES, query_encoded(url));
            let reply: RemoveRepositoryReply = deployment.api.delete(&path).await?;
            if !reply.removed {
                return Err(Failure::usage(format!(
                    "{url} is not registered; `tidemill repo list` lists repositories"
                )));
            }
            output::print_reply(format.is_json(), &reply, || format!("{} unregistered", Printable(url)))?;
        }
        RepoAction::Sync { url, format } => {
            let timeout = Duration::from_secs(30);
            let reply: ExecuteReply =
                deployment.api.post(path::SYNC, &RepositoryQuery { repo: url.clone() }, timeout).await?;
            output::print_reply(format.is_json(), &reply, || {
                format!("execution {} reloads the schedules of {}", reply.execution_id, Printable(url))
            })?;
        }
        RepoAction::Deliveries(args) => deliveries::deliveries(&deployment, args).await?,
        RepoAction::Schedules(args) => deliveries::schedules(&deployment, args).await?,
        RepoAction::Run(args) => deliveries::run(&deployment, args).await?,
        RepoAction::Redeliver { url, format } => {
            let timeout = Duration::from_secs(30);
            let reply: RedeliveryReply =
                deployment.api.post(path::REDELIVER, &RepositoryQuery { repo: url.clone() }, timeout).await?;
            output::print_reply(format.is_json(), &reply, || {
                format!(
                    "earlier webhook deliveries of {} are accepted again when the provider redelivers them",
                    Printable(&reply.repository)
                )
            })?;
        }
    }
    deployment.close().await;
    Ok(())
}

async fn add(
    settings: &Settings,
    deployment: &Deployment,
    request: &RepositoryRequest,
    format: FormatArgs,
) -> Outcome {
    let reply: RepositoryReply = deployment.api.put_json(path::REPOSITORIES, request).await?;
    let repository = &reply.repository;
    let webhook_url =
        deployment.server_url(settings).await?.map(|url| format!("{url}{}", reply.webhook_path));
    if format.is_json() {
        return Ok(output::print_json(&json!({
            "repository": repository,
            "webhook_url": webhook_url,
            "webhook_path": reply.webhook_path,
            "webhook_secret": reply.webhook_secret,
        }))?);
    }
    let name = Printable(&repository.name);
    match (&repository.app, repository.statuses) {
        (Some(app), _) => crate::output::outln!("{name} registered; App {} writes check runs", app.app_id),
        (None, true) => crate::output::outln!("{name} registered; commit statuses are written"),
        (None, false) => crate::output::outln!("{name} registered; commit statuses are not written"),
    }
    match webhook_url {
        Some(url) => crate::output::outln!("webhook URL: {}", Printable(url)),
        None => crate::output::outln!(
            "webhook URL: the address of your server, followed by {} (no server runs on this data directory; start one with \
             `tidemill server`)",
            Printable(&reply.webhook_path)
        ),
    }
    if let Some(secret) = &reply.webhook_secret {
        crate::output::errln!("webhook secret; save it now, it is not shown again:");
        let mut out = output::stdout();
        writeln!(out, "{}", Printable(secret))?;
        out.flush()?;
    }
    Ok(())
}

async fn list(deployment: &Deployment, json: bool) -> Outcome {
    let list: RepositoryList = deployment.get(path::REPOSITORIES).await?;
    let mut out = output::stdout();
    if json {
        return Ok(output::print_json(&list.repositories)?);
    }
    if list.repositories.is_empty() {
        writeln!(out, "no repositories; register one with `tidemill repo add`")?;
    }
    for repository in &list.repositories {
        let branch = Printable(repository.default_branch.as_deref().unwrap_or("default branch unknown"));
        let statuses = match (&repository.app, repository.statuses) {
            (Some(_), _) => "check runs",
            (None, true) => "statuses",
            (None, false) => "no statuses",
        };
        let notes = if repository.notes { ", notes" } else { "" };
        let approval = match repository.approval {
            ApprovalPolicy::None => "no approval required",
            ApprovalPolicy::Forks => "forks require approval",
            ApprovalPolicy::All => "pull requests require approval",
        };
        let notified = match repository.notify.len() {
            0 => String::new(),
            number => format!(", {number} notification(s)"),
        };
        let comments = match repository.comment_authors.as_slice() {
            [] => String::new(),
            names => format!(", comments of {}", Printable(names.join(", "))),
        };
        let triggers = match repository.allow_trigger_from.as_slice() {
            [] => String::new(),
            names => format!(", jobs of {}", Printable(names.join(", "))),
        };
        let credential = match &repository.credential {
            None => String::new(),
            Some(CredentialView { kind, allow_push: false }) => format!(", {}", kind.as_str()),
            Some(CredentialView { kind, allow_push: true }) => format!(", {} (jobs may push)", kind.as_str()),
        };
        let public = if repository.public { ", public" } else { "" };
        writeln!(
            out,
            "{}  {}, {branch}, {statuses}{notes}, {approval}{notified}{credential}{comments}{triggers}{public}",
            Printable(&repository.name),
            repository.provider
        )?;
        if let Some(problem) = &repository.trouble {
            writeln!(out, "    {}", Printable(problem))?;
        }
    }
    Ok(())
}

/// Maximum size of a file of receivers, in bytes.
const MAX_RECEIVER_FILE: u64 = 256 << 10;

/// A file of receivers of notifications.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReceiverFile {
    receiver: Vec<Notify>,
}

/// Reads a file of receivers, and checks each.
fn receivers(path: &Path) -> Outcome<Vec<Notify>> {
    let text = input::read_file(path, MAX_RECEIVER_FILE)?;
    let file: ReceiverFile = toml::from_str(&text)
        // The message of the error quotes the line, which may have a secret.
        .map_err(|error| Failure::usage(format!("{}: {}", path.display(), error.message())))?;
    for (index, receiver) in file.receiver.iter().enumerate() {
        receiver
            .check()
            .map_err(|why| Failure::usage(format!("{}: receiver {}: {why}", path.display(), index + 1)))?;
    }
    Ok(file.receiver)
}

fn request(add: &AddRepo) -> Outcome<RepositoryRequest> {
    let secret = add.notify_secret_file.as_deref().map(input::read_value).transpose()?;
    let chats = add.notify_chat_file.iter().map(|path| input::read_value(path));
    let mut notify = Vec::new();
    for url in chats {
        notify.push(Notify::new(NotifyKind::Chat, url?));
    }
    for url in &add.notify {
        notify.push(Notify { secret: secret.clone(), ..Notify::new(NotifyKind::Webhook, url) });
    }
    if let Some(path) = &add.notify_file {
        notify.extend(receivers(path)?);
    }
    Ok(RepositoryRequest {
        url: add.url.clone(),
        provider: add.provider,
        webhook_secret: add.secret_file.as_deref().map(input::read_value).transpose()?,
        status_token: add.status_token_file.as_deref().map(input::read_value).transpose()?,
        api_url: add.api_url.clone(),
        default_branch: add.default_branch.clone(),
        approval: add.approval.map(|approval| match approval {
            ApprovalArg::None => ApprovalPolicy::None,
            ApprovalArg::Forks => ApprovalPolicy::Forks,
            ApprovalArg::All => ApprovalPolicy::All,
        }),
        notify: (add.no_notify || !notify.is_empty()).then_some(notify),
        credential: credential::change(add)?,
        allow_push: add.credential.allow_push(),
        comment_authors: add
            .comment_authors
            .as_ref()
            .map(|names| names.iter().filter(|name| !name.is_empty()).cloned().collect()),
        allow_trigger_from: add
            .allow_trigger_from
            .as_ref()
            .map(|names| names.iter().filter(|name| !name.is_empty()).cloned().collect()),
        public: add.access.is_public(),
        app: credential::app_change(&add.app)?,
        notes: add.notes.has_notes(),
    })
}
