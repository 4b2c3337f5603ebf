//! Restricts the jobs of an execution to those that a user asked for, with what they need.

use super::{
    error::{ExcludedJob, PlanError},
    selection::{SelectedVariant, Selection, change_jobs, needs_of},
};
use crate::execution::facts::JobSelection;
use crate::pipeline::{Job, Pipeline, When};
use crate::text::choices::suggestion;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

/// Removes the jobs that are neither requested nor needed by one that is.
pub(super) fn restrict<'a>(
    selection: Selection<'a>,
    requested: &JobSelection,
) -> Result<Selection<'a>, PlanError> {
    if requested.is_all() {
        return Ok(selection);
    }
    let Selection { pipeline, variants, mut excluded, paths } = selection;
    let graph = JobGraph::new(&pipeline, &variants);
    let mut kept = vec![true; pipeline.jobs.len()];
    if !requested.only.is_empty() {
        kept = graph.with_needs(graph.find(&requested.only, &kept, &excluded)?);
    }
    if !requested.from.is_empty() {
        let first = graph.find(&requested.from, &kept, &excluded)?;
        kept = graph.with_needs(graph.with_dependents(first, &kept));
    }
    let mut jobs = Vec::new();
    let mut kept_variants = Vec::new();
    let without: HashSet<&str> = requested.without.iter().map(String::as_str).collect();
    for ((job, mut variants), is_kept) in pipeline.jobs.iter().zip(variants).zip(kept) {
        let is_left_out = |selected: &SelectedVariant| {
            without.contains(job.name.as_str())
                || selected.variant.name(job).is_some_and(|name| without.contains(name.as_str()))
        };
        if !without.is_empty() {
            variants.retain(|selected| !is_left_out(selected));
        }
        if is_kept && !variants.is_empty() {
            jobs.push(job.clone());
            kept_variants.push(variants);
        } else {
            excluded.push(ExcludedJob { job: job.name.clone(), why: "not requested".to_owned() });
        }
    }
    if !without.is_empty() {
        forget_missing(&mut jobs, &mut kept_variants, &pipeline.jobs)?;
    }
    let has_jobs = |stage: &&String| jobs.iter().any(|job| job.stage == **stage);
    let stages = pipeline.stages.iter().filter(has_jobs).cloned().collect();
    let pipeline = Pipeline { stages, jobs, ..pipeline.into_owned() };
    Ok(Selection { pipeline: Cow::Owned(pipeline), variants: kept_variants, excluded, paths })
}

/// Removes the needs and dependencies of `jobs` for which only jobs of `all` are left that do not take part.
fn forget_missing(
    jobs: &mut [Job],
    variants: &mut [Vec<SelectedVariant>],
    all: &[Job],
) -> Result<(), PlanError> {
    let known: HashSet<&str> = all.iter().map(|job| job.name.as_str()).collect();
    change_jobs(jobs, variants, |job, takes_part| {
        for needs in [&mut job.needs, &mut job.dependencies].into_iter().flatten() {
            // A name that is not that of a job is reported later.
            needs.retain(|need| takes_part(need) || !known.contains(need.job.as_str()));
        }
        Ok(())
    })
}

/// The jobs of a pipeline and what they wait for. Jobs are positions in the file.
struct JobGraph<'a> {
    jobs: &'a [Job],
    variants: &'a [Vec<SelectedVariant>],
    by_name: HashMap<&'a str, usize>,
    stage_of: HashMap<&'a str, usize>,
}

impl<'a> JobGraph<'a> {
    fn new(pipeline: &'a Pipeline, variants: &'a [Vec<SelectedVariant>]) -> Self {
        Self {
            jobs: &pipeline.jobs,
            variants,
            by_name: pipeline.jobs.iter().enumerate().map(|(ix, job)| (job.name.as_str(), ix)).collect(),
            stage_of: pipeline.stages.iter().enumerate().map(|(ix, name)| (name.as_str(), ix)).collect(),
        }
    }

    /// Returns the stage of a job. The position of an undeclared stage does not matter: the plan rejects it.
    fn stage(&self, ix: usize) -> usize {
        self.stage_of.get(self.jobs[ix].stage.as_str()).copied().unwrap_or(0)
    }

    /// Returns the jobs that a job needs.
    fn needs(&self, ix: usize) -> Vec<usize> {
        let lists = needs_of(&self.jobs[ix], &self.variants[ix]);
        let needs = lists.into_iter().flatten().flatten();
        needs.filter_map(|need| self.by_name.get(need.job.as_str()).copied()).collect()
    }

    /// Whether a job waits for earlier stages.
    fn waits_for_stages(&self, ix: usize) -> bool {
        needs_of(&self.jobs[ix], &self.variants[ix]).contains(&None)
    }

