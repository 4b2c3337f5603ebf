//! A planned job of an execution.

use tidemill_core::{ids::JobId, plan::PlannedJob};

/// A job as it was planned: what views and assignments need, and what never changes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct JobSpec {
    /// Its id.
    pub id: JobId,
    /// The planned job; where its node's links differ from its `releases`, the node is right.
    pub planned: PlannedJob,
}

/// About how many bytes of memory the specs take.
pub(crate) fn weight(specs: &[JobSpec]) -> usize {
    let texts = |texts: &[String]| texts.iter().map(|text| text.len() + 24).sum::<usize>();
    let weight = |spec: &JobSpec| {
        let job = &spec.planned;
        let variables =
            job.variables.iter().map(|(name, value)| name.len() + value.len() + 64).sum::<usize>();
        let around = texts(&job.surroundings.after_script);
        let names = texts(&job.needs) + 4 * job.needs_jobs.len() + 3 * job.name.len() + job.image.len();
        1_024 + texts(&job.script) + variables + around + names
    };
    specs.iter().map(weight).sum()
}
