//! Checks `needs`: each names another job, not of a later stage, and no jobs wait for each other.

use std::collections::HashMap;

use super::context::{FindingSink, KnownJob, job_label};
use super::cycles;
use crate::pipeline::finding::{Finding, FindingLocation, Path, PathPart, quoted};
use crate::pipeline::raw::needs::Need;

/// Checks the needs of all jobs.
pub(crate) fn needs(
    known: &[KnownJob<'_>],
    stage_of: &[Option<usize>],
    stages: &[&str],
    findings: &mut FindingSink,
) {
    let mut by_name: HashMap<&str, usize> = HashMap::with_capacity(known.len());
    for (at, job) in known.iter().enumerate() {
        if let Some(name) = job.name {
            by_name.entry(name).or_insert(at);
        }
    }
    let mut edges: Vec<Vec<usize>> = vec![Vec::new(); known.len()];
    for (at, job) in known.iter().enumerate() {
        let Some(needs) = job.raw.and_then(|raw| raw.needs.get()) else { continue };
        let mut seen: HashMap<&str, usize> = HashMap::new();
        for (position, need) in needs.0.iter().enumerate() {
            let path = || need_path(&job.path, need.index, need.long);
            if let Some(first) = earlier_need(&needs.0, position, &mut seen) {
                findings.push(
                    Finding::value(
                        "duplicate-need",
                        &path(),
                        format!("{} is needed twice", quoted(&need.job)),
                    )
                    .help("remove one of the two")
                    .related(
                        "first needed here",
                        FindingLocation::Path(need_path(&job.path, first, false), PathPart::Value),
                    ),
                );
                continue;
            }
            let Some(target) = by_name.get(need.job.as_str()).copied() else {
                let names = known.iter().filter_map(|job| job.name).filter(|name| Some(*name) != job.name);
                let help = match stages.iter().find(|stage| **stage == need.job) {
                    Some(_) => Some(format!(
                        "{} is a stage; `needs` takes jobs, and without `needs` a job waits for all earlier stages",
                        quoted(&need.job)
                    )),
                    None => findings.suggestions.did_you_mean(&need.job, names),
                };
                findings.push(
                    Finding::value(
                        "unknown-need",
                        &path(),
                        format!("there is no job {} to need", quoted(&need.job)),
                    )
                    .maybe_help(help),
                );
                continue;
            };
            if target == at {
                findings.push(
                    Finding::value("needs-itself", &path(), format!("{} needs itself", job_label(job)))
                        .help("remove it from its own `needs`"),
                );
                continue;
            }
            edges[at].push(target);
            if let (Some(own), Some(theirs)) = (stage_of[at], stage_of[target])
                && theirs > own
            {
                findings.push(
                    Finding::value(
                        "needs-later-stage",
                        &path(),
                        format!(
                            "{} of stage {} cannot need {} of the later stage {}",
                            job_label(job),
                            quoted(stages[own]),
                            quoted(&need.job),
                            quoted(stages[theirs])
                        ),
                    )
                    .help("move one of the two to another stage, or change the order of `stages`")
                    .related("needed job", FindingLocation::Path(known[target].path.clone(), PathPart::Key)),
                );
            }
        }
    }
    for cycle in cycles::find(&edges) {
        report_cycle(&cycle, known, findings);
    }
}

/// The index of the closest earlier need with the same job. `seen` maps jobs to indexes for lists too long to search.
fn earlier_need<'n>(needs: &'n [Need], position: usize, seen: &mut HashMap<&'n str, usize>) -> Option<usize> {
    const MAX_SEARCHED: usize = 16;
    let need = needs.get(position)?;
    if needs.len() > MAX_SEARCHED {
        return seen.insert(&need.job, need.index);
    }
    let earlier = needs.iter().take(position).rev().find(|earlier| earlier.job == need.job);
    earlier.map(|earlier| earlier.index)
}

fn need_path(job: &Path, index: usize, long: bool) -> Path {
    let path = job.key("needs").index(index);
    if long { path.key("job") } else { path }
}

fn report_cycle(cycle: &[usize], known: &[KnownJob<'_>], findings: &mut FindingSink) {
    const MAX_RELATED: usize = 8;
    let name = |at: usize| known[at].name.unwrap_or_default();
    let mut names: Vec<&str> = cycle.iter().map(|at| name(*at)).collect();
    names.push(name(cycle[0]));
    let need_path_of = |from: usize, to: usize| {
        let needs = known[from].raw.and_then(|raw| raw.needs.get());
        let need = needs.and_then(|needs| needs.0.iter().find(|need| need.job == name(to)));
        need.map_or_else(
            || known[from].path.clone(),
            |need| need_path(&known[from].path, need.index, need.long),
        )
    };
    let mut arrows = cycle.iter().copied().zip(cycle.iter().copied().cycle().skip(1));
    let message = format!("these jobs wait for each other: {}", names.join(" -> "));
    let Some((from, to)) = arrows.next() else { return };
    let mut finding = Finding::value("cycle", &need_path_of(from, to), message)
        .help("remove one of these needs; an arrow reads \"needs\"");
    for (from, to) in arrows.take(MAX_RELATED) {
        let message = format!("{} needs {}", name(from), name(to));
        finding = finding.related(message, FindingLocation::Path(need_path_of(from, to), PathPart::Value));
    }
    findings.push(finding);
}
