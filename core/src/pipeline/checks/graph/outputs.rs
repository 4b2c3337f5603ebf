//! Checks conditions on outputs: each output is one of a job that the condition's job waits for.

use std::collections::HashMap;

use crate::condition::OutputReference;
use crate::execution::outputs::IMAGE_OUTPUTS;
use crate::pipeline::checks::context::{FindingSink, KnownJob, job_label};
use crate::pipeline::finding::{Finding, FindingLocation, Path, PathPart, quoted};
use crate::pipeline::model::{Job, RuleOutcome, When};
use crate::pipeline::raw::job_parts::RawRule;
use crate::pipeline::raw::records::RawJob;
use crate::pipeline::raw::scalars::Text;

/// A job that conditions may refer to.
struct Provider<'a> {
    path: &'a Path,
    job: &'a Job,
    stage: Option<usize>,
}

/// Checks the conditions of all jobs. `jobs` are those of `known` that are mappings.
pub(crate) fn check(
    known: &[KnownJob<'_>],
    jobs: &[Job],
    stage_of: &[Option<usize>],
    findings: &mut FindingSink,
) {
    let places = known.iter().zip(stage_of).filter_map(|(of, stage)| Some((of, of.raw?, *stage)));
    let placed: Vec<_> = places.zip(jobs).collect();
    let mut providers: HashMap<&str, Provider<'_>> = HashMap::with_capacity(placed.len());
    for &((of, _, stage), job) in &placed {
        providers.entry(&job.name).or_insert(Provider { path: &of.path, job, stage });
    }
    for &((of, raw, stage), job) in &placed {
        let mut decides_when_due = false;
        for (rule, condition, path) in conditions(raw, &of.path) {
            let references = condition.map(|text| findings.outputs_in(&text.0)).unwrap_or_default();
            decides_when_due |= !references.is_empty();
            if let Some(rule) = rule.filter(|_| decides_when_due) {
                check_changes(rule, &path, findings);
            }
            let at = if rule.is_some() { path.key("if") } else { path };
            for reference in references {
                let provider = providers.get(reference.job.as_str());
                let fault = fault(job, (stage, &job_label(of)), provider, &reference);
                let Some((code, message, help)) = fault else { continue };
                let spot = FindingLocation::TextRange(at.clone(), reference.start, reference.length);
                let names = providers.keys().copied().filter(|name| *name != job.name);
                let help = help.or_else(|| findings.suggestions.did_you_mean(&reference.job, names));
                let mut finding = Finding::error(code, spot, message).maybe_help(help);
                if let Some(provider) = provider {
                    let place = FindingLocation::Path(provider.path.clone(), PathPart::Key);
                    finding = finding.related("the job", place);
                }
                findings.push(finding);
            }
        }
    }
}

/// Returns the conditions of a job with their rules and the paths of those.
fn conditions<'a>(raw: &'a RawJob, path: &Path) -> Vec<(Option<&'a RawRule>, Option<&'a Text>, Path)> {
    let own = raw.condition.get().map(|text| (None, Some(text), path.key("if")));
    let rules = raw.rules.get().map_or(&[][..], |rules| rules.0.as_slice());
    let at = |index: usize| path.key("rules").index(index);
    let of_rules = rules.iter().map(|(index, rule)| (Some(rule), rule.condition.get(), at(*index)));
    own.into_iter().chain(of_rules).collect()
}

/// From the first condition on outputs on, rules only decide whether the job runs: how is known before any job runs.
fn check_changes(rule: &RawRule, path: &Path, findings: &mut FindingSink) {
    let runs_otherwise = rule.when.get().is_some_and(|when| when.0 != RuleOutcome::Never);
    let keys = [
        ("when", runs_otherwise),
        ("start_in", !rule.start_in.is_absent()),
        ("allow_failure", !rule.allow_failure.is_absent()),
        ("variables", !rule.variables.is_absent()),
        ("needs", !rule.needs.is_absent()),
        ("dependencies", !rule.dependencies.is_absent()),
    ];
    for (key, _) in keys.into_iter().filter(|(_, is_set)| *is_set) {
        let message = format!("`{key}` cannot depend on outputs: they decide only whether the job runs");
        findings.push(
            Finding::key("due-rule-changes-job", &path.key(key), message)
                .help("write it at the job, or move this rule before the first one that refers to outputs"),
        );
    }
}

type Fault = (&'static str, String, Option<String>);

/// Returns the error of a reference in a condition of `job`, with its code and help.
fn fault(
    job: &Job,
    (stage, label): (Option<usize>, &str),
    provider: Option<&Provider<'_>>,
    reference: &OutputReference,
) -> Option<Fault> {
    let name = quoted(&reference.job);
    let Some(Provider { job: other, stage: their_stage, .. }) = provider else {
        return Some(("unknown-job", format!("there is no job {name} whose output could decide"), None));
    };
    let not_awaited = |help: String| {
        let message = format!("{label} does not wait for {name}, whose output its condition refers to");
        Some(("output-not-awaited", message, Some(help)))
    };
    match &job.needs {
        Some(needs) if !needs.iter().any(|need| need.job == other.name) => {
            return not_awaited(format!("add {name} to its `needs`"));
        }
        None if other.when == When::Manual && other.allow_failure => {
            return not_awaited(format!(
                "name {name} under `needs`: later stages do not wait for its approval"
            ));
        }
        // An invalid stage is reported elsewhere.
        None => {
            if let (Some(own), Some(theirs)) = (stage, *their_stage)
                && theirs >= own
            {
                return not_awaited(format!("name {name} under `needs`"));
            }
        }
        Some(_) => {}
    }
    let options = &other.surroundings;
    if !options.provides_outputs() {
        let help = "let its script write `NAME=value` to a file, and name the file under its `outputs`";
        return Some(("no-outputs", format!("the job {name} declares no `outputs`"), Some(help.to_owned())));
    }
    let is_declared = !options.outputs.is_empty() || IMAGE_OUTPUTS.contains(&reference.output.as_str());
    (!is_declared).then(|| {
        let message = format!("the job {name} has no output {}", quoted(&reference.output));
        let help = format!("a job that builds an image has the outputs {}", IMAGE_OUTPUTS.join(" and "));
        ("no-outputs", message, Some(help))
    })
}
