//! Why a pipeline cannot be planned.

use super::{matrix::MAX_JOBS, size::MAX_PLAN_BYTES};
use serde::{Deserialize, Serialize};

/// A job that its rules left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExcludedJob {
    /// Its name in the file.
    pub job: String,
    /// What decided so, such as "does not hold: if branch == default_branch".
    pub why: String,
}

/// A pipeline that cannot be planned. The checker finds these with their place in the file; this is the guard for
/// a pipeline that did not come through it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A need that is no job.
    #[error("job `{job}` needs `{need}`, which is not a job of this pipeline")]
    UnknownNeed {
        /// Who needs.
        job: String,
        /// What.
        need: String,
    },
    /// A stage that is not declared.
    #[error("job `{job}` is in stage `{stage}`, which is not a stage of this pipeline")]
    UnknownStage {
        /// Who.
        job: String,
        /// Where.
        stage: String,
    },
    /// A need that runs after the job.
    #[error("job `{job}` needs `{need}`, which is in a later stage")]
    LaterStage {
        /// Who needs.
        job: String,
        /// What.
        need: String,
    },
    /// Jobs that wait for each other.
    #[error("jobs wait for each other: {}", .0.join(" -> "))]
    Cycle(Vec<String>),
    /// Too many jobs after matrix expansion.
    #[error("the pipeline has {0} jobs once its matrices are expanded; {MAX_JOBS} are the most")]
    TooManyJobs(usize),
    /// Too much text after matrix expansion.
    #[error(
        "the pipeline's jobs come to {0} bytes once its matrices are expanded; {MAX_PLAN_BYTES} are the most"
    )]
    TooLarge(u64),
    /// A condition that came to nothing.
    #[error("the condition of job `{job}` cannot be told: {why}; it is: {condition}")]
    Condition {
        /// Whose.
        job: String,
        /// Its text.
        condition: String,
        /// Why.
        why: String,
    },
    /// No job at all.
    #[error("the pipeline has no job")]
    Empty,
    /// Conditions left out all jobs.
    #[error(
        "no job takes part, as conditions (`if` or `rules`) left out all: {}",
        .0.iter().map(|left| format!("`{}`: {}", left.job, left.why)).collect::<Vec<_>>().join("; ")
    )]
    AllLeftOut(Vec<ExcludedJob>),
}
