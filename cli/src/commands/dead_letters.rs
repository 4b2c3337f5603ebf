//! DeadLettersCommand: the operator's view of jobs that ended for reasons not their own, and the way back.

use crate::{
    args::DeadLetters,
    deployment::Deployment,
    failure::{Failure, Outcome},
    settings::Settings,
};
use std::{collections::BTreeSet, io::Write};
use tidemill_core::{
    api::{DeadLetterList, DeadLetterView, DismissReply, ExecuteReply, RetryRequest, path},
    ids::ExecutionId,
};

/// `tidemill dead-letters`.
pub async fn dead_letters(settings: &Settings, args: &DeadLetters) -> Outcome {
    let deployment = Deployment::connect(settings).await?;
    if args.retry && deployment.is_own() {
        return Err(Failure::usage(
            "--retry is for a server, whose workers run the jobs; here, run `tidemill retry --execution ID` for each execution",
        ));
    }
    let found = all(&deployment, &args.executions).await?;
    if args.retry {
        retry(&deployment, &found).await?;
    } else if args.dismiss {
        dismiss(&deployment, &found).await?;
    } else if args.json {
        let mut out = anstream::stdout();
        serde_json::to_writer_pretty(&mut out, &found).map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else {
        show(&found)?;
    }
    deployment.close().await;
    Ok(())
}

/// All of them, or those of `executions` if any are named, the newest first.
async fn all(deployment: &Deployment, executions: &[ExecutionId]) -> Outcome<Vec<DeadLetterView>> {
    let mut found = Vec::new();
    let mut cursor = String::new();
    loop {
        let page: DeadLetterList =
            deployment.get(&format!("{}?limit=200{cursor}", path::DEAD_LETTERS)).await?;
        let wanted =
            |letter: &DeadLetterView| executions.is_empty() || executions.contains(&letter.execution.id);
        found.extend(page.dead_letters.into_iter().filter(wanted));
        match page.next_cursor {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(found),
        }
    }
}

fn show(found: &[DeadLetterView]) -> std::io::Result<()> {
    let mut out = anstream::stdout();
    if found.is_empty() {
        writeln!(out, "there are no dead letters")?;
    }
    for DeadLetterView { job, execution } in found {
        let ended = job.end_time.map(|at| at.to_string()).unwrap_or_default();
        writeln!(
            out,
            "{}  {} #{}  {}  {} tries  {ended}",
            execution.id, execution.pipeline_name, execution.run_number, job.job_name, job.attempt
        )?;
        let earlier = job.attempts.iter().map(|attempt| (attempt.attempt, attempt.failure.as_ref()));
        for (attempt, failure) in earlier.chain([(job.attempt, job.failure_reason.as_ref())]) {
            let words = failure.map_or("no reason is recorded", |reason| reason.message.as_str());
            writeln!(out, "  try {attempt}: {words}")?;
        }
    }
    out.flush()
}

async fn retry(deployment: &Deployment, found: &[DeadLetterView]) -> Outcome {
    let executions: BTreeSet<ExecutionId> = found.iter().map(|letter| letter.execution.id).collect();
    for old in executions {
        let path = path::RETRY.replace("{executionId}", &old.to_string());
        let made: ExecuteReply = deployment.begin(&path, &RetryRequest::default(), true).await?;
        anstream::println!(
            "{} #{} retries {old} as {}",
            made.pipeline_name,
            made.run_number,
            made.execution_id
        );
    }
    Ok(())
}

async fn dismiss(deployment: &Deployment, found: &[DeadLetterView]) -> Outcome {
    for letter in found {
        let path = path::DISMISS.replace("{jobId}", &letter.job.id.to_string());
        let reply: DismissReply = deployment.post(&path, &()).await?;
        if reply.dismissed {
            anstream::println!("dismissed {} of {}", letter.job.job_name, letter.execution.id);
        }
    }
    Ok(())
}
