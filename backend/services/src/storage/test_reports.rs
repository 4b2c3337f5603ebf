//! Stores the test report of each attempt, and summarizes those of an execution.

use crate::{
    context::service_context::{Context, job_of},
    error::{Error, Result},
    ports::{DocumentKey, MAX_DOCUMENT_SIZE, NewDocument},
};
use std::{collections::HashMap, sync::Arc};
use tidemill_core::execution::test_report::{
    ExecutionTests, JobTests, TestReport, TestsReply, TestsRequest, combine_attempts,
};
use tidemill_core::ids::{ExecutionId, JobId};

const DOCUMENT_KIND: &str = "tests";
/// Retention of test reports.
const RETENTION_MS: i64 = 365 * 86_400_000;
/// Maximum length of the chain of retries that is followed back.
const MAX_RETRY_CHAIN: usize = 10;
/// Maximum size of the texts of a reply, in bytes: Lambda limits replies.
const MAX_TEXT_BYTES: usize = 3 << 20;
const MAX_ATTEMPTS: u32 = 20;
const BATCH_LEN: usize = 100;

/// Service for test reports.
#[derive(Debug, Clone)]
pub struct TestReportService {
    context: Arc<Context>,
}

/// Job and number of an attempt.
type AttemptKey = (JobId, u32);

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
        let mut previous = self.context.execution(id).await?.spec.retry_of;
        let mut executions = vec![id];
        while let Some(id) = previous.filter(|_| executions.len() <= MAX_RETRY_CHAIN) {
            executions.push(id);
            previous = self.context.cached_execution(id).await?.spec.retry_of;
        }
        // By name, since each execution's jobs have their own ids; oldest first.
        let mut by_name: HashMap<String, (Vec<AttemptKey>, Vec<TestReport>)> = HashMap::new();
        for id in executions.into_iter().rev() {
            let stored = self.stored(id).await?;
            if stored.is_empty() {
                continue;
            }
            let specs = self.context.specs(id).await?;
            let names: HashMap<JobId, &str> =
                specs.iter().map(|spec| (spec.id, spec.planned.name.as_str())).collect();
            for (attempt, report) in stored {
                let Some(name) = names.get(&attempt.0) else { continue };
                let (attempts, reports) = by_name.entry((*name).to_owned()).or_default();
                attempts.push(attempt);
                reports.push(report);
            }
        }
        let mut tests = ExecutionTests::default();
        if by_name.is_empty() {
            return Ok(tests);
        }
        let nodes = self.context.stores.records.all_nodes(id).await?;
        for (node, spec) in nodes.iter().zip(self.context.specs(id).await?.iter()) {
            let item = job_of(node)?;
            let counted = match item.carried_from {
                Some(from) => (from, item.carried_attempt),
                None => (spec.id, item.job.attempt),
            };
            let Some((attempts, reports)) = by_name.get(&spec.planned.name) else { continue };
            let Some(position) = attempts.iter().position(|attempt| *attempt == counted) else { continue };
            if let Some(report) = combine_attempts(&reports[..=position]) {
                let job = JobTests { job_id: spec.id, job_name: spec.planned.name.clone(), report };
                tests.add(job, MAX_TEXT_BYTES);
            }
        }
        Ok(tests)
    }

    /// Returns the stored reports of an execution: by job, earlier attempts first.
    async fn stored(&self, id: ExecutionId) -> Result<Vec<(AttemptKey, TestReport)>> {
        let prefix = format!("{id}/");
        let (mut stored, mut after) = (Vec::new(), None::<String>);
        loop {
            let page = self
                .context
                .stores
                .documents
                .list(DOCUMENT_KIND, &prefix, after.as_deref(), BATCH_LEN)
                .await?;
            for document in &page.0 {
                let report = serde_json::from_str(&document.value)
                    .map_err(|error| Error::storage("reading a test report", error))?;
                let name = document.key.name.strip_prefix(&prefix).and_then(|name| name.split_once('/'));
                let attempt =
                    name.and_then(|(job, attempt)| Some((job.parse().ok()?, attempt.parse().ok()?)));
                stored.extend(attempt.map(|attempt| (attempt, report)));
            }
            after = page.0.last().map(|document| document.key.name.clone()).filter(|_| page.1);
            if after.is_none() {
                return Ok(stored);
            }
        }
    }
}
