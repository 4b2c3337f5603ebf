//! What workers report and clients read: the summaries and annotations of a job and of an execution.

use super::annotation::{Annotation, AnnotationLevel};
use super::markdown::MAX_SHOWN_BYTES;
use crate::ids::{JobId, LeaseToken};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Maximum number of annotations that are shown of an execution.
const MAX_ANNOTATIONS: usize = 1_000;
/// Maximum total length of their texts in bytes: Lambda limits replies.
const MAX_TEXT_BYTES: usize = 2 << 20;

/// A worker's report of the summary and the annotations of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SummaryRequest {
    /// The job.
    pub job_id: JobId,
    /// The attempt's lease.
    pub lease: LeaseToken,
    /// The summary, in Markdown.
    #[serde(default)]
    pub markdown: String,
    /// The annotations.
    #[serde(default)]
    pub annotations: Vec<Annotation>,
    /// Number of annotations that are omitted.
    #[serde(default)]
    pub left_out: u64,
}

/// The reply to a summary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SummaryReply {
    /// The number of the attempt.
    pub attempt: u32,
}

/// A job with a summary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SummaryView {
    /// The job.
    pub job_id: JobId,
    /// Its name, including matrix values.
    pub job_name: String,
    /// Size of the summary in bytes.
    pub size: u64,
    /// Whether it is shown with the execution: all that are shown have at most 1 MiB together.
    pub shown: bool,
}

/// An annotation with the job that made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobAnnotation {
    /// The job.
    pub job_id: JobId,
    /// Its name, including matrix values.
    pub job_name: String,
    /// Number of other jobs that made the same annotation, such as the variants of a matrix.
    #[serde(default)]
    pub other_jobs: u64,
    /// The annotation.
    #[serde(flatten)]
    pub annotation: Annotation,
}

/// Number of annotations by level.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AnnotationCounts {
    /// Number of failures.
    pub failures: u64,
    /// Number of warnings.
    pub warnings: u64,
    /// Number of notices.
    pub notices: u64,
    /// Number of those that are omitted, since a job or the execution has too many.
    pub left_out: u64,
}

impl AnnotationCounts {
    /// Counts an annotation of this level.
    pub const fn count(&mut self, level: AnnotationLevel) {
        match level {
            AnnotationLevel::Failure => self.failures += 1,
            AnnotationLevel::Warning => self.warnings += 1,
            AnnotationLevel::Notice => self.notices += 1,
        }
    }
}

/// `2 failures, 1 warning, 7 more`.
impl fmt::Display for AnnotationCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |number: u64, one: &str| {
            let plural = if number == 1 { "" } else { "s" };
            (number > 0).then(|| format!("{number} {one}{plural}"))
        };
        let named = [of(self.failures, "failure"), of(self.warnings, "warning"), of(self.notices, "notice")];
        let more = (self.left_out > 0).then(|| format!("{} more", self.left_out));
        let parts: Vec<String> = named.into_iter().chain([more]).flatten().collect();
        f.write_str(&parts.join(", "))
    }
}

/// The summaries and annotations of an execution: those of the last attempt of each job.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SummaryList {
    /// The jobs with a summary, in the plan's order.
    pub summaries: Vec<SummaryView>,
    /// Number of annotations.
    pub counts: AnnotationCounts,
    /// The annotations: failures before warnings before notices, then by file and line. Equal ones are listed once.
    pub annotations: Vec<JobAnnotation>,
}

/// Collects the summaries and annotations of the jobs of an execution, in any order, in bounded memory.
#[derive(Debug, Default)]
pub struct SummaryCollector {
    /// By position of the job in the plan.
    summaries: BTreeMap<usize, SummaryView>,
    annotations: BTreeMap<Annotation, JobsOfAnnotation>,
    bytes: usize,
    left_out: u64,
}

/// The jobs that made an annotation.
#[derive(Debug)]
struct JobsOfAnnotation {
    /// Position and id of the first one.
    first: (usize, JobId),
    others: u64,
}

