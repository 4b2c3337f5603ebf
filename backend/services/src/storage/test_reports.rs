//! Stores the test report of each attempt, and summarizes those of an execution.

use crate::{
    context::service_context::{Context, job_of},
    error::{Error, Result},
    ports::{DocumentKey, MAX_DOCUMENT_SIZE, NewDocument, Node},
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};
use tidemill_core::execution::test_report::{
    ExecutionTests, JobTests, TestReport, TestsReply, TestsRequest, combine_attempts, flaky_since,
};
use tidemill_core::ids::{ExecutionId, JobId};
use tidemill_core::records::MeasuredJob;

pub(super) const DOCUMENT_KIND: &str = "tests";
/// Retention of test reports.
const RETENTION_MS: i64 = 365 * 86_400_000;
/// Maximum length of the chain of retries that is followed back.
const MAX_RETRY_CHAIN: usize = 10;
/// Maximum size of the texts of a reply, in bytes: Lambda limits replies.
const MAX_TEXT_BYTES: usize = 3 << 20;
/// Maximum size of the test reports that are read for the statistics of an execution, in bytes; a function has little memory.
const MAX_MEASURED_BYTES: usize = 16 << 20;
const MAX_ATTEMPTS: u32 = 20;
const BATCH_LEN: usize = 100;

/// Service for test reports.
#[derive(Debug, Clone)]
pub struct TestReportService {
    context: Arc<Context>,
}

/// Job and number of an attempt.
type AttemptKey = (JobId, u32);

/// The test reports of an execution and of those that it retries, by the name of their job; oldest first.
#[derive(Debug, Default)]
struct ReportsByJob(HashMap<String, (Vec<AttemptKey>, Vec<TestReport>)>);

/// The test reports of a job up to that of the attempt whose result counts.
#[derive(Debug)]
struct JobReports<'a> {
    reports: &'a [TestReport],
    /// Index of the first attempt of this execution.
    first_own: usize,
}

impl ReportsByJob {
    /// Returns the reports of the job of `node`; `None` if the attempt that counts has none.
    fn of(&self, node: &Node, job: JobId, name: &str) -> Result<Option<JobReports<'_>>> {
        let item = job_of(node)?;
        let counted = item.counted_attempt(job);
        let Some((attempts, reports)) = self.0.get(name) else { return Ok(None) };
        let Some(position) = attempts.iter().position(|attempt| *attempt == counted) else {
            return Ok(None);
        };
        let first_own = attempts.iter().position(|(of, _)| *of == job).unwrap_or(attempts.len());
        Ok(Some(JobReports { reports: &reports[..=position], first_own }))
    }
}

impl TestReportService {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Self { context }
    }

    /// Stores the test report of an attempt, and replaces an earlier one.
    pub async fn store(&self, request: TestsRequest) -> Result<TestsReply> {
        let TestsRequest { job_id: job, lease, mut report } = request;
        let node = self.context.job(job).await?;
        let item = job_of(&node)?;
        if !item.job.is_leased_to(lease) {
            return Err(Error::LeaseLost(format!(
                "the lease of job {job} is not valid; its test report is not stored"
            )));
        }
        let (execution, attempt) = (node.key.execution, item.job.attempt);
        if attempt == 1 && self.context.cached_execution(execution).await?.spec.retry_of.is_none() {
            // No earlier attempt exists, so passed tests cannot reveal a flaky one.
            report.passed.clear();
        }
        let value =
            serde_json::to_string(&report).map_err(|error| Error::storage("writing a test report", error))?;
        if value.len() > MAX_DOCUMENT_SIZE {
            return Err(Error::Invalid(format!("a test report has at most {MAX_DOCUMENT_SIZE} bytes")));
        }
        let documents = &self.context.stores.documents;
        for _ in 0..MAX_ATTEMPTS {
            let key = DocumentKey::new(DOCUMENT_KIND, format!("{execution}/{job}/{attempt:05}"));
            let version = documents.get(&key).await?.map(|existing| existing.version);
            let expires_at = Some(self.context.now().plus_ms(RETENTION_MS));
            let new = NewDocument { key, value: value.clone(), due_at: None, expires_at };
            if documents.put(new, version).await? {
                return Ok(TestsReply { attempt });
            }
        }
        Err(Error::Conflict(
            "another client is writing the test report of the attempt at the same time".into(),
        ))
    }

    /// Returns the test results of an execution.
    pub async fn for_execution(&self, id: ExecutionId) -> Result<ExecutionTests> {
        let retry_of = self.context.execution(id).await?.spec.retry_of;
        let by_job = self.context.test_reports(id, retry_of, usize::MAX).await?;
        let mut tests = ExecutionTests::default();
        if by_job.0.is_empty() {
            return Ok(tests);
        }
        let nodes = self.context.stores.records.all_nodes(id).await?;
        for (node, spec) in nodes.iter().zip(self.context.specs(id).await?.iter()) {
            let name = &spec.planned.name;
            let Some(found) = by_job.of(node, spec.id, name)? else { continue };
            if let Some(report) = combine_attempts(found.reports) {
                let job = JobTests { job_id: spec.id, job_name: name.clone(), report };
                tests.add(job, MAX_TEXT_BYTES);
            }
        }
        Ok(tests)
    }
}

