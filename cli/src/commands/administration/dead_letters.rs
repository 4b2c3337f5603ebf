//! `dead-letters`: lists, retries and dismisses jobs that failed because of infrastructure errors.

use crate::{
    args::{ConsentArgs, DeadLetters, ExecutionArgs, FormatArgs, SelectorArgs},
    deployment::{Deployment, query_encoded},
    execution::{
        repository::TargetRepository,
        select::{Purpose, select, with_expected_repo},
    },
    failure::{Failure, Outcome},
    output::{self, Printable},
    settings::Settings,
    view::format::title,
};
use serde_json::json;
use std::{collections::BTreeMap, io::Write};
use tidemill_core::{
    api::{DeadLetterList, DeadLetterView, DismissReply, ExecuteReply, ExecutionSummary, RetryRequest, path},
    ids::ExecutionId,
};

/// `tidemill dead-letters`.
pub async fn dead_letters(settings: &Settings, args: &DeadLetters) -> Outcome {
    let deployment = Deployment::connect(settings).await?;
    if args.retry && deployment.is_embedded() {
        return Err(Failure::usage(
            "--retry needs a server with workers; on this machine, run `tidemill retry ID` for each execution",
        ));
    }
    let target = TargetRepository::resolve(args.repo.as_deref())?;
    let is_named = !args.executions.is_empty();
    if let (TargetRepository::None(directory), false, false) = (&target, is_named, args.all_repositories) {
        return Err(Failure::usage(format!(
            "{} is not in a repository: use --repo or --all-repositories",
            Printable(directory)
        )));
    }
    let executions = named(&deployment, args).await?;
    // The selection of named executions has checked their repositories.
    let repo = (!is_named && !args.all_repositories).then(|| target.address());
    let letters = all(&deployment, &executions, repo).await?;
    if args.retry {
        retry(settings, &deployment, &letters, args.format).await?;
    } else if args.dismiss {
        dismiss(&deployment, &letters, args.format).await?;
    } else if args.format.is_json() {
        output::print_json(&letters)?;
    } else {
        show(&letters)?;
    }
    deployment.close().await;
    Ok(())
}

/// Returns the executions that the arguments name. Those of other repositories require --all-repositories or consent for a change.
async fn named(deployment: &Deployment, args: &DeadLetters) -> Outcome<Vec<ExecutionId>> {
    let is_change = args.retry || args.dismiss;
    let purpose = if is_change { Purpose::Retry { successful_too: false } } else { Purpose::Read };
    let consent = ConsentArgs { yes: args.consent.yes || args.all_repositories };
    let mut executions = Vec::new();
    for name in &args.executions {
        let selectors = SelectorArgs { repo: args.repo.clone(), ..SelectorArgs::default() };
        let execution = ExecutionArgs { execution: Some(name.clone()), selectors };
        executions.push(select(deployment, &execution, purpose, consent).await?.id());
    }
    Ok(executions)
}

/// Returns the dead letters of `executions`, or all if it is empty, newest first.
async fn all(
    deployment: &Deployment,
    executions: &[ExecutionId],
    repo: Option<&str>,
) -> Outcome<Vec<DeadLetterView>> {
    let repo = repo.map(|repo| format!("&repo={}", query_encoded(repo))).unwrap_or_default();
    let mut letters = Vec::new();
    let mut cursor = String::new();
    loop {
        let page: DeadLetterList =
            deployment.get(&format!("{}?limit=200{repo}{cursor}", path::DEAD_LETTERS)).await?;
        let is_selected =
            |letter: &DeadLetterView| executions.is_empty() || executions.contains(&letter.execution.id);
        letters.extend(page.dead_letters.into_iter().filter(is_selected));
        match page.next_cursor {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(letters),
        }
    }
}

fn show(letters: &[DeadLetterView]) -> std::io::Result<()> {
    let mut out = output::stdout();
    if letters.is_empty() {
        writeln!(out, "no dead letters")?;
    }
    for DeadLetterView { job, execution } in letters {
        let ended = job.end_time.map(|at| at.to_string()).unwrap_or_default();
        writeln!(
            out,
            "{}  {}  {}  {} attempt(s)  {ended}",
            execution.id,
            title(execution),
            Printable(&job.job_name),
            job.attempt
        )?;
        let earlier = job.attempts.iter().map(|attempt| (attempt.attempt, attempt.failure.as_ref()));
        for (attempt, failure) in earlier.chain([(job.attempt, job.failure_reason.as_ref())]) {
            let message = failure.map_or("no reason recorded", |reason| reason.message.as_str());
            writeln!(out, "  attempt {attempt}: {}", Printable(message))?;
        }
    }
    out.flush()
}

async fn retry(
    settings: &Settings,
    deployment: &Deployment,
    letters: &[DeadLetterView],
    format: FormatArgs,
) -> Outcome {
    let mut retried = Vec::new();
    let executions: BTreeMap<ExecutionId, &ExecutionSummary> =
        letters.iter().map(|letter| (letter.execution.id, &letter.execution)).collect();
    for (id, execution) in executions {
        let path =
            with_expected_repo(&path::RETRY.replace("{executionId}", &id.to_string()), &execution.repo);
        let request = RetryRequest { requested_by: settings.requested_by.clone(), ..RetryRequest::default() };
        let reply: ExecuteReply = deployment.start(&path, &request, true).await?;
        if format.is_json() {
            retried.push(json!({ "execution": execution, "retried_as": reply }));
        } else {
            crate::output::outln!(
                "{}: retried as #{} ({})",
                title(execution),
                reply.run_number,
                reply.execution_id
            );
        }
    }
    if format.is_json() { Ok(output::print_json(&retried)?) } else { Ok(()) }
}

async fn dismiss(deployment: &Deployment, letters: &[DeadLetterView], format: FormatArgs) -> Outcome {
    let mut dismissed = Vec::new();
    for letter in letters {
        let path = path::DISMISS.replace("{jobId}", &letter.job.id.to_string());
        let path = with_expected_repo(&path, &letter.execution.repo);
        let reply: DismissReply = deployment.post(&path, &()).await?;
        if reply.dismissed && format.is_json() {
            dismissed.push(letter);
        } else if reply.dismissed {
            crate::output::outln!(
                "dismissed {} of {} ({})",
                Printable(&letter.job.job_name),
                title(&letter.execution),
                letter.execution.id
            );
        }
    }
    if format.is_json() { Ok(output::print_json(&dismissed)?) } else { Ok(()) }
}
