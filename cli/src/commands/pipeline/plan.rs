//! `plan`: shows the jobs that would run, in order.

use crate::{
    args::PlanArgs,
    execution::repository,
    failure::{Failure, Outcome},
    output::{self, Printable},
    pipeline::{
        elsewhere::Elsewhere,
        external,
        file::{self, FileContext, FileFormat},
        git_facts,
    },
    settings::Settings,
    view::format::duration,
};
use std::{io::Write, path::Path};
use tidemill_core::execution::facts::{ExternalVariables, Facts, Trigger};
use tidemill_core::{
    condition,
    pipeline::{Triggers, When, set_inputs},
    plan::{
        ExcludedJob, Plan, PlannedJob,
        trigger::{NotTriggered, check_triggers, event_inputs},
    },
};

/// `tidemill plan`. With the settings of a server, the plan has what it sets for the repository.
pub fn plan(args: &PlanArgs, server: Option<&Settings>) -> Outcome {
    let here = Path::new(".");
    let tree = git_facts::WorkingTree::read(here);
    let mut external = match server {
        Some(settings) => {
            let refs = tree.facts(git_facts::RequiredFacts::default());
            let refs = git_facts::override_with(&args.facts, here, refs)?;
            external::of_server(settings, &repository::address(None)?, refs.is_protected())?
        }
        None => ExternalVariables::default(),
    };
    let variables = file::variables(&args.variables)?;
    external::add_given(&mut external, &variables);
    let event = if file::is_gitlab(&args.file) {
        let facts = tree.facts(git_facts::RequiredFacts::ALL);
        let facts = git_facts::override_with(&args.facts, here, facts)?;
        Some(Box::new(Facts { repo: repository::address(None).unwrap_or_default(), ..facts }))
    } else {
        None
    };
    let context = FileContext {
        external: external.clone(),
        inputs: file::inputs(&args.variables)?,
        elsewhere: Elsewhere::new(&args.include, None),
        event,
        is_for_event: false,
    };
    let file = file::load(&args.file, true, &context)?;
    let of_tree = tree.facts(git_facts::RequiredFacts::of(&file.pipeline));
    let facts = git_facts::override_with(&args.facts, here, of_tree)?;
    let repo = repository::address(None).unwrap_or_default();
    let mut facts = Facts { repo, variables, jobs: args.selection.selection(), ..facts };
    facts.add_external(external);
    let inputs = if facts.comment.is_some() {
        event_inputs(&file.pipeline.on, &facts).map_err(|why| {
            Failure::usage(format!("--comment does not start {}: {}", file.name, Printable(why.to_string())))
        })?
    } else {
        file.input_values(facts.trigger == Trigger::Manual)?
    };
    set_inputs(&mut facts, inputs);
    let is_native = FileFormat::of(Path::new(&file.name), args.file.gitlab, true) == FileFormat::Native;
    check_event(&file.pipeline.on, is_native, &facts, &file.name)?;
    tree.compare(&file.pipeline, &args.facts.changed, &mut facts);
    let plan = Plan::for_facts(&file.pipeline, &facts).map_err(|error| Failure::of_plan(&error, "plan"))?;
    let mut out = output::stdout();
    if args.format.is_json() {
        return Ok(output::print_json(&plan)?);
    }
    let name_width = plan.jobs.iter().map(|job| job.name.chars().count()).max().unwrap_or(0);
    writeln!(out, "{}: {} job(s)", Printable(&plan.pipeline_name), plan.jobs.len())?;
    for stage in &plan.stages {
        writeln!(out, " {}", Printable(stage))?;
        for job in plan.jobs.iter().filter(|job| job.stage == *stage) {
            let condition = match job.when {
                When::OnSuccess => "",
                When::OnFailure => ", on failure",
                When::Always => ", always",
                When::Manual => ", when approved",
            };
            let child = job.surroundings.child.as_ref();
            let image = child
                .map_or_else(|| job.image.clone(), |child| format!("starts {}", child.names().join(", ")));
            let delay = job.start_in_s.filter(|seconds| *seconds > 0);
            let delay =
                delay.map(|seconds| format!(", {} later", duration(seconds * 1000))).unwrap_or_default();
            let (name, image) = (Printable(&job.name), Printable(&image));
            writeln!(
                out,
                "  {name:name_width$}  {image}  {}{condition}{delay}",
                Printable(dependencies(&plan, job))
            )?;
            if let Some(condition) = &job.condition {
                let text = Printable(condition.describe());
                writeln!(out, "  {:name_width$}  decided when due: {text}", "")?;
            }
        }
    }
    print_excluded(&mut out, &plan.left_out, &facts)
}

/// Checks that `on` names the event. A file without `on` is planned for each; schedules of a GitLab file are not in it.
fn check_event(on: &Triggers, is_native: bool, facts: &Facts, name: &str) -> Outcome {
    if *on == Triggers::default() || (!is_native && facts.trigger == Trigger::Schedule) {
        return Ok(());
    }
    match check_triggers(on, facts) {
        Err(why @ NotTriggered::NoTrigger(_)) => Err(Failure::usage(format!(
            "this event does not start {}: {}",
            Printable(name),
            Printable(why.to_string())
        ))),
        _ => Ok(()),
    }
}

/// Prints the jobs that conditions exclude, with the facts.
fn print_excluded(out: &mut impl Write, jobs: &[ExcludedJob], facts: &Facts) -> Outcome {
    if jobs.is_empty() {
        return Ok(());
    }
    let name_width = jobs.iter().map(|excluded| excluded.job.chars().count()).max().unwrap_or(0);
    writeln!(out, "left out: {} job(s) ({})", jobs.len(), Printable(describe(facts)))?;
    for ExcludedJob { job, why } in jobs {
        writeln!(out, "  {:name_width$}  {}", Printable(job), Printable(why))?;
    }
    Ok(())
}

fn describe(facts: &Facts) -> String {
    let mut parts = vec![format!("event {}", condition::event(facts))];
    parts.extend(facts.branch.as_ref().map(|branch| format!("branch {branch}")));
    parts.extend(facts.tag.as_ref().map(|tag| format!("tag {tag}")));
    parts.push(match &facts.default_branch {
        Some(branch) => format!("default branch {branch}"),
        None => "default branch unknown".to_owned(),
    });
    parts.extend(facts.changed.as_ref().map(|changed| match changed.as_slice() {
        [one] => format!("{one} changed"),
        many => format!("{} files changed", many.len()),
    }));
    parts.join(", ")
}

fn dependencies(plan: &Plan, job: &PlannedJob) -> String {
    match job.after_stages {
        None if job.needs.is_empty() => "immediately".to_owned(),
        None => format!("after {}", job.needs.join(", ")),
        Some(0) => "immediately".to_owned(),
        Some(stages) => {
            let earlier: Vec<&str> = plan.stages.iter().take(stages as usize).map(String::as_str).collect();
            format!("after stage(s) {}", earlier.join(", "))
        }
    }
}
