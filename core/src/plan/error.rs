//! Errors of planning.

use super::{matrix::MAX_JOBS, size::MAX_PLAN_BYTES};
use crate::pipeline::{LABEL_RULE, MAX_JOB_GROUP_BYTES};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// Maximum number of rules of all jobs, those of a matrix counted for each variant if they depend on it.
pub(super) const MAX_RULE_EVALUATIONS: usize = 1_000_000;

/// Maximum length of the value of a variable, in bytes.
pub(super) const MAX_VALUE_BYTES: usize = 32 << 10;

/// A job that its rules exclude.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExcludedJob {
    /// Its name in the file, or that of one of its variants.
    pub job: String,
    /// The reason, such as "`branch == default_branch` does not hold".
    pub why: String,
}

/// A pipeline that cannot be planned. The checker reports these errors with their location in the file; this type
/// covers pipelines that it has not checked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A need is not a job.
    #[error("job `{job}` needs `{need}`, which is not a job of this pipeline")]
    UnknownNeed {
        /// The job.
        job: String,
        /// Its need.
        need: String,
    },
    /// A stage is not declared.
    #[error("job `{job}` is in stage `{stage}`, which is not a stage of this pipeline")]
    UnknownStage {
        /// The job.
        job: String,
        /// Its stage.
        stage: String,
    },
    /// A need is in a later stage.
    #[error("job `{job}` needs `{need}`, which is in a later stage")]
    NeedInLaterStage {
        /// The job.
        job: String,
        /// Its need.
        need: String,
    },
    /// Jobs wait for each other.
    #[error("jobs wait for each other: {}", .0.join(" -> "))]
    Cycle(Vec<String>),
    /// There are too many jobs after matrix expansion.
    #[error("the pipeline has {0} jobs once its matrices are expanded; the limit is {MAX_JOBS}")]
    TooManyJobs(usize),
    /// There is too much text after matrix expansion.
    #[error(
        "the pipeline's jobs have {0} bytes once its matrices are expanded; the limit is {MAX_PLAN_BYTES}"
    )]
    TooLarge(u64),
    /// A condition could not be evaluated.
    #[error("the condition of job `{job}` cannot be evaluated: {why}; the condition is: {condition}")]
    Condition {
        /// The job.
        job: String,
        /// Its text.
        condition: String,
        /// The reason.
        why: String,
    },
    /// A job needs one that its rules exclude.
    #[error(
        "job `{job}` needs `{need}`, which is not in this execution: {why}; write `{{ job: {need}, optional: true }}` \
         under its `needs` if it may run without"
    )]
    NeedExcluded {
        /// The job.
        job: String,
        /// Its need.
        need: String,
        /// Why the need is excluded.
        why: String,
    },
    /// There are too many rules to evaluate.
    #[error("the rules of all jobs and variants are {0}; the limit is {MAX_RULE_EVALUATIONS}")]
    TooManyRules(usize),
    /// The value of a variable of a rule is too long.
    #[error("the value of `{variable}` in a rule of job `{job}` is longer than {MAX_VALUE_BYTES} bytes")]
    ValueTooLong {
        /// The job.
        job: String,
        /// The variable.
        variable: String,
    },
    /// The template of a job makes the name of a variant too long.
    #[error("the `variant_name` of job `{0}` makes a name that is too long")]
    NameTooLong(String),
    /// The values of variables make a label that is not one.
    #[error("`runs_on` of job `{job}` has the label {label:?} with the value {value:?}; {LABEL_RULE}")]
    BadLabel {
        /// The job.
        job: String,
        /// The name of the label.
        label: String,
        /// Its value, shortened if it is long.
        value: String,
    },
    /// An image refers to a variable that is not set.
    #[error(
        "the image of job `{job}` refers to `{variable}`, which is not set; set it for the repository with `tidemill variable set \
         {variable}`, or for one run with `-e {variable}=VALUE`; `CI_REGISTRY` and `CI_REGISTRY_IMAGE` also come from `tidemill \
         registry add`"
    )]
    UnsetVariable {
        /// The job.
        job: String,
        /// The variable.
        variable: String,
    },
    /// A requested job does not exist.
    #[error("the pipeline has no job `{job}`; {suggestion}")]
    UnknownJob {
        /// Its name.
        job: String,
        /// The nearest name, or the names of the jobs.
        suggestion: String,
    },
    /// A requested job is excluded by its rules.
    #[error("job `{job}` is excluded: {why}")]
    Excluded {
        /// Its name.
        job: String,
        /// The reason.
        why: String,
    },
    /// Too many jobs start other pipelines.
    #[error("{children} jobs of the pipeline start other pipelines; the limit is {limit} here")]
    TooManyChildren {
        /// The jobs, after matrix expansion.
        children: usize,
        /// The limit, which is lower in a child.
        limit: usize,
    },
    /// The pipeline has no job.
    #[error("the pipeline has no job")]
    Empty,
    /// The values of variables make the name of a concurrency group that is not one.
    #[error(
        "`concurrency` of job `{0}` makes the name of a group that is longer than {MAX_JOB_GROUP_BYTES} bytes or holds a control \
         character; use shorter variables in it"
    )]
    BadGroup(String),
    /// Two jobs have the same name once matrices are expanded.
    #[error(
        "two jobs have the name `{0}` once matrices are expanded; give the job that is named like a variant another name"
    )]
    SameName(String),
    /// Conditions exclude all jobs.
    #[error(
        "no job runs, because conditions (`if` or `rules`) exclude all jobs: {}",
        reasons(.0)
    )]
    AllExcluded(Vec<ExcludedJob>),
}