impl SummaryCollector {
    /// Adds a job by its position in the plan: the size of its summary, its annotations, and the number of those omitted.
    pub fn add(
        &mut self,
        position: usize,
        job: (JobId, &str),
        size: u64,
        (all, left_out): (Vec<Annotation>, u64),
    ) {
        let (job_id, job_name) = (job.0, job.1.to_owned());
        if size > 0 {
            self.summaries.insert(position, SummaryView { job_id, job_name, size, shown: false });
        }
        self.left_out = self.left_out.saturating_add(left_out);
        for annotation in all {
            if let Some(known) = self.annotations.get_mut(&annotation) {
                known.others += 1;
                known.first = known.first.min((position, job_id));
                continue;
            }
            self.bytes += annotation.bytes();
            self.annotations.insert(annotation, JobsOfAnnotation { first: (position, job_id), others: 0 });
            while self.annotations.len() > MAX_ANNOTATIONS || self.bytes > MAX_TEXT_BYTES {
                let Some((last, _)) = self.annotations.pop_last() else { break };
                self.bytes -= last.bytes();
                self.left_out = self.left_out.saturating_add(1);
            }
        }
    }

    /// Returns the list. `job_name` returns the name of the job at a position in the plan.
    pub fn finish(self, job_name: impl Fn(usize) -> String) -> SummaryList {
        let mut list = SummaryList::default();
        let mut shown_bytes = 0_u64;
        for mut summary in self.summaries.into_values() {
            summary.shown = shown_bytes.saturating_add(summary.size) <= MAX_SHOWN_BYTES;
            shown_bytes += if summary.shown { summary.size } else { 0 };
            list.summaries.push(summary);
        }
        list.counts.left_out = self.left_out;
        for (annotation, JobsOfAnnotation { first: (position, job_id), others }) in self.annotations {
            list.counts.count(annotation.level);
            let job_name = job_name(position);
            list.annotations.push(JobAnnotation { job_id, job_name, other_jobs: others, annotation });
        }
        list
    }
}

#[cfg(test)]
mod tests {
    use super::{Annotation, AnnotationLevel, MAX_ANNOTATIONS, SummaryCollector};
    use crate::ids::JobId;

    fn id(position: usize) -> JobId {
        JobId(uuid::Uuid::from_u128(position as u128))
    }

    fn add(collector: &mut SummaryCollector, position: usize, size: u64, annotations: Vec<Annotation>) {
        collector.add(position, (id(position), &format!("job {position}")), size, (annotations, 1));
    }

    #[test]
    fn summaries_are_in_order_and_shown_up_to_one_mib() {
        let mut collector = SummaryCollector::default();
        for (position, size) in [(2, 900_000), (0, 200_000), (1, 0), (3, 100_000)] {
            add(&mut collector, position, size, Vec::new());
        }
        let list = collector.finish(|position| format!("job {position}"));
        let shown: Vec<_> = list.summaries.iter().map(|one| (one.job_name.as_str(), one.shown)).collect();
        assert_eq!(shown, [("job 0", true), ("job 2", false), ("job 3", true)]);
        assert_eq!(list.counts.to_string(), "4 more");
    }

    #[test]
    fn annotations_of_jobs_are_merged_in_order_and_bounded() {
        let mut collector = SummaryCollector::default();
        let warning = |number: usize| Annotation::new(AnnotationLevel::Warning, format!("{number:05}"));
        let failure = Annotation::new(AnnotationLevel::Failure, "broken");
        for position in (0..20).rev() {
            let mut all: Vec<Annotation> = (0..100).map(|number| warning(position * 100 + number)).collect();
            all.push(failure.clone());
            add(&mut collector, position, 0, all);
        }
        let list = collector.finish(|position| format!("job {position}"));
        assert_eq!(list.annotations.len(), MAX_ANNOTATIONS);
        let first = &list.annotations[0];
        assert_eq!((first.job_name.as_str(), first.other_jobs, &first.annotation), ("job 0", 19, &failure));
        assert_eq!(list.annotations[1].annotation, warning(0));
        assert_eq!((list.counts.failures, list.counts.warnings, list.counts.left_out), (1, 999, 20 + 1_001));
        assert_eq!(list.counts.to_string(), "1 failure, 999 warnings, 1021 more");
    }
}