impl Context {
    /// Returns what the test reports of an execution's jobs say, by the index of their nodes.
    pub(crate) async fn measured_jobs(
        &self,
        id: ExecutionId,
        retry_of: Option<ExecutionId>,
        nodes: &[Node],
    ) -> Result<BTreeMap<u32, MeasuredJob>> {
        let by_job = self.test_reports(id, retry_of, MAX_MEASURED_BYTES).await?;
        let mut measured = BTreeMap::new();
        if by_job.0.is_empty() {
            return Ok(measured);
        }
        for (node, spec) in nodes.iter().zip(self.specs(id).await?.iter()) {
            let Some(found) = by_job.of(node, spec.id, &spec.planned.name)? else { continue };
            let job = MeasuredJob {
                flaky: flaky_since(found.reports, found.first_own).into_iter().cloned().collect(),
                coverage: found.reports.last().and_then(|report| report.coverage),
            };
            measured.insert(node.key.ix, job);
        }
        Ok(measured)
    }

    /// Returns the test reports of an execution and of those that it retries. Reads no more once they exceed `max_bytes`.
    async fn test_reports(
        &self,
        id: ExecutionId,
        retry_of: Option<ExecutionId>,
        max_bytes: usize,
    ) -> Result<ReportsByJob> {
        let mut previous = retry_of;
        let mut executions = vec![id];
        while let Some(id) = previous.filter(|_| executions.len() <= MAX_RETRY_CHAIN) {
            executions.push(id);
            previous = self.cached_execution(id).await?.spec.retry_of;
        }
        // By name, since each execution's jobs have their own ids; oldest first.
        let mut by_job = ReportsByJob::default();
        let mut left = max_bytes;
        for id in executions.into_iter().rev() {
            let stored = self.stored_test_reports(id, &mut left).await?;
            if stored.is_empty() {
                continue;
            }
            let specs = self.specs(id).await?;
            let names: HashMap<JobId, &str> =
                specs.iter().map(|spec| (spec.id, spec.planned.name.as_str())).collect();
            for (attempt, report) in stored {
                let Some(name) = names.get(&attempt.0) else { continue };
                let (attempts, reports) = by_job.0.entry((*name).to_owned()).or_default();
                attempts.push(attempt);
                reports.push(report);
            }
        }
        Ok(by_job)
    }

    /// Returns the stored reports of an execution: by job, earlier attempts first. Reads no more once `left` bytes were read.
    async fn stored_test_reports(
        &self,
        id: ExecutionId,
        left: &mut usize,
    ) -> Result<Vec<(AttemptKey, TestReport)>> {
        let prefix = format!("{id}/");
        let (mut stored, mut after) = (Vec::new(), None::<String>);
        while *left > 0 {
            let page =
                self.stores.documents.list(DOCUMENT_KIND, &prefix, after.as_deref(), BATCH_LEN).await?;
            for document in &page.0 {
                *left = left.saturating_sub(document.value.len());
                let report = serde_json::from_str(&document.value)
                    .map_err(|error| Error::storage("reading a test report", error))?;
                let name = document.key.name.strip_prefix(&prefix).and_then(|name| name.split_once('/'));
                let attempt =
                    name.and_then(|(job, attempt)| Some((job.parse().ok()?, attempt.parse().ok()?)));
                stored.extend(attempt.map(|attempt| (attempt, report)));
            }
            after = page.0.last().map(|document| document.key.name.clone()).filter(|_| page.1);
            if after.is_none() {
                break;
            }
        }
        Ok(stored)
    }
}
