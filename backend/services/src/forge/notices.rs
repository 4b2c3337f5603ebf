//! Notifications: decides at which moments of an execution there is one, and delivers it to each receiver that wants it.

use super::{
    delivery::{DeliveryFailure, Sender, read},
    notice_content::{FlakyTest, awaited_jobs, failed_jobs, new_flaky_tests},
};
use crate::{
    error::{Error, Result},
    ports::{Document, DocumentKey, ExecutionRecord, NewDocument},
    repositories::record::Repository,
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tidemill_core::{
    execution::status::ExecutionStatus::{Failed, Success},
    ids::digest::json_digest,
    notification::{
        content::{MAX_JOBS, MAX_TESTS, Notification, NotificationEvent, event_at_end},
        format::Delivery,
        receiver::Notify,
    },
};

/// Kind of the documents of pending notifications.
pub const NOTIFICATION_KIND: &str = "notice";
/// Kind of the documents with the outcome of the last execution of a pipeline and branch.
const OUTCOME_KIND: &str = "outcome";
/// Kind of the documents of tests that were flaky.
const FLAKY_KIND: &str = "flaky-test";
/// How long a test is known to be flaky. After that, it is reported again.
const FLAKY_RETENTION_MS: i64 = 30 * 86_400_000;

/// A pending notification, named by the execution, the event, and the index of its receiver.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct NotificationRecord {
    repo: String,
    at: usize,
    notice: Notification,
    #[serde(default)]
    trouble: DeliveryFailure,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct ExecutionEnd {
    failed: bool,
    run_number: u64,
}

/// Writes and delivers notifications; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Notices {
    sender: Arc<Sender>,
}

impl Notices {
    pub const fn new(sender: Arc<Sender>) -> Self {
        Self { sender }
    }

    /// Writes the notification of a live execution that waits for approvals, unless `noticed` has all of its gates. Returns the gates
    /// that it waits for and that were not noticed yet, and the revision of the execution at which they were read. What can be approved
    /// changes only with the execution, so nothing is read again at the revision `read_at`.
    pub async fn write_of_approvals(
        &self,
        execution: &ExecutionRecord,
        repository: &Repository,
        (noticed, read_at): (&[u32], Option<u64>),
    ) -> Result<(Vec<u32>, Option<u64>)> {
        let has_new = execution.spec.approvals.iter().any(|approval| !noticed.contains(&approval.gate));
        if !has_new || repository.notification_targets() == 0 {
            return Ok((Vec::new(), read_at));
        }
        // Read before the gates: a change in between is read again.
        let revision = self.sender.context.stores.records.revision(execution.spec.id).await?;
        if revision.is_some() && revision == read_at {
            return Ok((Vec::new(), read_at));
        }
        let receivers = self.receivers(execution, repository, NotificationEvent::Approval).await?;
        if receivers.is_empty() {
            return Ok((Vec::new(), revision));
        }
        let (gates, jobs) = awaited_jobs(&self.sender.context, execution, noticed).await?;
        if gates.is_empty() {
            return Ok((gates, revision));
        }
        let name = format!("approval-{}", gates[0]);
        let notice =
            Notification { jobs, ..self.notification(execution, repository, NotificationEvent::Approval) };
        self.write(&name, notice, receivers).await?;
        Ok((gates, revision))
    }

    /// Writes the notifications of an ended execution, and then its outcome. After a crash in between, both are written again; an
    /// existing notification is not written twice.
    pub async fn write_of_end(&self, execution: &ExecutionRecord, repository: &Repository) -> Result<()> {
        let spec = &execution.spec;
        let of_request = spec.facts.pull_request.is_some() || spec.facts.merge_target.is_some();
        if repository.notification_targets() == 0 || of_request {
            return Ok(());
        }
        self.write_of_flaky_tests(execution, repository).await?;
        let line = json_digest(&(repository.name(), &spec.pipeline_name, &branch_of(execution)))
            .map_err(|error| Error::storage("deriving the key of an outcome", error))?;
        let documents = &self.sender.context.stores.documents;
        let existing = documents.get(&DocumentKey::new(OUTCOME_KIND, &line)).await?;
        let previous: Option<ExecutionEnd> = existing.as_ref().map(read).transpose()?;
        let is_older = previous.as_ref().is_some_and(|previous| previous.run_number >= execution.run_number);
        let has_failed_before = previous.is_some_and(|previous| previous.failed);
        let event = event_at_end(has_failed_before, execution.state.status).filter(|_| !is_older);
        if let Some(event) = event {
            let receivers = self.receivers(execution, repository, event).await?;
            let jobs = match event {
                NotificationEvent::Failure if !receivers.is_empty() => {
                    failed_jobs(&self.sender.context, execution).await?
                }
                _ => Vec::new(),
            };
            let notice = Notification { jobs, ..self.notification(execution, repository, event) };
            self.write("end", notice, receivers).await?;
        }
        self.write_outcome(line, execution, existing.as_ref(), is_older).await
    }

