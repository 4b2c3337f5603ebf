//! The edges of a plan: which nodes wait for which.

use super::model::{Gate, NodeIx, Plan, index};
use super::selection::SelectedVariant;
use crate::condition::OpenCondition;
use crate::pipeline::{Job, Need, Pipeline};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// Finds the planned variants that a need includes.
struct VariantFinder<'a> {
    by_name: HashMap<&'a str, usize>,
    variants: &'a [Vec<SelectedVariant>],
    /// For each job, by its position in the file: the indices of its variants.
    variants_of: &'a [Vec<u32>],
}

impl<'a> VariantFinder<'a> {
    fn new(
        pipeline: &'a Pipeline,
        variants: &'a [Vec<SelectedVariant>],
        variants_of: &'a [Vec<u32>],
    ) -> Self {
        let by_name = pipeline.jobs.iter().enumerate().map(|(ix, job)| (job.name.as_str(), ix)).collect();
        Self { by_name, variants, variants_of }
    }

    /// Returns the indices of the variants, in order; none for a job that is not in the plan.
    fn find(&self, need: &Need) -> Vec<u32> {
        let Some(ix) = self.by_name.get(need.job.as_str()) else { return Vec::new() };
        let all = self.variants_of[*ix].iter().zip(&self.variants[*ix]);
        all.filter(|(_, selected)| need.includes(&selected.variant.cell))
            .map(|(variant, _)| *variant)
            .collect()
    }
}

impl<'a> VariantFinder<'a> {
    /// Returns the different lists that the variants of a job have, as the rules changed it, each with the indices of its
    /// variants.
    fn by_list(
        &self,
        job: &'a Job,
        file_ix: usize,
        list: impl Fn(&'a Job) -> Option<&'a [Need]>,
    ) -> Vec<(Option<&'a [Need]>, Vec<u32>)> {
        let mut all: Vec<(Option<&[Need]>, Vec<u32>)> = Vec::new();
        for (selected, variant) in self.variants[file_ix].iter().zip(&self.variants_of[file_ix]) {
            let own = list(selected.job.as_deref().unwrap_or(job));
            match all.iter_mut().find(|(known, _)| *known == own) {
                Some((_, of)) => of.push(*variant),
                None => all.push((own, vec![*variant])),
            }
        }
        all
    }
}

impl Plan {
    /// Resolves `dependencies`, the jobs whose artifacts a job names, to matrix variants.
    pub(super) fn resolve_dependencies(
        &mut self,
        pipeline: &Pipeline,
        variants: &[Vec<SelectedVariant>],
        variants_of: &[Vec<u32>],
    ) {
        let finder = VariantFinder::new(pipeline, variants, variants_of);
        for (file_ix, job) in pipeline.jobs.iter().enumerate() {
            for (named, of) in finder.by_list(job, file_ix, |job| job.dependencies.as_deref()) {
                let Some(named) = named else { continue };
                let mut from: Vec<u32> = named.iter().flat_map(|need| finder.find(need)).collect();
                from.sort_unstable();
                from.dedup();
                for variant in of {
                    self.jobs[variant as usize].dependencies = Some(from.clone());
                }
            }
        }
    }

    /// Adds the edges of jobs with `needs`; a need with several variants goes through one gate.
    pub(super) fn join_needs(
        &mut self,
        pipeline: &Pipeline,
        variants: &[Vec<SelectedVariant>],
        variants_of: &[Vec<u32>],
    ) {
        let finder = VariantFinder::new(pipeline, variants, variants_of);
        let mut gate_of: HashMap<Vec<u32>, NodeIx> = HashMap::new();
        for (file_ix, job) in pipeline.jobs.iter().enumerate() {
            for (needs, of) in finder.by_list(job, file_ix, |job| job.needs.as_deref()) {
                let mut needed_before: HashSet<u32> = HashSet::new();
                for need in needs.into_iter().flatten() {
                    let mut needed = finder.find(need);
                    // Two needs may have variants in common.
                    needed.retain(|variant| needed_before.insert(*variant));
                    let from = match needed.as_slice() {
                        [] => continue,
                        [only] => NodeIx::Job(*only),
                        many => *gate_of.entry(many.to_vec()).or_insert_with(|| {
                            let gate = self.add_gate(false);
                            for variant in many {
                                self.connect(NodeIx::Job(*variant), gate);
                            }
                            gate
                        }),
                    };
                    for variant in &of {
                        self.connect(from, NodeIx::Job(*variant));
                        for needed in &needed {
                            let name = self.jobs[*needed as usize].name.clone();
                            let job = &mut self.jobs[*variant as usize];
                            job.needs.push(name);
                            job.needs_jobs.push(*needed);
                        }
                    }
                }
            }
        }
    }

    /// Adds the edges of jobs without `needs`: one gate after each stage that a job waits for.
    pub(super) fn join_stages(&mut self, stage_of: &HashMap<&str, usize>) {
        let last = self.jobs.iter().filter_map(|job| job.after_stages).max().unwrap_or(0) as usize;
        let mut before: Option<NodeIx> = None;
        for stage in 0..=last {
            let members: Vec<u32> = (0..index(self.jobs.len()))
                .filter(|ix| stage_of[self.jobs[*ix as usize].stage.as_str()] == stage)
                .collect();
            if let Some(gate) = before {
                for ix in &members {
                    if self.jobs[*ix as usize].after_stages.is_some() {
                        self.connect(gate, NodeIx::Job(*ix));
                    }
                }
            }
            let awaited: Vec<u32> =
                members.into_iter().filter(|ix| !self.jobs[*ix as usize].is_optional()).collect();
            if stage < last && !(awaited.is_empty() && before.is_none()) {
                let gate = self.add_gate(true);
                for ix in awaited {
                    self.connect(NodeIx::Job(ix), gate);
                }
                if let Some(earlier) = before {
                    self.connect(earlier, gate);
                }
                before = Some(gate);
            }
        }
    }

    /// Resolves the jobs that conditions refer to: those that the conditions' job waits for. Others have no outputs for it.
    pub(super) fn resolve_conditions(&mut self) {
        for ix in 0..self.jobs.len() {
            let Some(condition) = &self.jobs[ix].condition else { continue };
            let open = condition.rules.iter().filter_map(|rule| rule.open.as_ref());
            let names: BTreeSet<String> = open.flat_map(OpenCondition::jobs).collect();
            let mut providers: BTreeMap<String, Vec<u32>> = BTreeMap::new();
            for provider in self.awaited_jobs(index(ix)) {
                let name = &self.jobs[provider as usize].base_name;
                if names.contains(name) {
                    providers.entry(name.clone()).or_default().push(provider);
                }
            }
            if let Some(condition) = &mut self.jobs[ix].condition {
                condition.providers = providers;
            }
        }
    }

    fn add_gate(&mut self, joins_stage: bool) -> NodeIx {
        self.gates.push(Gate { waits_for: 0, releases: Vec::new(), joins_stage });
        NodeIx::Gate(index(self.gates.len() - 1))
    }

    fn connect(&mut self, from: NodeIx, to: NodeIx) {
        match from {
            NodeIx::Job(ix) => self.jobs[ix as usize].releases.push(to),
            NodeIx::Gate(ix) => self.gates[ix as usize].releases.push(to),
        }
        match to {
            NodeIx::Job(ix) => self.jobs[ix as usize].waits_for += 1,
            NodeIx::Gate(ix) => self.gates[ix as usize].waits_for += 1,
        }
    }
}
