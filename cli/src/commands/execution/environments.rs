//! `environments`: lists environments with their deployments, stops them, and rolls them back.

use super::protections;
use super::retry::{StartedExecution, retry, watch_started};
use crate::{
    args::{
        ConnectionArgs, DebugArgs, Environments, EnvironmentsAction, FormatArgs, JobArgs, Retry,
        SelectorArgs, SlotArgs, ViewArgs, ViewFormat,
    },
    deployment::{Deployment, query_encoded},
    execution::repository,
    failure::{Failure, Outcome},
    interrupts::Interrupts,
    output::{self, Printable},
    settings::Settings,
    view::format,
    workers,
};
use std::io::Write;
use tidemill_core::access::protection::{ProtectEnvironmentRequest, UnprotectEnvironmentRequest};
use tidemill_core::api::{
    Deployment as DeploymentView, EnvironmentList, EnvironmentState, EnvironmentView, StopEnvironmentReply,
    StopEnvironmentRequest, path,
};
use tidemill_core::{execution::status::JobStatus, pipeline::EnvironmentAction, text::choices::listed};

/// Maximum number of environments that a list shows.
const MAX_LISTED: usize = 10_000;

/// `tidemill environments`.
pub async fn environments(settings: &Settings, args: &Environments) -> Outcome {
    match &args.action {
        None => list(settings, None, FormatArgs::default()).await,
        Some(EnvironmentsAction::List { repo, format }) => {
            list(settings, repo.repo.as_deref(), *format).await
        }
        Some(EnvironmentsAction::Show { name, repo, format }) => {
            let deployment = Deployment::connect(settings).await?;
            let given = repo.repo.as_deref();
            let environment = find(&deployment, (&repository::address(given)?, given), name).await?;
            let rollback = deployment.hints().environments("rollback", Some(name), given);
            deployment.close().await;
            if format.is_json() {
                output::print_json(&environment)?;
            } else {
                show(&environment, &rollback)?;
            }
            Ok(())
        }
        Some(EnvironmentsAction::Stop { name, repo, slots, view }) => {
            Box::pin(stop(settings, (repo.repo.as_deref(), name), slots, *view)).await
        }
        Some(EnvironmentsAction::Rollback { name, deployment, repo, slots, view, consent }) => {
            let given = repo.repo.as_deref();
            let repo = repository::address(given)?;
            let server = Deployment::connect(settings).await?;
            let environment = find(&server, (&repo, given), name).await?;
            server.close().await;
            let target = rollback_target(&environment, deployment.as_deref())?;
            let selectors = SelectorArgs { repo: Some(repo), ..SelectorArgs::default() };
            let args = Retry {
                job: JobArgs {
                    execution: Some(target.execution_id.to_string()),
                    job: Some(target.job_name.clone()),
                    selectors,
                },
                all: false,
                alone: true,
                approve: Vec::new(),
                debug: DebugArgs::default(),
                slots: slots.clone(),
                view: *view,
                consent: *consent,
                connection: ConnectionArgs::default(),
            };
            Box::pin(retry(settings, &args)).await
        }
        Some(EnvironmentsAction::Protect { name, approvals, by, exclude_starter, repo, format }) => {
            let request = ProtectEnvironmentRequest {
                repo: repository::address(repo.repo.as_deref())?,
                environment: name.clone(),
                approvals: *approvals,
                by: by.clone(),
                exclude_starter: *exclude_starter,
            };
            protections::protect(settings, &request, format.is_json()).await
        }
        Some(EnvironmentsAction::Unprotect { name, repo, format }) => {
            let repo = repository::address(repo.repo.as_deref())?;
            let request = UnprotectEnvironmentRequest { repo, environment: name.clone() };
            protections::unprotect(settings, &request, format.is_json()).await
        }
        Some(EnvironmentsAction::Protections { repo, format }) => {
            let repo = repository::address(repo.repo.as_deref())?;
            protections::list(settings, &repo, format.is_json()).await
        }
    }
}

