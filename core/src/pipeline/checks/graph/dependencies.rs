//! Checks `dependencies`: a job must wait for each job whose artifacts it downloads.

use std::collections::{HashMap, HashSet};

use super::needs::{VariantsOf, check_cells};
use crate::pipeline::checks::context::{FindingSink, KnownJob, job_label};
use crate::pipeline::finding::{Finding, FindingLocation, Path, PathPart, quoted};
use crate::pipeline::raw::needs::NeedList;
use crate::pipeline::raw::records::RawJob;

/// The `dependencies` of a job or of one of its rules.
struct DependencyList<'a> {
    path: Path,
    dependencies: &'a NeedList,
    /// The needs that apply with them.
    needs: Option<&'a NeedList>,
}

/// Returns those of a job and of its rules.
fn lists<'a>(raw: &'a RawJob, path: &Path) -> Vec<DependencyList<'a>> {
    let own = raw.needs.get();
    let list = |path: Path, dependencies, needs| DependencyList { path, dependencies, needs };
    let of_job = raw.dependencies.get().map(|all| list(path.key("dependencies"), all, own));
    let rules = raw.rules.get().map_or(&[][..], |rules| rules.0.as_slice());
    let of_rules = rules.iter().filter_map(|(index, rule)| {
        let path = path.key("rules").index(*index).key("dependencies");
        Some(list(path, rule.dependencies.get()?, rule.needs.get().or(own)))
    });
    of_job.into_iter().chain(of_rules).collect()
}

/// Checks `dependencies`.
pub(crate) fn check(known: &[KnownJob<'_>], stage_of: &[Option<usize>], findings: &mut FindingSink) {
    let mut by_name: HashMap<&str, usize> = HashMap::with_capacity(known.len());
    for (at, job) in known.iter().enumerate() {
        if let Some(name) = job.name {
            by_name.entry(name).or_insert(at);
        }
    }
    let mut variants_of = VariantsOf::default();
    for (at, job) in known.iter().enumerate() {
        let Some(raw) = job.raw else { continue };
        for DependencyList { path: list, dependencies, needs } in lists(raw, &job.path) {
            let needed: Option<HashSet<&str>> =
                needs.map(|needs| needs.0.iter().map(|raw| raw.need.job.as_str()).collect());
            let mut seen: HashMap<&str, usize> = HashMap::new();
            for dependency in &dependencies.0 {
                let path = list.index(dependency.index);
                let name = dependency.need.job.as_str();
                if dependency.need.optional {
                    let message = "`optional` belongs in `needs`: a missing job has no artifacts";
                    findings
                        .push(Finding::key("unknown-key", &path.key("optional"), message).help("remove it"));
                }
                let is_whole = dependency.need.cells.is_empty();
                if let Some(first) = is_whole.then(|| seen.insert(name, dependency.index)).flatten() {
                    let first = list.index(first);
                    findings.push(
                        Finding::value("duplicate-value", &path, format!("{} is named twice", quoted(name)))
                            .help("remove one of the two")
                            .related("first named here", FindingLocation::Path(first, PathPart::Value)),
                    );
                    continue;
                }
                let Some(target) = by_name.get(name).copied() else {
                    let names =
                        known.iter().filter_map(|job| job.name).filter(|name| Some(*name) != job.name);
                    let help = findings.suggestions.did_you_mean(name, names);
                    let message = format!("there is no job {} to download artifacts from", quoted(name));
                    findings.push(Finding::value("unknown-dependency", &path, message).maybe_help(help));
                    continue;
                };
                if !is_whole {
                    let variants = variants_of.get(target, known);
                    check_cells(dependency, &list, variants, findings);
                }
                let is_awaited = match &needed {
                    Some(needed) => needed.contains(name),
                    None => {
                        matches!((stage_of[at], stage_of[target]), (Some(own), Some(theirs)) if theirs < own)
                    }
                };
                // An invalid stage is reported elsewhere.
                let is_known = needed.is_some() || (stage_of[at].is_some() && stage_of[target].is_some());
                if is_known && !is_awaited {
                    let help = if needed.is_some() {
                        format!("add {} to its `needs`, or remove it here", quoted(name))
                    } else {
                        format!("name {} under `needs`, or remove it here", quoted(name))
                    };
                    let message = format!(
                        "{} does not wait for {}, whose artifacts it downloads",
                        job_label(job),
                        quoted(name)
                    );
                    findings.push(
                        Finding::value("dependency-not-awaited", &path, message).help(help).related(
                            "the job",
                            FindingLocation::Path(known[target].path.clone(), PathPart::Key),
                        ),
                    );
                }
            }
        }
    }
}