/// Maximum number of reasons, and of names with one reason, that a message shows.
const MAX_SHOWN_REASONS: usize = 5;

/// Returns the reasons for which jobs are excluded, each once, with the jobs.
fn reasons(excluded: &[ExcludedJob]) -> String {
    let mut jobs_of: IndexMap<&str, Vec<&str>> = IndexMap::new();
    for ExcludedJob { job, why } in excluded {
        jobs_of.entry(why).or_default().push(job);
    }
    let more = |all: usize, what: &str| match all.saturating_sub(MAX_SHOWN_REASONS) {
        0 => String::new(),
        more => format!(" and {more} more{what}"),
    };
    let reason = |(why, jobs): (&&str, &Vec<&str>)| {
        let names: Vec<String> = jobs.iter().take(MAX_SHOWN_REASONS).map(|job| format!("`{job}`")).collect();
        format!("{}{}: {why}", names.join(", "), more(jobs.len(), ""))
    };
    let shown: Vec<String> = jobs_of.iter().take(MAX_SHOWN_REASONS).map(reason).collect();
    shown.join("; ") + &more(jobs_of.len(), " reasons")
}

impl PlanError {
    /// Returns the error about a label, with the first characters of long texts.
    pub(super) fn bad_label(job: String, label: &str, value: &str) -> Self {
        const MAX_SHOWN_CHARS: usize = 200;
        let shown = |text: &str| text.chars().take(MAX_SHOWN_CHARS).collect();
        Self::BadLabel { job, label: shown(label), value: shown(value) }
    }
}

#[cfg(test)]
mod tests {
    use super::{ExcludedJob, PlanError};

    #[test]
    fn each_reason_is_shown_once_with_its_jobs() {
        let excluded = |job: String, why: &str| ExcludedJob { job, why: why.to_owned() };
        let jobs = (0..8).map(|n| excluded(format!("a{n}"), "no tag"));
        let jobs: Vec<ExcludedJob> = jobs.chain([excluded("b".to_owned(), "no branch")]).collect();
        assert!(
            PlanError::AllExcluded(jobs).to_string().ends_with(
                "exclude all jobs: `a0`, `a1`, `a2`, `a3`, `a4` and 3 more: no tag; `b`: no branch"
            )
        );
    }
}
