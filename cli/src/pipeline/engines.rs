//! Checks before a run on this machine whether its jobs may have the Docker engines that they ask for as services.

use super::file::PipelineFile;
use crate::{
    failure::{Failure, Outcome},
    settings::Settings,
};
use tidemill_core::{
    execution::assignment::Origin,
    pipeline::{When, locate_in_job},
    plan::Plan,
    text::diagnostics::{Diagnostic, Severity, render_human},
};

/// Returns the error of the first job that asks for a Docker engine which this machine does not allow, at its place in the file, so
/// that nothing starts. A job that waits for an approval fails only if it gets one.
pub fn check(settings: &Settings, file: &PipelineFile, plan: &Plan, repository: &str) -> Outcome {
    if plan.jobs.iter().all(|job| job.surroundings.services.is_empty()) {
        return Ok(());
    }
    let permissions = settings.own_worker_file()?.permissions;
    let origin = Origin { repository: repository.to_owned(), is_fork: false };
    let denied = plan.jobs.iter().filter(|job| job.when != When::Manual).find_map(|job| {
        let reason = permissions.denied_engine(&job.surroundings.services, &origin)?;
        Some((job, reason))
    });
    let Some((job, reason)) = denied else { return Ok(()) };
    let text = file.own_text.as_deref().unwrap_or_default();
    let diagnostic = Diagnostic {
        severity: Severity::Error,
        code: "not-allowed".to_owned(),
        message: format!("job `{}`: {}", job.name, reason.message),
        path: format!("jobs.{}.services", job.base_name),
        location: locate_in_job(text, &job.base_name, "services"),
        file: None,
        help: Some(
            "`build` in a native file builds images without that; a server may have workers that allow it"
                .to_owned(),
        ),
        related: Vec::new(),
    };
    let colour = crate::output::stderr_has_colours();
    let rendered = render_human(&file.name, text, &[diagnostic], colour);
    Err(Failure::usage(rendered.trim_end().to_owned()))
}