    async fn write_of_flaky_tests(&self, execution: &ExecutionRecord, repository: &Repository) -> Result<()> {
        let receivers = self.receivers(execution, repository, NotificationEvent::Flaky).await?;
        if receivers.is_empty() {
            return Ok(());
        }
        let documents = &self.sender.context.stores.documents;
        let mut first = Vec::new();
        for FlakyTest { job, name } in new_flaky_tests(&self.sender.context, execution).await? {
            let key = json_digest(&(repository.name(), &execution.spec.pipeline_name, &job, &name))
                .map_err(|error| Error::storage("deriving the key of a test", error))?;
            let key = DocumentKey::new(FLAKY_KIND, key);
            // After a crash, the tests of the same execution are new again.
            let id = execution.spec.id.to_string();
            let known = documents.get(&key).await?;
            if known.as_ref().is_some_and(|known| known.value != id) {
                continue;
            }
            if known.is_none() {
                let expires_at = Some(self.sender.context.now().plus_ms(FLAKY_RETENTION_MS));
                documents.put(NewDocument { key, value: id, due_at: None, expires_at }, None).await?;
            }
            first.push(format!("{job}: {name}"));
        }
        if first.is_empty() {
            return Ok(());
        }
        first.truncate(MAX_TESTS);
        let notice = Notification {
            tests: first,
            ..self.notification(execution, repository, NotificationEvent::Flaky)
        };
        self.write("flaky", notice, receivers).await
    }

    /// Returns a notification of an event that names no jobs and tests.
    fn notification(
        &self,
        execution: &ExecutionRecord,
        repository: &Repository,
        event: NotificationEvent,
    ) -> Notification {
        let spec = &execution.spec;
        let details = &spec.facts.details;
        let title = details.message.as_deref().and_then(|message| message.lines().next());
        let author = details.author.as_deref().map(|author| author.split(" <").next().unwrap_or(author));
        Notification {
            event,
            repository: repository.name(),
            pipeline: spec.pipeline_name.clone(),
            run_number: execution.run_number,
            execution_id: spec.id.to_string(),
            branch: branch_of(execution),
            commit: spec.commit.clone(),
            title: title.map(str::to_owned),
            author: author.map(str::to_owned),
            jobs: Vec::new(),
            more_jobs: 0,
            tests: Vec::new(),
            url: self.sender.url(spec.id),
        }
    }

    /// Writes a notification for each receiver. `name` distinguishes those of an execution.
    async fn write(&self, name: &str, mut notice: Notification, to: Vec<(usize, Notify)>) -> Result<()> {
        notice.more_jobs = notice.jobs.len().saturating_sub(MAX_JOBS);
        notice.jobs.truncate(MAX_JOBS);
        let now = self.sender.context.now();
        for (at, receiver) in to {
            let (repo, notice) = (notice.repository.clone(), notice.clone());
            let key = DocumentKey::new(NOTIFICATION_KIND, format!("{}:{name}:{at}", notice.execution_id));
            let noticed = NotificationRecord { repo, at, notice, trouble: DeliveryFailure::default() };
            self.sender.put(key, &noticed, Some(receiver.send_at(now)), None).await?;
        }
        Ok(())
    }

    /// Returns the receivers of an event, each with its index.
    async fn receivers(
        &self,
        execution: &ExecutionRecord,
        repository: &Repository,
        event: NotificationEvent,
    ) -> Result<Vec<(usize, Notify)>> {
        let branch = branch_of(execution);
        let mut receivers = Vec::new();
        for at in 0..repository.notification_targets() {
            if let Some(receiver) = self.sender.repositories.notification_target(repository, at).await?
                && receiver.accepts(event, branch.as_deref())
            {
                receivers.push((at, receiver));
            }
        }
        Ok(receivers)
    }

    async fn write_outcome(
        &self,
        line: String,
        execution: &ExecutionRecord,
        existing: Option<&Document>,
        is_older: bool,
    ) -> Result<()> {
        let failed = execution.state.status == Failed;
        if is_older || !(failed || execution.state.status == Success) {
            return Ok(());
        }
        let ended = ExecutionEnd { failed, run_number: execution.run_number };
        let key = DocumentKey::new(OUTCOME_KIND, line);
        self.sender.put(key, &ended, None, existing.map(|existing| existing.version)).await.map(drop)
    }

    /// Sends a notification, if it is due.
    pub async fn send(&self, of: DocumentKey) -> Result<bool> {
        let Some((document, noticed)) = self.sender.due::<NotificationRecord>(&of, 0).await? else {
            return Ok(false);
        };
        let repository = self.sender.repositories.find(&noticed.repo).await?;
        let receiver = match &repository {
            Some(repository) => self.sender.repositories.notification_target(repository, noticed.at).await?,
            None => None,
        };
        let documents = &self.sender.context.stores.documents;
        let Some(receiver) = receiver else {
            documents.delete(&of, Some(document.version)).await?;
            return Ok(false);
        };
        if !self.sender.hold(&of, &noticed, document.version).await? {
            return Ok(false);
        }
        let at = self.sender.context.now().to_string();
        let message = noticed.notice.message(&receiver, Delivery { id: &of.name, at: &at });
        match self.sender.send(&message, &of, (&noticed.repo, &noticed.trouble)).await {
            Err(Some((trouble, retry_at))) => {
                let Some(document) = documents.get(&of).await? else { return Ok(false) };
                let later = NotificationRecord { trouble, ..noticed };
                self.sender.put(of, &later, Some(retry_at), Some(document.version)).await?;
                Ok(false)
            }
            done => {
                documents.delete(&of, None).await?;
                Ok(done.is_ok())
            }
        }
    }
}

/// Returns the branch or tag of an execution.
fn branch_of(execution: &ExecutionRecord) -> Option<String> {
    execution.spec.facts.tag.clone().or_else(|| execution.spec.branch.clone())
}
