//! Checks `needs`: each names another job, not of a later stage, and no jobs wait for each other.

use std::collections::HashMap;

use super::cycles;
use crate::pipeline::checks::context::{FindingSink, KnownJob, job_label};
use crate::pipeline::checks::matrix::{self, MAX_KEYS, MAX_VARIANTS};
use crate::pipeline::finding::{Finding, FindingLocation, Path, PathPart, quoted};
use crate::pipeline::model::is_match;
use crate::pipeline::model::{Cell, Matrix};
use crate::pipeline::raw::needs::{NeedList, RawJobNeed};
use crate::pipeline::raw::records::RawJob;

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
    let mut variants_of = VariantsOf::default();
    for (at, job) in known.iter().enumerate() {
        let Some(raw_job) = job.raw else { continue };
        for (list, needs, is_own) in lists(raw_job, &job.path) {
            let mut seen: HashMap<&str, usize> = HashMap::new();
            for (position, raw) in needs.0.iter().enumerate() {
                let need = &raw.need;
                let path = || need_path(&list, raw.index, raw.long);
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
                            FindingLocation::Path(need_path(&list, first, false), PathPart::Value),
                        ),
                    );
                    continue;
                }
                let Some(target) = by_name.get(need.job.as_str()).copied() else {
                    let names =
                        known.iter().filter_map(|job| job.name).filter(|name| Some(*name) != job.name);
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
                // Rules apply to some executions only: the plan of one shows whether its jobs wait for each other.
                if is_own {
                    edges[at].push(target);
                }
                if !need.cells.is_empty() {
                    check_cells(raw, &list, variants_of.get(target, known), findings);
                }
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
                        .related(
                            "needed job",
                            FindingLocation::Path(known[target].path.clone(), PathPart::Key),
                        ),
                    );
                }
            }
        }
    }
    for cycle in cycles::find(&edges) {
        report_cycle(&cycle, known, findings);
    }
}

/// The index of the closest earlier need with the same job. `seen` maps jobs to indexes for lists too long to search.
fn earlier_need<'n>(
    needs: &'n [RawJobNeed],
    position: usize,
    seen: &mut HashMap<&'n str, usize>,
) -> Option<usize> {
    const MAX_SEARCHED: usize = 16;
    let raw = needs.get(position)?;
    // Several needs may each name some variants of a job.
    if !raw.need.cells.is_empty() {
        return None;
    }
    if needs.len() > MAX_SEARCHED {
        return seen.insert(&raw.need.job, raw.index);
    }
    let is_same = |earlier: &&RawJobNeed| earlier.need.job == raw.need.job && earlier.need.cells.is_empty();
    let earlier = needs.iter().take(position).rev().find(is_same);
    earlier.map(|earlier| earlier.index)
}

/// The combinations of a job's matrix, and its keys.
pub(super) struct Variants {
    cells: Vec<Cell>,
    keys: Vec<String>,
}

/// The variants of jobs, computed once for each.
#[derive(Default)]
pub(super) struct VariantsOf(HashMap<usize, Option<Variants>>);

impl VariantsOf {
    /// Returns those of the job at an index; `None` if they are not known.
    pub(super) fn get(&mut self, at: usize, known: &[KnownJob<'_>]) -> Option<&Variants> {
        self.0.entry(at).or_insert_with(|| variants(known.get(at)?.raw)).as_ref()
    }
}

fn variants(raw: Option<&RawJob>) -> Option<Variants> {
    let raw = raw?;
    let matrix = match raw.matrix.get() {
        Some(raw) => matrix::model(raw),
        None if raw.matrix.is_absent() => match raw.parallel.get() {
            Some(count) => Matrix::of(
                [("CI_NODE_INDEX".to_owned(), (1..=count.0).map(|n| n.to_string()).collect())].into(),
            ),
            None => Matrix::default(),
        },
        None => return None,
    };
    let keys: Vec<String> = matrix.keys().map(str::to_owned).collect();
    let is_small = matrix.max_count() <= MAX_VARIANTS && keys.len() <= MAX_KEYS;
    is_small.then(|| Variants { cells: matrix.cells(MAX_VARIANTS), keys })
}

/// Checks that the variants that `raw` names exist; `path` is that of its list.
pub(super) fn check_cells(
    raw: &RawJobNeed,
    path: &Path,
    variants: Option<&Variants>,
    findings: &mut FindingSink,
) {
    let (Some(Variants { cells, keys }), name) = (variants, quoted(&raw.need.job)) else { return };
    let path = path.index(raw.index).key("matrix");
    for (at, filter) in raw.need.cells.iter().enumerate() {
        if cells.iter().any(|cell| is_match(filter, cell)) {
            continue;
        }
        let unknown = filter.keys().find(|key| !keys.contains(key));
        let (message, help) = match unknown {
            _ if keys.is_empty() => (format!("the job {name} has no `matrix`"), None),
            Some(key) => (
                format!("the matrix of {name} has no key {}", quoted(key)),
                findings.suggestions.did_you_mean(key, keys.iter().map(String::as_str)),
            ),
            None => (format!("no variant of {name} has these values"), None),
        };
        findings.push(Finding::value("unknown-need", &path.index(at), message).maybe_help(help));
    }
}

/// Returns the needs of a job and of its rules, each with its path, and whether they are the job's own.
fn lists<'a>(raw: &'a RawJob, path: &Path) -> Vec<(Path, &'a NeedList, bool)> {
    let own = raw.needs.get().map(|needs| (path.key("needs"), needs, true));
    let rules = raw.rules.get().map_or(&[][..], |rules| rules.0.as_slice());
    let of_rules = rules.iter().filter_map(|(index, rule)| {
        Some((path.key("rules").index(*index).key("needs"), rule.needs.get()?, false))
    });
    own.into_iter().chain(of_rules).collect()
}

fn need_path(list: &Path, index: usize, long: bool) -> Path {
    let path = list.index(index);
    if long { path.key("job") } else { path }
}

fn report_cycle(cycle: &[usize], known: &[KnownJob<'_>], findings: &mut FindingSink) {
    const MAX_RELATED: usize = 8;
    let name = |at: usize| known[at].name.unwrap_or_default();
    let mut names: Vec<&str> = cycle.iter().map(|at| name(*at)).collect();
    names.push(name(cycle[0]));
    let need_path_of = |from: usize, to: usize| {
        let needs = known[from].raw.and_then(|raw| raw.needs.get());
        let need = needs.and_then(|needs| needs.0.iter().find(|raw| raw.need.job == name(to)));
        need.map_or_else(
            || known[from].path.clone(),
            |need| need_path(&known[from].path.key("needs"), need.index, need.long),
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
