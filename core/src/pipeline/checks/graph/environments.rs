//! Checks `on_stop`: it names a job that stops the same environment.

use std::collections::HashMap;

use crate::pipeline::checks::context::{FindingSink, KnownJob};
use crate::pipeline::finding::{Finding, FindingLocation, PathPart, quoted};
use crate::pipeline::model::EnvironmentAction;
use crate::pipeline::raw::alternatives::Either;
use crate::pipeline::raw::job_parts::RawEnvironment;
use crate::pipeline::raw::records::RawJob;

/// Checks `on_stop`.
pub(crate) fn check(known: &[KnownJob<'_>], findings: &mut FindingSink) {
    let mut by_name: HashMap<&str, usize> = HashMap::new();
    for (at, job) in known.iter().enumerate() {
        let Some(Either::Long(environment)) = job.raw.and_then(|raw| raw.environment.get()) else { continue };
        let Some(on_stop) = environment.on_stop.get() else { continue };
        // With another action it has no meaning, which is reported elsewhere.
        if environment.action.get().is_some_and(|action| action.0 != EnvironmentAction::Start) {
            continue;
        }
        if by_name.is_empty() {
            by_name = known.iter().enumerate().filter_map(|(at, job)| Some((job.name?, at))).collect();
        }
        let path = job.path.key("environment").key("on_stop");
        let Some(stop) = by_name.get(on_stop.0.as_str()).copied().filter(|stop| *stop != at) else {
            let names = known.iter().filter_map(|job| job.name).filter(|name| Some(*name) != job.name);
            let help = findings.suggestions.did_you_mean(&on_stop.0, names);
            let message = format!("there is no other job {} to stop the environment", quoted(&on_stop.0));
            findings.push(Finding::value("unknown-job", &path, message).maybe_help(help));
            continue;
        };
        // An invalid job is reported elsewhere.
        let Some(raw) = known[stop].raw else { continue };
        let name = environment.name.get().map(|name| name.0.as_str());
        let problem = match stopped_environment(raw) {
            None => format!("{} has no `environment` with `action: stop`", quoted(&on_stop.0)),
            Some(stopped) if Some(stopped) != name => {
                format!("{} stops another environment, {}", quoted(&on_stop.0), quoted(stopped))
            }
            Some(_) => continue,
        };
        let name =
            name.map_or_else(|| "the same name".to_owned(), |name| format!("the name {}", quoted(name)));
        let help = format!("give its `environment` {name} and `action: stop`");
        findings.push(
            Finding::value("wrong-stop-job", &path, problem)
                .help(help)
                .related("the job", FindingLocation::Path(known[stop].path.clone(), PathPart::Key)),
        );
    }
}

/// Returns the environment that a job stops.
fn stopped_environment(job: &RawJob) -> Option<&str> {
    let Some(Either::Long(RawEnvironment { name, action, .. })) = job.environment.get() else { return None };
    action.get().filter(|action| action.0 == EnvironmentAction::Stop)?;
    name.get().map(|name| name.0.as_str())
}
