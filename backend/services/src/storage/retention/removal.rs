//! Removes an execution, or its logs or artifacts. The execution is marked first and removed last: after a crash at any point, the next
//! pass finds it and goes on.

use super::service::RetentionService;
use crate::{
    error::Result,
    executions::jobs::log_times,
    ports::{Commit, ExecutionRecord, ExecutionState, Node, NodeBody, Write},
    storage::{summaries, test_reports},
};
use tidemill_core::{
    ids::{ExecutionId, JobId},
    retention::decision::{ExpiredParts, RetentionState},
};

const PAGE_SIZE: usize = 100;
/// Maximum number of executions that are removed together: an execution, and those that its jobs started.
const MAX_FAMILY: usize = 1_000;

/// An execution with those that its jobs started, directly or not, each before those that it started.
pub(super) struct Family(pub(super) Vec<Member>);

/// A member of a family.
pub(super) struct Member {
    pub(super) execution: ExecutionRecord,
    pub(super) nodes: Vec<Node>,
}

/// The outcome of a removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Removal {
    /// It was removed, with so many bytes of artifacts.
    Done(u64),
    /// Something changed since the decision; it is kept, and the next pass decides anew.
    Changed,
}

impl RetentionService {
    /// Returns an execution with those that its jobs started.
    pub(super) async fn family(&self, execution: ExecutionRecord) -> Result<Family> {
        let records = &self.context.stores.records;
        let nodes = records.all_nodes(execution.spec.id).await?;
        let mut members = vec![Member { execution, nodes }];
        let mut next = 0;
        while let Some(member) = members.get(next) {
            next += 1;
            let children: Vec<ExecutionId> = jobs(&member.nodes).filter_map(|(_, job)| job.child).collect();
            let parent = member.execution.spec.id;
            for child in children {
                // A retry carries over the child of a job, which belongs to the execution that started it.
                let found = records.execution(child).await?;
                let own = found
                    .filter(|found| found.spec.parent.as_ref().is_some_and(|link| link.execution == parent));
                if let Some(execution) = own.filter(|_| members.len() < MAX_FAMILY) {
                    let nodes = records.all_nodes(child).await?;
                    members.push(Member { execution, nodes });
                }
            }
        }
        Ok(Family(members))
    }

    /// Removes a family, the execution that started the others last.
    pub(super) async fn remove_family(&self, family: &Family) -> Result<Removal> {
        let mut bytes = 0;
        // All are marked before anything is removed, so that none refers to a part of the others any more.
        let mut marked = Vec::new();
        for member in &family.0 {
            // A mark that is there already is set again: the pass that set it may still run, and can no longer take it back.
            let was_marked = member.execution.state.retention.removing;
            let retention = RetentionState { removing: true, ..member.execution.state.retention.clone() };
            if !self.put_retention(&member.execution, member.execution.version, retention).await? {
                self.unmark(&marked).await?;
                return Ok(Removal::Changed);
            }
            if !was_marked {
                marked.push(&member.execution);
            }
        }
        for member in &family.0 {
            if self.context.needing(member.execution.spec.id).await?.is_some() {
                // What an interrupted removal marked may be incomplete already, and stays marked.
                self.unmark(&marked).await?;
                return Ok(Removal::Changed);
            }
        }
        for member in family.0.iter().rev() {
            bytes += self.remove_artifacts(member.execution.spec.id).await?;
            self.remove_logs(&member.nodes).await?;
            self.remove_documents(member).await?;
            self.context.stores.records.remove_execution(member.execution.spec.id).await?;
        }
        Ok(Removal::Done(bytes))
    }

    /// Removes logs or artifacts of an execution that is kept.
    pub(super) async fn remove_parts(&self, member: &Member, parts: ExpiredParts) -> Result<Removal> {
        let Member { execution, nodes } = member;
        let before = execution.state.retention.clone();
        let after = RetentionState {
            logs_removed: before.logs_removed || parts.logs.is_some(),
            artifacts_removed: before.artifacts_removed || parts.artifacts.is_some(),
            ..before.clone()
        };
        if !self.put_retention(execution, execution.version, after).await? {
            return Ok(Removal::Changed);
        }
        if self.context.needing(execution.spec.id).await?.is_some() {
            self.put_retention(execution, execution.version + 1, before).await?;
            return Ok(Removal::Changed);
        }
        if parts.logs.is_some() {
            self.remove_logs(nodes).await?;
        }
        let bytes = match parts.artifacts {
            Some(_) => self.remove_artifacts(execution.spec.id).await?,
            None => 0,
        };
        Ok(Removal::Done(bytes))
    }

    async fn put_retention(
        &self,
        execution: &ExecutionRecord,
        if_version: u64,
        retention: RetentionState,
    ) -> Result<bool> {
        let state = ExecutionState { retention, ..execution.state.clone() };
        let write = Write::PutExecution { id: execution.spec.id, if_version, state };
        Ok(matches!(self.context.stores.records.commit(vec![write]).await?, Commit::Done(_)))
    }

    /// Takes marks back that were just set.
    async fn unmark(&self, marked: &[&ExecutionRecord]) -> Result<()> {
        for execution in marked {
            let before = execution.state.retention.clone();
            self.put_retention(execution, execution.version + 1, before).await?;
        }
        Ok(())
    }

    /// Removes the artifacts of an execution, and returns the number of their bytes.
    async fn remove_artifacts(&self, id: ExecutionId) -> Result<u64> {
        let mut bytes = 0;
        for record in self.context.stores.records.artifacts(id).await? {
            self.artifacts.remove(&record).await?;
            bytes += record.size;
        }
        Ok(bytes)
    }

    /// Removes the logs of all attempts, with the times of their lines.
    async fn remove_logs(&self, nodes: &[Node]) -> Result<()> {
        for (id, job) in jobs(nodes).filter(|(_, job)| job.carried_from.is_none()) {
            for attempt in 1..=job.job.attempt {
                self.context.stores.logs.remove(id, attempt).await?;
            }
            if job.job.attempt > 0 {
                self.remove_prefix(log_times::DOCUMENT_KIND, &format!("{id}/")).await?;
            }
        }
        Ok(())
    }

    async fn remove_documents(&self, member: &Member) -> Result<()> {
        let id = member.execution.spec.id;
        for (job, record) in jobs(&member.nodes).filter(|(_, job)| job.carried_from.is_none()) {
            for attempt in 1..=record.job.attempt {
                let object = summaries::object_key(id, (job, attempt));
                self.context.stores.objects.delete(&object).await?;
            }
        }
        for kind in [test_reports::DOCUMENT_KIND, summaries::DOCUMENT_KIND] {
            self.remove_prefix(kind, &format!("{id}/")).await?;
        }
        Ok(())
    }

    async fn remove_prefix(&self, kind: &str, prefix: &str) -> Result<()> {
        let documents = &self.context.stores.documents;
        loop {
            let (page, has_more) = documents.list(kind, prefix, None, PAGE_SIZE).await?;
            for document in page {
                documents.delete(&document.key, None).await?;
            }
            if !has_more {
                return Ok(());
            }
        }
    }
}

/// Returns the jobs among nodes, with their ids.
fn jobs(nodes: &[Node]) -> impl Iterator<Item = (JobId, &crate::ports::JobRecord)> {
    nodes.iter().filter_map(|node| match &node.state.body {
        NodeBody::Job(job) => Some((JobId::of(node.key.execution, node.key.ix), &**job)),
        NodeBody::Gate { .. } | NodeBody::End => None,
    })
}
