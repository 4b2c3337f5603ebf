//! Concurrency groups of jobs: requests and releases places. Who gets one is decided by
//! [`change_group`](tidemill_core::scheduler::change_group).
//!
//! The record of a group is written on its own, so a process may die between two writes. Nothing depends on the second one: a job
//! without a place stays due, and each request or check that finds no free place removes jobs that have ended from the record.

use super::advance::batch::MAX_CONFLICTS;
use crate::{
    context::service_context::Context,
    error::{Error, Result},
    ports::{DocumentKey, ExecutionSpec, NewDocument, Node, NodeKey, Write, repository_key},
};
use futures_util::future::join_all;
use std::collections::{BTreeMap, BTreeSet};
use tidemill_core::execution::status::JobStatus;
use tidemill_core::{
    api::{GroupHolder, PlaceWait},
    ids::{ExecutionId, JobId, digest::json_digest},
    pipeline::JobConcurrency,
    scheduler::{GroupChange, GroupEvent, JobGroup, Transition, change_group, with_place},
    time::Timestamp,
};

/// Kind of the documents.
const KIND: &str = "job-group";

/// Time after which the record of a group that nobody used is removed, in milliseconds: longer than any job takes.
const RETENTION_MS: i64 = 400 * 86_400_000;

/// Number of jobs that are read at once.
const READ_BATCH: usize = 32;

/// Maximum number of groups that one view of an execution describes.
const MAX_SHOWN_GROUPS: usize = 20;
/// Maximum number of jobs that it names of each.
const MAX_SHOWN_HOLDERS: usize = 5;

/// Jobs of one execution, by the group in which they have places or request them.
pub(super) type JobsByGroup = BTreeMap<JobConcurrency, Vec<JobId>>;

/// What a job waits for that has no place in its group.
pub(super) enum JobWait {
    /// For the end of its `start_in`.
    Until(Timestamp),
    /// For a place.
    Place(PlaceWait),
}

/// Returns the key of a group of the repository of an execution.
fn group_key(spec: &ExecutionSpec, group: &str) -> Result<DocumentKey> {
    // A fork must not delay jobs of the repository itself.
    let origin = if spec.facts.is_from_fork() { "forks" } else { "own" };
    let name = json_digest(&(repository_key(&spec.repo), origin, group))
        .map_err(|error| Error::storage("deriving the key of a concurrency group", error))?;
    Ok(DocumentKey::new(KIND, name))
}

/// Whether a job needs its place no longer: it has ended, or its record does not exist any more.
fn has_ended(node: Option<&Node>) -> bool {
    node.is_none_or(|node| node.state.status().is_none_or(JobStatus::is_terminal))
}

impl Context {
    /// Requests places for jobs of an execution that need nothing else to run, and returns the writes of each: it is queued, or it
    /// checks again later.
    pub(super) async fn request_places(
        &self,
        execution: ExecutionId,
        nodes: Vec<Node>,
    ) -> Result<Vec<(Node, Transition)>> {
        let now = self.now();
        let mut jobs: BTreeMap<JobConcurrency, Vec<(JobId, Timestamp)>> = BTreeMap::new();
        for node in &nodes {
            if let (Some(group), Some(job)) = (&node.spec.concurrency, node.spec.job) {
                let delay_ms = node.spec.start_in_s.unwrap_or(0).saturating_mul(1_000);
                let since = now.plus_ms(i64::try_from(delay_ms).unwrap_or(i64::MAX));
                jobs.entry(group.clone()).or_default().push((job, since));
            }
        }
        let execution = self.cached_execution(execution).await?;
        let mut groups = BTreeMap::new();
        for (concurrency, jobs) in jobs {
            let group = self.request_in_group(&execution.spec, &concurrency, &jobs).await?;
            groups.insert(concurrency, group);
        }
        let transition = |node: Node| {
            let group = groups.get(node.spec.concurrency.as_ref()?)?;
            let job = node.spec.job?;
            let transition = if group.has_place(job) {
                with_place(&node, now)?
            } else {
                let due_at = Some(group.recheck_at(job, now));
                let writes = vec![Write::SetDue { key: node.key, if_version: node.version, due_at }];
                Transition { writes, send_after: None, more: false, releases: None }
            };
            Some((node, transition))
        };
        Ok(nodes.into_iter().filter_map(transition).collect())
    }