    /// Returns whether jobs of later stages wait for a job.
    fn is_awaited(&self, ix: usize) -> bool {
        let is_optional = |job: &Job| job.when == When::Manual && job.allow_failure;
        let own = |selected: &SelectedVariant| is_optional(selected.job.as_deref().unwrap_or(&self.jobs[ix]));
        !self.variants[ix].iter().all(own)
    }

    /// Marks the jobs of these names. Fails if one of them is not among `of`.
    fn find(&self, names: &[String], of: &[bool], excluded: &[ExcludedJob]) -> Result<Vec<bool>, PlanError> {
        let mut marked = vec![false; self.jobs.len()];
        for name in names {
            let ix = self.by_name.get(name.as_str()).copied().or_else(|| self.job_of_variant(name));
            match ix.filter(|ix| of[*ix]) {
                Some(ix) => marked[ix] = true,
                None => return Err(self.not_found(name, of, excluded)),
            }
        }
        Ok(marked)
    }

    /// Returns the job that has a variant of this name.
    fn job_of_variant(&self, name: &str) -> Option<usize> {
        let jobs = self.jobs.iter().zip(self.variants);
        jobs.enumerate()
            .filter(|(_, (job, variants))| variants.len() > 1 || !job.matrix.is_empty())
            .find(|(_, (job, variants))| {
                variants.iter().any(|selected| selected.variant.name(job).is_some_and(|own| own == name))
            })
            .map(|(ix, _)| ix)
    }

    fn not_found(&self, name: &str, of: &[bool], excluded: &[ExcludedJob]) -> PlanError {
        if let Some(ExcludedJob { job, why }) = excluded.iter().find(|excluded| excluded.job == name) {
            return PlanError::Excluded { job: job.clone(), why: why.clone() };
        }
        let known = self.jobs.iter().zip(of).filter(|(_, is_member)| **is_member);
        let jobs: Vec<&str> = known.map(|(job, _)| job.name.as_str()).collect();
        PlanError::UnknownJob { job: name.to_owned(), suggestion: suggestion(name, &jobs, "jobs") }
    }

    /// Adds the jobs that marked ones wait for, directly or indirectly.
    fn with_needs(&self, mut marked: Vec<bool>) -> Vec<bool> {
        let mut pending: Vec<usize> = (0..marked.len()).filter(|ix| marked[*ix]).collect();
        // Jobs of stages before this one are marked.
        let mut before = 0;
        while let Some(ix) = pending.pop() {
            let mut mark = |need: usize| {
                if !marked[need] {
                    marked[need] = true;
                    pending.push(need);
                }
            };
            self.needs(ix).into_iter().for_each(&mut mark);
            if self.stage(ix) > before && self.waits_for_stages(ix) {
                before = self.stage(ix);
                (0..self.jobs.len())
                    .filter(|need| self.stage(*need) < before && self.is_awaited(*need))
                    .for_each(mark);
            }
        }
        marked
    }

