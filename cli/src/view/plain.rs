//! A view that prints one line per change, for pipes and log files.

use super::{display::View, format};
use crate::output::{self, Printable, SanitizedStream, printable_lines};
use std::{
    collections::HashMap,
    io::{Stdout, Write},
};
use tidemill_core::execution::status::JobStatus;
use tidemill_core::{api::ExecutionView, ids::JobId};

/// A view that prints lines to standard output.
pub struct PlainView {
    out: SanitizedStream<Stdout>,
    shown: HashMap<JobId, (JobStatus, u32)>,
}

impl PlainView {
    /// Creates a view that has shown nothing yet.
    pub fn new() -> Self {
        Self { out: output::stdout(), shown: HashMap::new() }
    }
}

impl View for PlainView {
    fn show(&mut self, view: &ExecutionView) -> std::io::Result<()> {
        for job in &view.jobs {
            let state = (job.status, job.attempt);
            let before = self.shown.insert(job.id, state);
            // Waiting jobs are not shown.
            if before == Some(state) || matches!(job.status, JobStatus::Pending | JobStatus::Queued) {
                continue;
            }
            let (sign, style) = format::status_symbol(job);
            let run_time = format::run_time(job, format::now()).filter(|_| job.status != JobStatus::Running);
            let after = run_time.map(|run_time| format!(" after {run_time}")).unwrap_or_default();
            let text = if job.status == JobStatus::Running {
                "started".to_owned()
            } else {
                format::status_text(job)
            };
            writeln!(self.out, "{style}{sign}{style:#} {}: {text}{after}", Printable(&job.job_name))?;
        }
        self.out.flush()
    }

    fn tick(&mut self) -> std::io::Result<()> {
        Ok(())
    }

    fn finish(&mut self, view: &ExecutionView) -> std::io::Result<()> {
        self.show(view)?;
        let (verdict, style) = format::summary_line(view);
        writeln!(self.out, "{style}{verdict}{style:#}")?;
        self.out.flush()
    }

    fn note(&mut self, message: &str) -> std::io::Result<()> {
        writeln!(self.out, "{}", printable_lines(message))?;
        self.out.flush()
    }
}