async fn list(settings: &Settings, repo: Option<&str>, format: FormatArgs) -> Outcome {
    let repo = repository::address(repo)?;
    let deployment = Deployment::connect(settings).await?;
    let mut all = Vec::new();
    let mut cursor = String::new();
    let next_cursor = loop {
        let path = format!("{}?repo={}&limit=200{cursor}", path::ENVIRONMENTS, query_encoded(&repo));
        let page: EnvironmentList = deployment.get(&path).await?;
        all.extend(page.environments);
        match page.next_cursor {
            Some(next) if all.len() < MAX_LISTED => cursor = format!("&cursor={}", query_encoded(&next)),
            next => break next,
        }
    };
    deployment.close().await;
    if format.is_json() {
        output::print_json(&EnvironmentList { environments: all, next_cursor })?;
        return Ok(());
    }
    if all.is_empty() {
        output::outln!("no environments; a job with `environment` creates one");
    }
    let mut out = output::stdout();
    for environment in &all {
        writeln!(out, "{}", list_line(environment))?;
    }
    if next_cursor.is_some() {
        output::errln!("only the first {} environments are listed", all.len());
    }
    Ok(())
}

/// Returns an environment of the repository `repo`, which is `given` or that of the current directory.
async fn find(
    deployment: &Deployment,
    (repo, given): (&str, Option<&str>),
    name: &str,
) -> Outcome<EnvironmentView> {
    let path = format!("{}?repo={}&name={}", path::ENVIRONMENTS, query_encoded(repo), query_encoded(name));
    let found: EnvironmentList = deployment.get(&path).await?;
    found.environments.into_iter().next().ok_or_else(|| {
        Failure::usage(format!(
            "{} has no environment `{}`; those that it has: {}",
            Printable(repo),
            Printable(name),
            deployment.hints().environments("list", None, given)
        ))
    })
}

async fn stop(
    settings: &Settings,
    (given, name): (Option<&str>, &str),
    slots: &SlotArgs,
    view: ViewArgs,
) -> Outcome {
    let repo = repository::address(given)?;
    let deployment = Deployment::connect(settings).await?;
    let request = StopEnvironmentRequest {
        repo: repo.clone(),
        name: name.to_owned(),
        requested_by: settings.requested_by.clone(),
    };
    let mut worker = None;
    if deployment.is_embedded() {
        let environment = find(&deployment, (&repo, given), name).await?;
        let deployed = environment.current.as_ref().or(environment.newest.as_ref());
        // Without other workers, the job must run in this process.
        if environment.state == EnvironmentState::Available
            && deployed.is_some_and(|one| one.on_stop.is_some())
        {
            let number = workers::slots(slots.jobs);
            worker = Some(workers::open(settings, number, &slots.labels.values, None).await?);
        }
    }
    let mut interrupts = Interrupts::listen()?;
    let stopping = deployment.post(path::STOP_ENVIRONMENT, &request);
    let reply: StopEnvironmentReply = match interrupts.during_start(stopping).await {
        Ok(reply) => reply,
        Err(failure) => {
            workers::close(worker).await;
            return Err(failure);
        }
    };
    if let (Some(execution), true) = (&reply.execution, worker.is_some()) {
        let job = reply.job_name.as_deref().unwrap_or_default();
        let note = format!(
            "environment `{}`: job `{}` stops it, as #{} ({})",
            Printable(name),
            Printable(job),
            execution.run_number,
            execution.execution_id
        );
        let started =
            StartedExecution { deployment, worker, interrupts, id: execution.execution_id, held: None };
        return Box::pin(watch_started(settings, started, view, &note)).await;
    }
    workers::close(worker).await;
    deployment.close().await;
    if view.format == ViewFormat::Json {
        output::print_json(&reply)?;
    } else if !view.quiet {
        output::outln!("environment `{}`: {}", Printable(name), stop_text(&reply));
    }
    Ok(())
}

