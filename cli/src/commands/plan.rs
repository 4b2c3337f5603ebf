//! `plan`: what would run, in order.

use crate::{
    args::PlanArgs,
    facts,
    failure::{Failure, Outcome},
    file,
    output::{self, Printable},
};
use std::{io::Write, path::Path};
use tidemill_core::{
    condition,
    facts::Facts,
    pipeline::RunWhen,
    plan::{LeftOut, Plan, PlannedJob},
};

/// `tidemill plan`.
pub fn plan(args: &PlanArgs) -> Outcome {
    let file = file::load(&args.file, true)?;
    let wanted = facts::Wanted::of(&file.pipeline, &file.text);
    let known = facts::given(&args.facts, facts::of_working_tree(Path::new("."), wanted));
    let known = Facts { variables: file::variables(&args.variables)?, ..known };
    let plan = Plan::of(&file.pipeline, &known).map_err(|error| Failure::usage(error.to_string()))?;
    let mut out = output::stdout();
    if args.json {
        return Ok(output::print_json(&plan)?);
    }
    let longest = plan.jobs.iter().map(|job| job.name.chars().count()).max().unwrap_or(0);
    writeln!(out, "{}: {} job(s)", Printable(&plan.pipeline_name), plan.jobs.len())?;
    for stage in &plan.stages {
        writeln!(out, " {}", Printable(stage))?;
        for job in plan.jobs.iter().filter(|job| job.stage == *stage) {
            let how = match job.when {
                RunWhen::OnSuccess => "",
                RunWhen::OnFailure => ", if something failed",
                RunWhen::Always => ", however that ended",
                RunWhen::Manual => ", once a person says so",
            };
            let (name, image) = (Printable(&job.name), Printable(&job.image));
            writeln!(out, "  {name:longest$}  {image}  {}{how}", Printable(waits(&plan, job)))?;
        }
    }
    left_out(&mut out, &plan.left_out, &known)
}

/// The jobs that conditions left out, and what the conditions looked at.
fn left_out(out: &mut impl Write, jobs: &[LeftOut], known: &Facts) -> Outcome {
    if jobs.is_empty() {
        return Ok(());
    }
    let longest = jobs.iter().map(|left| left.job.chars().count()).max().unwrap_or(0);
    writeln!(out, "left out: {} job(s) ({})", jobs.len(), Printable(circumstances(known)))?;
    for LeftOut { job, why } in jobs {
        writeln!(out, "  {:longest$}  {}", Printable(job), Printable(why))?;
    }
    Ok(())
}

fn circumstances(known: &Facts) -> String {
    let mut parts = vec![format!("event {}", condition::event(known))];
    parts.extend(known.branch.as_ref().map(|branch| format!("branch {branch}")));
    parts.extend(known.tag.as_ref().map(|tag| format!("tag {tag}")));
    parts.push(match &known.default_branch {
        Some(branch) => format!("default branch {branch}"),
        None => "default branch not known".to_owned(),
    });
    parts.extend(known.changed.as_ref().map(|changed| match changed.as_slice() {
        [one] => format!("{one} changed"),
        many => format!("{} files changed", many.len()),
    }));
    parts.join(", ")
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
