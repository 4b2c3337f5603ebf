//! A planned job of an execution.

use tidemill_core::{ids::JobId, plan::PlannedJob};

/// The immutable plan of a job, which views and assignments need.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct JobSpec {
    /// Id of the job.
    pub id: JobId,
    /// The planned job; if the links of its node differ from its `releases`, those of the node apply.
    pub planned: PlannedJob,
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
        1_024 + texts(&job.script) + variables + after_script + names
    };
    specs.iter().map(weight).sum()
}
