//! The planned jobs of an execution.

use std::ops::Deref;
use tidemill_core::{ids::JobId, plan::PlannedJob};

/// The immutable plan of a job, which views and assignments need.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct JobSpec {
    /// Id of the job.
    pub id: JobId,
    /// The planned job; if the links of its node differ from its `releases`, those of the node apply.
    pub planned: PlannedJob,
}

/// The plans of all jobs of an execution, in order.
#[derive(Debug, PartialEq)]
pub(crate) struct JobSpecs {
    jobs: Vec<JobSpec>,
    /// The indexes of jobs with outputs: few, while each job is asked whose outputs it gets.
    providers: Vec<u32>,
}

impl JobSpecs {
    /// Creates them from the jobs in order.
    pub fn new(jobs: Vec<JobSpec>) -> Self {
        let with_outputs = (0..).zip(&jobs).filter(|(_, spec)| spec.planned.surroundings.provides_outputs());
        let providers = with_outputs.map(|(ix, _)| ix).collect();
        Self { jobs, providers }
    }

    /// Returns the jobs with outputs and their indexes, in order.
    pub fn output_providers(&self) -> impl Iterator<Item = (u32, &PlannedJob)> {
        self.providers.iter().map(|ix| (*ix, &self.jobs[*ix as usize].planned))
    }
}

impl Deref for JobSpecs {
    type Target = [JobSpec];

    fn deref(&self) -> &[JobSpec] {
        &self.jobs
    }
}

/// Estimates the memory of the specs, in bytes.
pub(crate) fn memory_bytes(specs: &[JobSpec]) -> usize {
    let texts = |texts: &[String]| texts.iter().map(|text| text.len() + 24).sum::<usize>();
    let weight = |spec: &JobSpec| {
        let job = &spec.planned;
        let variables =
            job.variables.iter().map(|(name, value)| name.len() + value.len() + 64).sum::<usize>();
        let after_script = texts(&job.surroundings.after_script);
        let names = texts(&job.needs) + 4 * job.needs_jobs.len() + 3 * job.name.len() + job.image.len();
        // A parsed condition is much larger than its text.
        let condition = job.condition.as_ref().map_or(0, |condition| 16 * condition.rules_bytes());
        size_of::<JobSpec>() + texts(&job.script) + variables + after_script + names + condition
    };
    specs.iter().map(weight).sum()
}
