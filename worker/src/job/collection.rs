//! Third phase: saves caches, reports, the summary and artifacts after the script.

mod outputs;
mod summary;

use super::{
    attempt::{Attempt, LeaseLost},
    caches,
    running_script::Sandbox,
    script_run::{FinishedScript, has_evidence},
};
use crate::{
    artifact::{ArtifactLabels, ArtifactTransfer, Selection},
    policy::missing_engine,
    test_reports::{self, findings},
};
use std::{path::Path, time::Duration};
use tidemill_core::api::AttemptEnd;
use tidemill_core::execution::{
    assignment::{Artifacts, ArtifactsWhen, Assignment},
    failure::FailureKind,
};
use tidemill_core::text::substitution::substitute;

/// How long the reporter may take for the container's last output.
const MAX_DRAIN_TIME: Duration = Duration::from_secs(60);

/// Saves caches, test reports and artifacts. Returns the end, which is a failure if artifacts could not be stored.
pub async fn collect<S: Sandbox>(
    artifacts: &ArtifactTransfer,
    attempt: &mut Attempt,
    script: &mut FinishedScript<S>,
    mut end: AttemptEnd,
) -> Result<AttemptEnd, LeaseLost> {
    let Attempt { assignment, reporter, signals, .. } = attempt;
    let (workspace, environment) = (script.sandbox.workspace(), &script.environment);
    if has_evidence(&end) {
        let (succeeded, exit_code) = (end.failure.is_none(), end.exit_code.unwrap_or_default());
        let output = &mut script.output;
        let saving = async {
            // Nothing of the job runs any more, so no more output can arrive.
            let drained = tokio::time::timeout(MAX_DRAIN_TIME, output).await;
            let pipe = drained.ok().and_then(Result::ok);
            let found = pipe.map(|pipe| pipe.finish(exit_code)).unwrap_or_default();
            let mut annotations = found.annotations;
            let failure = match &environment.services {
                Some(services) => services.check_after_script(!succeeded, reporter).await,
                None => None,
            };
            let succeeded = succeeded && failure.is_none();
            caches::save(artifacts, workspace, assignment, &environment.caches, succeeded, reporter).await;
            let tests = (found.coverage, !succeeded);
            test_reports::send(artifacts, workspace, assignment, reporter, tests, &mut annotations).await;
            findings::read(artifacts, workspace, assignment, reporter, &mut annotations).await;
            summary::send(artifacts, assignment, reporter, &found.summary, annotations).await;
            failure
        };
        tokio::select! {
            failure = saving => end.failure = end.failure.take().or(failure),
            lost = signals.lease_lost() => return Err(lost),
        }
    }
    if has_evidence(&end) {
        let files = &assignment.extras.outputs;
        let collected = tokio::select! {
            // Those about the image that the job built are there already.
            collected = outputs::collect(artifacts, workspace, files, &end.outputs, reporter) => collected,
            lost = signals.lease_lost() => return Err(lost),
        };
        match collected {
            Ok(outputs) => end.outputs = outputs,
            Err(reason) => {
                reporter.log(format!("{}\n", reason.message).as_bytes()).await;
                end.failure.get_or_insert(reason);
            }
        }
    }
    if let Some(declared) = assignment.artifacts.as_ref().filter(|declared| applies(declared, &end)) {
        reporter.phase("collecting artifacts");
        let lease = (assignment.preparation.job_id, assignment.lease.token);
        let (selection, labels) = selected(declared, assignment, script.sandbox.sources());
        let collected = tokio::select! {
            collected = artifacts.collect(workspace, &selection, &labels, lease, reporter.mask()) => collected,
            lost = signals.lease_lost() => return Err(lost),
        };
        match collected {
            Ok(warnings) => reporter.log(warnings.as_bytes()).await,
            Err(reason) => {
                reporter.log(format!("{}\n", reason.message).as_bytes()).await;
                end.failure.get_or_insert(reason);
            }
        }
    }
    if end.failure.as_ref().is_some_and(|reason| reason.kind == FailureKind::ScriptFailed)
        // A plain process may use an engine of its machine.
        && let Some(engine) = &artifacts.engine
        && let Some(note) = missing_engine(assignment, &engine.settings.mounts)
    {
        reporter.log_line(&note).await;
    }
    if let (Some(services), Some(_)) = (&environment.services, &end.failure) {
        services.log_output(reporter).await;
    }
    Ok(end)
}

/// Returns what `declared` selects, and its name and title with the values of the job's variables.
fn selected(
    declared: &Artifacts,
    assignment: &Assignment,
    sources: Option<&Path>,
) -> (Selection, ArtifactLabels) {
    let expand = |text: &String| {
        substitute(text, |name| Some(assignment.variables.get(name).map_or("", String::as_str)))
    };
    let selection = Selection {
        paths: declared.paths.clone(),
        exclude: declared.exclude.clone(),
        untracked: declared.untracked,
        sources: sources.map(Path::to_owned),
    };
    let labels = ArtifactLabels {
        name: declared.name.as_ref().map(expand),
        expose_as: declared.expose_as.as_ref().map(expand),
        expire_in_s: declared.expire_in_s,
    };
    (selection, labels)
}

/// Whether `declared` artifacts are collected after this end.
fn applies(declared: &Artifacts, end: &AttemptEnd) -> bool {
    let (has_ended, succeeded) = (has_evidence(end), end.failure.is_none());
    declared.stores_files()
        && match declared.when {
            ArtifactsWhen::OnSuccess => succeeded,
            ArtifactsWhen::OnFailure => has_ended && !succeeded,
            ArtifactsWhen::Always => has_ended,
        }
}