    /// Requests places for jobs of one group, and returns the group as it is then.
    async fn request_in_group(
        &self,
        spec: &ExecutionSpec,
        concurrency: &JobConcurrency,
        requests: &[(JobId, Timestamp)],
    ) -> Result<JobGroup> {
        let key = group_key(spec, &concurrency.group)?;
        let event = GroupEvent::Request { jobs: requests, limit: concurrency.limit };
        let mut change = self.change_job_group(&key, event).await?;
        let jobs: Vec<JobId> = requests.iter().map(|(job, _)| *job).collect();
        let mut granted: BTreeSet<JobId> = change.granted.into_iter().collect();
        if jobs.iter().any(|job| !change.group.has_place(*job)) {
            let ended = self.check_holders(&change.group, &jobs).await?;
            if !ended.is_empty() {
                change = self.change_job_group(&key, GroupEvent::Ended(&ended)).await?;
                granted.extend(change.granted);
            }
        }
        granted.retain(|job| !jobs.contains(job));
        self.start_granted(&key, granted.into_iter().collect()).await?;
        Ok(change.group)
    }

    /// Returns the holders that have ended although nobody released their places, and starts those that nobody started: a process
    /// may have died. `own` are jobs that the caller starts.
    async fn check_holders(&self, group: &JobGroup, own: &[JobId]) -> Result<Vec<JobId>> {
        let holders: Vec<JobId> = group.holders.iter().map(|member| member.job).collect();
        let mut ended = Vec::new();
        for (job, node) in holders.iter().zip(self.job_nodes(&holders).await?) {
            match node {
                _ if has_ended(node.as_ref()) => ended.push(*job),
                Some(node) if node.state.status() == Some(JobStatus::Pending) && !own.contains(job) => {
                    self.start_job(node.key).await;
                }
                _ => {}
            }
        }
        Ok(ended)
    }

    /// Releases the places of jobs that have ended, or removes them from the waiting list, and starts the jobs that get a place.
    pub(super) async fn release_places(&self, execution: ExecutionId, jobs: JobsByGroup) {
        for (group, jobs) in jobs {
            if let Err(error) = self.release_in_group(execution, &group.group, &jobs).await {
                // The jobs that wait for these places check them later.
                tracing::warn!(%execution, %error, "cannot release places of a concurrency group; the sweep does");
            }
        }
    }

    async fn release_in_group(&self, execution: ExecutionId, group: &str, jobs: &[JobId]) -> Result<()> {
        let execution = self.cached_execution(execution).await?;
        let key = group_key(&execution.spec, group)?;
        let change = self.change_job_group(&key, GroupEvent::Ended(jobs)).await?;
        self.start_granted(&key, change.granted).await
    }

    /// Releases the places of those of these nodes whose jobs have ended since they requested them.
    pub(super) async fn release_ended(&self, requested: Vec<NodeKey>) -> Result<()> {
        let Some(NodeKey { execution, .. }) = requested.first().copied() else { return Ok(()) };
        let ixs: Vec<u32> = requested.iter().map(|key| key.ix).collect();
        let mut jobs = JobsByGroup::new();
        for node in self.stores.records.nodes(execution, &ixs).await? {
            if let (true, Some(group), Some(job)) =
                (has_ended(Some(&node)), node.spec.concurrency, node.spec.job)
            {
                jobs.entry(group).or_default().push(job);
            }
        }
        self.release_places(execution, jobs).await;
        Ok(())
    }

    /// Starts jobs that got a place. The places of those that have ended in the meantime go to the next ones.
    async fn start_granted(&self, key: &DocumentKey, mut granted: Vec<JobId>) -> Result<()> {
        while !granted.is_empty() {
            let mut ended = Vec::new();
            for (job, node) in granted.iter().zip(self.job_nodes(&granted).await?) {
                match node.filter(|node| !has_ended(Some(node))) {
                    Some(node) => self.start_job(node.key).await,
                    None => ended.push(*job),
                }
            }
            if ended.is_empty() {
                return Ok(());
            }
            granted = self.change_job_group(key, GroupEvent::Ended(&ended)).await?.granted;
        }
        Ok(())
    }

    /// Runs the next step of a job that has a place. If this fails, the sweep runs it.
    async fn start_job(&self, node: NodeKey) {
        if let Err(error) = Box::pin(self.advance(node.execution, vec![node.ix])).await {
            tracing::warn!(execution = %node.execution, %error, "cannot start the next job of a concurrency group; the sweep does");
        }
    }

