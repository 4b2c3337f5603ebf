//! The edges of a plan: which nodes wait for which.

use super::model::{Gate, NodeIx, Plan, index};
use crate::pipeline::Pipeline;
use std::collections::HashMap;

impl Plan {
    /// Resolves `dependencies`, the jobs whose artifacts a job names, to matrix variants.
    pub(super) fn resolve_dependencies(&mut self, pipeline: &Pipeline, variants_of: &[Vec<u32>]) {
        let by_name: HashMap<&str, usize> =
            pipeline.jobs.iter().enumerate().map(|(ix, job)| (job.name.as_str(), ix)).collect();
        for (file_ix, job) in pipeline.jobs.iter().enumerate() {
            let Some(named) = &job.dependencies else { continue };
            let indices = named.iter().filter_map(|name| by_name.get(name.as_str()));
            let mut from: Vec<u32> = indices.flat_map(|ix| &variants_of[*ix]).copied().collect();
            from.sort_unstable();
            for variant in &variants_of[file_ix] {
                self.jobs[*variant as usize].dependencies = Some(from.clone());
            }
        }
    }

    /// Adds the edges of jobs with `needs`; a need with several variants goes through one gate.
    pub(super) fn join_needs(&mut self, pipeline: &Pipeline, variants_of: &[Vec<u32>]) {
        let by_name: HashMap<&str, usize> =
            pipeline.jobs.iter().enumerate().map(|(ix, job)| (job.name.as_str(), ix)).collect();
        let mut gate_of: HashMap<usize, NodeIx> = HashMap::new();
        for (file_ix, job) in pipeline.jobs.iter().enumerate() {
            for need in job.needs.iter().flatten() {
                let need_ix = by_name[need.as_str()];
                let from = match variants_of[need_ix].as_slice() {
                    [only] => NodeIx::Job(*only),
                    many => *gate_of.entry(need_ix).or_insert_with(|| {
                        let gate = self.add_gate();
                        for variant in many {
                            self.connect(NodeIx::Job(*variant), gate);
                        }
                        gate
                    }),
                };
                for variant in &variants_of[file_ix] {
                    self.connect(from, NodeIx::Job(*variant));
                    for needed in &variants_of[need_ix] {
                        let name = self.jobs[*needed as usize].name.clone();
                        let job = &mut self.jobs[*variant as usize];
                        job.needs.push(name);
                        job.needs_jobs.push(*needed);
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
                let gate = self.add_gate();
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

    fn add_gate(&mut self) -> NodeIx {
        self.gates.push(Gate { waits_for: 0, releases: Vec::new() });
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