fn stop_text(reply: &StopEnvironmentReply) -> String {
    match (&reply.execution, &reply.job_name) {
        (Some(execution), Some(job)) => {
            let verb = if reply.changed { "stops it" } else { "is stopping it" };
            format!(
                "job `{}` {verb}, in #{} ({})",
                Printable(job),
                execution.run_number,
                execution.execution_id
            )
        }
        _ if reply.changed => "stopped; no job had to run".to_owned(),
        _ => "already stopped".to_owned(),
    }
}

/// Returns the deployment to run again: the one that `text` names, or the last successful one before the newest.
fn rollback_target<'a>(environment: &'a EnvironmentView, text: Option<&str>) -> Outcome<&'a DeploymentView> {
    let name = Printable(&environment.name);
    let Some(text) = text else {
        return environment.rollback_target().ok_or_else(|| {
            Failure::usage(format!(
                "environment `{name}` has no earlier successful deployment; nothing was changed"
            ))
        });
    };
    let number = text.trim_start_matches('#').parse::<u64>().ok();
    let is_named = |one: &&DeploymentView| {
        one.action == EnvironmentAction::Start
            && (number == Some(one.run_number)
                || (text.len() >= 4
                    && (one.execution_id.to_string().starts_with(text)
                        || one.job_id.to_string().starts_with(text))))
    };
    let found: Vec<&DeploymentView> = environment.deployments.iter().filter(is_named).collect();
    match found.as_slice() {
        [only] => Ok(only),
        [] => Err(Failure::usage(format!(
            "environment `{name}` has no deployment {}; `tidemill environments show` lists those that it has",
            Printable(text)
        ))),
        _ => {
            let ids: Vec<String> = found.iter().map(|one| one.job_id.to_string()).collect();
            let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
            Err(Failure::usage(format!(
                "several deployments match {}; name a job: {}",
                Printable(text),
                listed(&ids)
            )))
        }
    }
}

/// Describes what a deployment is of, and who made it when.
fn deployment_text(one: &DeploymentView) -> String {
    let commit: String = one.commit.as_deref().unwrap_or("-").chars().take(7).collect();
    let dirty = if one.uncommitted { "+dirty" } else { "" };
    let branch = one.tag.as_deref().or(one.branch.as_deref()).unwrap_or("-");
    let by = one.requested_by.as_deref().map(|by| format!("  by {}", Printable(by))).unwrap_or_default();
    format!(
        "{} #{}  {} {}{dirty}  {}{by}",
        Printable(&one.pipeline_name),
        one.run_number,
        Printable(branch),
        Printable(&commit),
        one.end_time.unwrap_or(one.start_time),
    )
}

fn status_word(one: &DeploymentView) -> &'static str {
    let is_stop = one.action == EnvironmentAction::Stop;
    match one.status {
        JobStatus::Success if is_stop => "stopped",
        JobStatus::Success => "deployed",
        JobStatus::Failed if is_stop => "stop failed",
        JobStatus::Failed => "failed",
        JobStatus::Canceled | JobStatus::Skipped => "canceled",
        JobStatus::Pending | JobStatus::Queued | JobStatus::Running if is_stop => "stopping",
        JobStatus::Pending | JobStatus::Queued | JobStatus::Running => "deploying",
    }
}

fn state_word(environment: &EnvironmentView) -> &'static str {
    match environment.state {
        EnvironmentState::Available => "available",
        EnvironmentState::Stopped => "stopped",
    }
}