    /// Adds the members of `of` that wait for marked jobs, directly or indirectly.
    fn with_dependents(&self, mut marked: Vec<bool>, of: &[bool]) -> Vec<bool> {
        let mut needed_by: Vec<Vec<usize>> = vec![Vec::new(); self.jobs.len()];
        for ix in 0..self.jobs.len() {
            for need in self.needs(ix) {
                needed_by[need].push(ix);
            }
        }
        let mut pending: Vec<usize> = (0..marked.len()).filter(|ix| marked[*ix]).collect();
        // Jobs without needs of stages after this one are marked.
        let mut after = usize::MAX;
        while let Some(ix) = pending.pop() {
            let mut mark = |dependent: usize| {
                if of[dependent] && !marked[dependent] {
                    marked[dependent] = true;
                    pending.push(dependent);
                }
            };
            needed_by[ix].iter().for_each(|dependent| mark(*dependent));
            if self.is_awaited(ix) && self.stage(ix) < after {
                after = self.stage(ix);
                (0..self.jobs.len())
                    .filter(|dependent| self.stage(*dependent) > after && self.waits_for_stages(*dependent))
                    .for_each(mark);
            }
        }
        marked
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::execution::facts::{Facts, JobSelection};
    use crate::pipeline::{Job, parse};
    use crate::plan::{Plan, PlanError};

    const FILE: &str = "
name: ci
stages: [build, test, deploy]
defaults: { image: i }
jobs:
  compile: { stage: build, script: [x] }
  docs: { stage: build, script: [x] }
  unit: { stage: test, needs: [compile], script: [x], matrix: { os: [a, b] } }
  lint: { stage: test, needs: [], script: [x] }
  try: { stage: test, script: [x], when: manual, allow_failure: true }
  nightly: { stage: test, if: 'event == \"schedule\"', script: [x] }
  deploy: { stage: deploy, script: [x] }
  page: { stage: deploy, needs: [docs], script: [x] }
";

    fn plan(only: &[&str], from: &[&str]) -> Result<Plan, PlanError> {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let jobs = JobSelection { only: names(only), from: names(from), without: Vec::new() };
        Plan::for_facts(&parse(FILE).unwrap(), &Facts { jobs, ..Facts::default() })
    }

    fn planned(only: &[&str], from: &[&str]) -> String {
        let mut names: Vec<String> = Vec::new();
        for job in plan(only, from).unwrap().jobs {
            names.push(job.base_name);
        }
        names.sort();
        names.dedup();
        names.join(" ")
    }

    #[test]
    fn requested_jobs_run_with_what_they_need() {
        assert_eq!(planned(&["compile"], &[]), "compile");
        assert_eq!(planned(&["unit"], &[]), "compile unit");
        assert_eq!(planned(&["unit [os=a]"], &[]), "compile unit");
        assert_eq!(planned(&["lint"], &[]), "lint");
        assert_eq!(planned(&["lint", "page"], &[]), "docs lint page");
        assert_eq!(planned(&["deploy"], &[]), "compile deploy docs lint unit");
        assert_eq!(planned(&["try"], &[]), "compile docs try");
    }

    #[test]
    fn job_with_the_name_of_a_variant_is_an_error() {
        let plan = |name: &str| {
            let text = format!("{FILE}  '{name}': {{ stage: test, script: [x] }}\n");
            let only = vec!["unit".to_owned()];
            let jobs = JobSelection { only, ..JobSelection::default() };
            let plan = Plan::for_facts(&parse(&text).unwrap(), &Facts { jobs, ..Facts::default() }).unwrap();
            plan.jobs.into_iter().map(|job| job.name).collect::<Vec<_>>()
        };
        assert_eq!(plan("unit [os=c]"), ["compile", "unit [os=a]", "unit [os=b]"]);
        let same = "unit [os=a]";
        let errors = parse(&format!("{FILE}  '{same}': {{ stage: test, script: [x] }}\n")).unwrap_err();
        assert_eq!(errors[0].message, "with all matrix variants two jobs have the name `unit [os=a]`");
        let mut unchecked = parse(FILE).unwrap();
        unchecked.jobs.push(Job { name: same.to_owned(), ..unchecked.jobs[0].clone() });
        let planned = Plan::for_facts(&unchecked, &Facts::default());
        assert_eq!(planned.unwrap_err(), PlanError::SameName(same.to_owned()));
    }

    #[test]
    fn jobs_from_one_on_run_with_what_they_need() {
        assert_eq!(planned(&[], &["page"]), "docs page");
        assert_eq!(planned(&[], &["unit"]), "compile deploy docs lint unit");
        assert_eq!(planned(&[], &["docs"]), "compile deploy docs lint page try unit");
        assert_eq!(planned(&["page"], &["docs"]), "docs page");
        let plan = plan(&[], &["docs"]).unwrap();
        let again = plan.with_dependents(&["docs".to_owned()]);
        assert!(again.contains("deploy") && again.contains("page") && again.contains("try"), "{again:?}");
        assert!(!again.contains("compile") && !again.contains("unit [os=a]"), "{again:?}");
    }

    #[test]
    fn jobs_run_without_those_that_are_left_out() {
        let planned = |only: &[&str], without: &[&str]| {
            let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
            let jobs = JobSelection { only: names(only), from: Vec::new(), without: names(without) };
            let plan = Plan::for_facts(&parse(FILE).unwrap(), &Facts { jobs, ..Facts::default() }).unwrap();
            let jobs = plan.jobs.iter().map(|job| format!("{}({})", job.name, job.needs.join(",")));
            jobs.collect::<Vec<_>>().join(" ")
        };
        assert_eq!(planned(&["unit"], &["compile"]), "unit [os=a]() unit [os=b]()");
        assert_eq!(planned(&["unit"], &["unit [os=b]"]), "compile() unit [os=a](compile)");
        assert_eq!(planned(&["deploy"], &["compile", "docs", "lint", "unit"]), "deploy()");
        assert_eq!(
            planned(&["deploy"], &["docs", "lint", "unit [os=a]"]),
            "compile() unit [os=b](compile) deploy()"
        );
    }

    #[test]
    fn unknown_and_excluded_jobs_are_errors() {
        let unknown = plan(&["nobody"], &[]).unwrap_err().to_string();
        assert!(unknown.contains("no job `nobody`; its jobs are `compile`, `docs`"), "{unknown}");
        let typo = plan(&["complie"], &[]).unwrap_err().to_string();
        assert!(typo.ends_with("no job `complie`; did you mean `compile`?"), "{typo}");
        let excluded = plan(&[], &["nightly"]).unwrap_err().to_string();
        assert!(
            excluded.contains("`nightly` is excluded") && excluded.contains("does not hold"),
            "{excluded}"
        );
        assert!(plan(&["page"], &["unit"]).is_err());
        let left_out = plan(&["lint"], &[]).unwrap().left_out;
        assert!(
            left_out.iter().any(|left| left.job == "deploy" && left.why == "not requested"),
            "{left_out:?}"
        );
    }
}
