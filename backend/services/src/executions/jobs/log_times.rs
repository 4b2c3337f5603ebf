//! Stores and serves the times of the lines of a log. The marks of each report are a document; nothing else depends on them.

use super::service::JobExecutionService;
use crate::{
    error::{Error, Result},
    ports::{DocumentKey, NewDocument},
};
use tidemill_core::{
    api::{LogMark, LogTimes, MAX_REPORT_MARKS},
    ids::JobId,
    time::Timestamp,
};

pub(crate) const DOCUMENT_KIND: &str = "log-times";
/// Retention of marks.
const RETENTION_MS: i64 = 365 * 86_400_000;
/// Maximum number of documents that are read of one attempt.
const MAX_DOCUMENTS: usize = 4_000;
const PAGE_SIZE: usize = 200;
/// Maximum number of marks in a reply.
const MAX_MARKS: usize = 10_000;

/// A mark as it is stored: offset, line and milliseconds.
type StoredMark = (u64, u64, i64);

/// Returns an error unless a report's marks are few and in order.
pub fn check_marks(marks: &[LogMark]) -> Result<()> {
    if marks.len() > MAX_REPORT_MARKS {
        return Err(Error::Invalid(format!("a report has at most {MAX_REPORT_MARKS} marks of its log")));
    }
    if !marks.is_sorted_by(|one, next| one.offset < next.offset && one.line <= next.line) {
        return Err(Error::Invalid("the marks of a log must be in the order of their offsets".into()));
    }
    Ok(())
}

impl JobExecutionService {
    /// Stores the marks of a report. A repeated report stores nothing more. A failure costs only these times.
    pub(super) async fn store_marks(&self, job: JobId, attempt: u32, marks: &[LogMark]) {
        let Some(first) = marks.first() else { return };
        let stored: Vec<StoredMark> = marks.iter().map(|mark| (mark.offset, mark.line, mark.at.0)).collect();
        let new = NewDocument {
            key: DocumentKey::new(DOCUMENT_KIND, format!("{}{:020}", prefix(job, attempt), first.offset)),
            value: serde_json::json!(stored).to_string(),
            due_at: None,
            expires_at: Some(self.context.now().plus_ms(RETENTION_MS)),
        };
        if let Err(error) = self.context.stores.documents.put(new, None).await {
            tracing::warn!(%job, attempt, %error, "cannot store times of log lines");
        }
    }

    /// Returns the times of the lines of an attempt's log (`None`: the current attempt).
    pub async fn log_times(&self, job: JobId, attempt: Option<u32>) -> Result<LogTimes> {
        let log = Self::locate_log(job, &self.context.job(job).await?, attempt)?;
        let (_, size) = self.context.stores.logs.read(log.job, log.attempt, 0, 0).await?;
        let prefix = prefix(log.job, log.attempt);
        let (mut marks, mut read, mut after) = (Vec::new(), 0, None::<String>);
        loop {
            let documents = &self.context.stores.documents;
            let (page, more) = documents.list(DOCUMENT_KIND, &prefix, after.as_deref(), PAGE_SIZE).await?;
            for document in &page {
                let stored: Vec<StoredMark> = serde_json::from_str(&document.value)
                    .map_err(|error| Error::storage("reading times of log lines", error))?;
                let of = |(offset, line, at)| LogMark { offset, line, at: Timestamp(at) };
                marks.extend(stored.into_iter().map(of).filter(|mark| mark.offset < size));
            }
            read += page.len();
            after = page.last().map(|last| last.key.name.clone());
            if !more || read >= MAX_DOCUMENTS {
                break;
            }
        }
        Ok(LogTimes { size, complete: log.has_ended, marks: thinned(marks, MAX_MARKS) })
    }
}

/// Beginning of the names of an attempt's documents.
fn prefix(job: JobId, attempt: u32) -> String {
    format!("{job}/{attempt:05}/")
}

/// Leaves marks out evenly, so that at most `max` remain.
fn thinned(marks: Vec<LogMark>, max: usize) -> Vec<LogMark> {
    let step = marks.len().div_ceil(max).max(1);
    marks.into_iter().step_by(step).collect()
}

#[cfg(test)]
mod tests {
    use super::{LogMark, MAX_REPORT_MARKS, Timestamp, check_marks, thinned};

    fn mark(offset: u64) -> LogMark {
        LogMark { offset, line: offset, at: Timestamp(0) }
    }

    #[test]
    fn marks_are_left_out_evenly() {
        let offsets = |count, max| {
            let kept = thinned((0..count).map(mark).collect(), max);
            kept.into_iter().map(|mark| mark.offset).collect::<Vec<_>>()
        };
        assert_eq!(offsets(3, 3), [0, 1, 2]);
        assert_eq!(offsets(7, 3), [0, 3, 6]);
        assert!(offsets(0, 3).is_empty());
    }

    #[test]
    fn too_many_or_unordered_marks_are_invalid() {
        let many = |count: usize| (0..count as u64).map(mark).collect::<Vec<_>>();
        assert!(check_marks(&many(MAX_REPORT_MARKS)).is_ok());
        assert!(check_marks(&many(MAX_REPORT_MARKS + 1)).is_err());
        assert!(check_marks(&[mark(2), mark(1)]).is_err());
        assert!(check_marks(&[mark(1), mark(1)]).is_err());
    }
}