    /// Returns the nodes of jobs, in order; `None` for those that are not recorded.
    async fn job_nodes(&self, jobs: &[JobId]) -> Result<Vec<Option<Node>>> {
        let mut nodes = Vec::with_capacity(jobs.len());
        for batch in jobs.chunks(READ_BATCH) {
            let read = join_all(batch.iter().map(|job| self.stores.records.job(*job))).await;
            nodes.extend(read.into_iter().collect::<Result<Vec<_>>>()?);
        }
        Ok(nodes)
    }

    /// Applies an event to the record of a group. The write is repeated if another one was faster.
    async fn change_job_group(&self, key: &DocumentKey, event: GroupEvent<'_>) -> Result<GroupChange> {
        let documents = &self.stores.documents;
        for _ in 0..MAX_CONFLICTS {
            let document = documents.get(key).await?;
            let group =
                document.as_ref().map(|document| parse(&document.value)).transpose()?.unwrap_or_default();
            let version = document.map(|document| document.version);
            let change = change_group(&group, event, self.now());
            if change.group == group {
                return Ok(change);
            }
            let is_written = if change.group.is_empty() {
                documents.delete(key, version).await?
            } else {
                let value = serde_json::to_string(&change.group)
                    .map_err(|error| Error::storage("writing a concurrency group", error))?;
                let expires_at = Some(self.now().plus_ms(RETENTION_MS));
                let new = NewDocument { key: key.clone(), value, due_at: None, expires_at };
                documents.put(new, version).await?
            };
            if is_written {
                return Ok(change);
            }
        }
        Err(Error::Conflict("a concurrency group changes too fast; try again".into()))
    }

    /// Returns what jobs of an execution wait for that wait for places, by their indices.
    pub(super) async fn place_waits(
        &self,
        spec: &ExecutionSpec,
        nodes: &[Node],
    ) -> Result<BTreeMap<u32, JobWait>> {
        let mut waiting: BTreeMap<&JobConcurrency, Vec<(u32, JobId)>> = BTreeMap::new();
        let is_waiting =
            |node: &&Node| node.waits_for == 0 && node.state.status() == Some(JobStatus::Pending);
        for node in nodes.iter().filter(is_waiting) {
            if let (Some(group), Some(job)) = (&node.spec.concurrency, node.spec.job) {
                waiting.entry(group).or_default().push((node.key.ix, job));
            }
        }
        let (mut waits, now) = (BTreeMap::new(), self.now());
        for (concurrency, jobs) in waiting.into_iter().take(MAX_SHOWN_GROUPS) {
            let key = group_key(spec, &concurrency.group)?;
            let Some(document) = self.stores.documents.get(&key).await? else { continue };
            let group = parse(&document.value)?;
            let holders = self.shown_holders(&group).await?;
            for (ix, job) in jobs.into_iter().filter(|(_, job)| !group.has_place(*job)) {
                let position = group.position(job);
                let member = position.and_then(|position| group.waiting.get(position));
                let delayed_until = member.map(|member| member.since).filter(|since| *since > now);
                let wait = PlaceWait {
                    group: concurrency.group.clone(),
                    limit: concurrency.limit,
                    position: position.and_then(|position| u32::try_from(position + 1).ok()),
                    holders: holders.clone(),
                };
                waits.insert(ix, delayed_until.map_or(JobWait::Place(wait), JobWait::Until));
            }
        }
        Ok(waits)
    }

    async fn shown_holders(&self, group: &JobGroup) -> Result<Vec<GroupHolder>> {
        let shown: Vec<JobId> =
            group.holders.iter().take(MAX_SHOWN_HOLDERS).map(|member| member.job).collect();
        let mut holders = Vec::with_capacity(shown.len());
        for node in self.job_nodes(&shown).await?.into_iter().flatten() {
            let execution = self.cached_execution(node.key.execution).await?;
            holders.push(GroupHolder {
                execution_id: execution.spec.id,
                run_number: execution.run_number,
                pipeline_name: execution.spec.pipeline_name.clone(),
                job_name: node.spec.name,
            });
        }
        Ok(holders)
    }
}

fn parse(value: &str) -> Result<JobGroup> {
    serde_json::from_str(value).map_err(|error| Error::storage("reading a concurrency group", error))
}