/// Formats an environment as one line of a list.
fn list_line(environment: &EnvironmentView) -> String {
    let current = environment.current.as_ref();
    let deployed = current.map_or_else(|| "nothing deployed".to_owned(), deployment_text);
    let newest = environment.newest.as_ref().filter(|newest| {
        current.is_none_or(|current| current.job_id != newest.job_id) && status_word(newest) != "stopped"
    });
    let newest =
        newest.map(|one| format!("  (#{} {})", one.run_number, status_word(one))).unwrap_or_default();
    let url = current.and_then(|one| one.url.as_deref());
    let url = url.map(|url| format!("  {}", Printable(url))).unwrap_or_default();
    format!("{}  {}  {deployed}{newest}{url}", Printable(&environment.name), state_word(environment))
}

/// Prints an environment; `rollback` is the command that rolls it back.
fn show(environment: &EnvironmentView, rollback: &str) -> std::io::Result<()> {
    let mut out = output::stdout();
    let tier = environment.tier.map(|tier| format!(", {}", tier.name())).unwrap_or_default();
    writeln!(
        out,
        "{} of {}: {}{tier}",
        Printable(&environment.name),
        Printable(&environment.repo),
        state_word(environment)
    )?;
    if let Some(url) = environment.current.as_ref().and_then(|one| one.url.as_deref()) {
        writeln!(out, "{}", Printable(url))?;
    }
    if let Some(at) = environment.auto_stop_at {
        writeln!(out, "stops at {at}")?;
    }
    if let Some(why) = &environment.stop_failure {
        writeln!(out, "cannot stop by itself: {}", Printable(why))?;
    }
    let current = environment.current.as_ref().map(|one| one.job_id);
    for one in &environment.deployments {
        let mark = if current == Some(one.job_id) { "*" } else { " " };
        let (sign, style) = format::symbol(one.status, false);
        writeln!(
            out,
            "{mark} {style}{sign}{style:#} {}: {}  {}  {}",
            status_word(one),
            deployment_text(one),
            Printable(&one.job_name),
            one.execution_id
        )?;
    }
    if let Some(target) = environment.rollback_target() {
        writeln!(out, "to roll back to #{}: {rollback}", target.run_number)?;
    }
    out.flush()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{list_line, rollback_target};
    use serde_json::json;
    use tidemill_core::api::EnvironmentView;

    fn environment() -> EnvironmentView {
        let deployment = |number: u64, status: &str| {
            json!({
                "job_id": format!("01980000-0000-8000-8000-00000000000{number}"), "job_name": "deploy",
                "execution_id": format!("0198000{number}-0000-7000-8000-000000000000"), "pipeline_name": "ci",
                "run_number": number, "action": "start", "status": status, "attempt": 1, "branch": "main",
                "commit": "0123456789abcdef", "trigger": "push", "requested_by": "ann",
                "start_time": "2026-01-02T03:04:05Z", "url": "https://live.example.org"
            })
        };
        let all = [deployment(3, "FAILED"), deployment(2, "SUCCESS"), deployment(1, "SUCCESS")];
        serde_json::from_value(json!({
            "repo": "r", "name": "live", "state": "available", "current": all[1], "newest": all[0], "deployments": all
        }))
        .unwrap()
    }

    #[test]
    fn list_shows_what_is_deployed_and_what_is_newer() {
        assert_eq!(
            list_line(&environment()),
            "live  available  ci #2  main 0123456  2026-01-02T03:04:05.000Z  by ann  (#3 failed)  https://live.example.org"
        );
    }

    #[test]
    fn roll_back_finds_a_deployment_by_number_or_id() {
        let environment = environment();
        let number = |text: Option<&str>| rollback_target(&environment, text).map(|one| one.run_number).ok();
        assert_eq!(number(None), Some(2));
        assert_eq!(number(Some("#1")), Some(1));
        assert_eq!(number(Some("3")), Some(3));
        assert_eq!(number(Some("01980001")), Some(1));
        assert_eq!(number(Some("01980000-0000-8000-8000-000000000001")), Some(1));
        assert_eq!(number(Some("7")), None);
        assert_eq!(number(Some("0198")), None, "several match");
    }
}
