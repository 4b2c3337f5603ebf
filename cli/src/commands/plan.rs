//! `plan`: what would run, in order.

use crate::{
    args::PlanArgs,
    failure::{Failure, Outcome},
    file,
};
use std::io::Write;
use tidemill_core::plan::{Plan, PlannedJob};

/// `tidemill plan`.
pub fn plan(args: &PlanArgs) -> Outcome {
    let file = file::load(&args.file)?;
    let plan = Plan::new(&file.pipeline, &file::variables(&args.variables)?)
        .map_err(|error| Failure::usage(error.to_string()))?;
    let mut out = anstream::stdout();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &plan).map_err(std::io::Error::from)?;
        writeln!(out)?;
        return Ok(());
    }
    let longest = plan.jobs.iter().map(|job| job.name.chars().count()).max().unwrap_or(0);
    writeln!(out, "{}: {} job(s)", plan.pipeline_name, plan.jobs.len())?;
    for stage in &plan.stages {
        writeln!(out, " {stage}")?;
        for job in plan.jobs.iter().filter(|job| job.stage == *stage) {
            writeln!(out, "  {:longest$}  {}  {}", job.name, job.image, waits(&plan, job))?;
        }
    }
    Ok(())
}

fn waits(plan: &Plan, job: &PlannedJob) -> String {
    match job.after_stages {
        None if job.needs.is_empty() => "at once".to_owned(),
        None => format!("after {}", job.needs.join(", ")),
        Some(0) => "at once".to_owned(),
        Some(stages) => {
            let earlier: Vec<&str> = plan.stages.iter().take(stages as usize).map(String::as_str).collect();
            format!("after stage(s) {}", earlier.join(", "))
        }
    }
}
