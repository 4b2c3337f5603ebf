//! JobExecutionService: gives attempts to workers, takes their reports, cancels jobs, shows logs.

use super::{
    assignment,
    claim::{Asked, Claim, claim},
    context::{Context, job_of},
    secrets::SecretService,
    turn::happen,
};
use crate::{
    error::{Error, Result},
    ports::{JobItem, Node},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use std::{io::Read, sync::Arc, time::Duration};
use tidemill_core::{
    api::{AttemptEnd, CancelReply, JobExecuteReply, JobExecuteRequest, JobReport, JobReportReply, LogBytes},
    assignment::{Assignment, Extras, LeaseGrant},
    failure::{FailureKind, FailureReason},
    ids::{JobId, LeaseToken},
    transition::{JobEvent, Refusal},
};
use tokio::{sync::oneshot, time::Instant};
use uuid::Uuid;

/// A message that was received but not taken (its receiver died) shows again after this time.
const HIDE_MS: u64 = 10_000;
const MOST_LOOKAHEAD: u32 = 32;
const MOST_TRIES: u32 = 1_000;
/// How often in a row (some minutes, as the pauses grow) the server may fail to say what a job runs before that counts
/// as a failure of the attempt, so that a job that cannot be described ends.
const MOST_UNSAID: u32 = 10;
/// The most log bytes of one report, unpacked.
const MOST_LOG_BYTES: u32 = 8 << 20;
/// log2 of the most memory that unpacking them may look back on: as much as there can be. A few bytes could else have 128
/// MiB set aside for them.
const LOG_WINDOW: u32 = 23;

/// Part of an attempt's log.
#[derive(Debug, Clone)]
pub struct LogPart {
    /// The bytes.
    pub bytes: Bytes,
    /// The offset after them.
    pub next: u64,
    /// Whether no more will come.
    pub end: bool,
}

/// Jobs.
#[derive(Debug, Clone)]
pub struct JobExecutionService {
    context: Arc<Context>,
    secrets: SecretService,
}

/// What became of an id that a worker received.
enum Claimed {
    /// It holds the lease now.
    Given(Box<JobExecuteReply>, LeaseToken),
    /// There is nothing to do for it.
    Nothing(String),
}

impl JobExecutionService {
    pub(crate) fn new(context: Arc<Context>, secrets: SecretService) -> Self {
        Self { context, secrets }
    }

    /// An attempt for a worker: of the job that it names, or of any that is ready, waiting for one if asked to. Should
    /// the worker hang up meanwhile, the job goes back to the queue at once.
    pub async fn execute(&self, request: JobExecuteRequest) -> Result<JobExecuteReply> {
        if request.job_id.is_some() {
            // Who names a job can ask for the same attempt again, should it miss the reply.
            return Ok(match self.next(request).await? {
                Claimed::Given(reply, _) => *reply,
                Claimed::Nothing(reason) => JobExecuteReply::Nothing { reason },
            });
        }
        let (give, given) = oneshot::channel();
        let service = self.clone();
        tokio::spawn(async move { service.serve(request, give).await });
        given.await.map_err(|error| Error::storage("giving a job to a worker", error))?
    }

    async fn serve(&self, request: JobExecuteRequest, mut give: oneshot::Sender<Result<JobExecuteReply>>) {
        let worker = request.worker.name.clone();
        let claimed = tokio::select! {
            // A claim under way is always carried through: only the wait for a message is given up.
            claimed = self.next(request) => claimed,
            () = give.closed() => return,
        };
        let (reply, held) = match claimed {
            Ok(Claimed::Given(reply, token)) => (Ok(*reply), Some(token)),
            Ok(Claimed::Nothing(reason)) => (Ok(JobExecuteReply::Nothing { reason }), None),
            Err(error) => (Err(error), None),
        };
        let Err(reply) = give.send(reply) else { return };
        if let (Ok(JobExecuteReply::Assigned { assignment, .. }), Some(token)) = (reply, held) {
            let job = assignment.preparation.job_id;
            let words = format!("worker `{worker}` hung up before it got the job");
            let reason = FailureReason::new(FailureKind::GivenBack, words);
            if let Err(error) = self.end_unbegun(job, token, reason).await {
                tracing::warn!(%job, %error, "the job waits for its lease to run out");
            }
        }
    }

    async fn next(&self, request: JobExecuteRequest) -> Result<Claimed> {
        if let Some(job) = request.job_id {
            let Some(node) = self.context.stores.records.job(job).await? else {
                // Its execution is gone for good: a message about it is of no more use.
                return Ok(Claimed::Nothing(format!("there is no job {job}")));
            };
            return self.claim(node, &request).await;
        }
        if !self.context.settings.gives_any_job {
            return Err(Error::Invalid(
                "this deployment's workers take the ids of jobs from its queue: start the worker with --queue".into(),
            ));
        }
        let queue = &self.context.stores.queue;
        let most = self.context.settings.longest_wait_ms;
        let deadline = Instant::now() + Duration::from_millis(request.wait_ms.min(most));
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let received = tokio::select! {
                received = queue.receive(request.execution_id, &request.labels, HIDE_MS, left) => received?,
                () = self.context.closing.cancelled() => None,
            };
            let Some(message) = received else { return Ok(Claimed::Nothing("no job is ready".into())) };
            let node = self.context.node(message.node).await;
            let claimed = match node {
                Ok(node) => self.claim(node, &request).await,
                Err(error) => Err(error),
            };
            match claimed {
                Ok(claim) => {
                    let queue = queue.clone();
                    // The lease is held: what is left of the message is nobody's wait.
                    tokio::spawn(async move {
                        if let Err(error) = queue.delete(&message).await {
                            tracing::warn!(%error, "a taken message shows once more");
                        }
                    });
                    if let Claimed::Given(..) = claim {
                        return Ok(claim);
                    }
                }
                Err(error) => {
                    queue.give_back(&message).await?;
                    return Err(error);
                }
            }
        }
    }

    async fn claim(&self, found: Node, request: &JobExecuteRequest) -> Result<Claimed> {
        let ttl_ms = self.context.settings.lease_ttl_ms;
        let (worker, lookahead) = (&request.worker, request.lookahead.min(MOST_LOOKAHEAD));
        let key = found.key;
        let mut found = Some(found);
        for _ in 0..MOST_TRIES {
            let node = match found.take() {
                Some(node) => node,
                None => self.context.node(key).await?,
            };
            let shape = self.context.shape(key.execution).await?;
            let state = self.context.stores.records.execution_state(key.execution).await?;
            let (state, if_version) =
                state.ok_or_else(|| Error::NotFound(format!("there is no execution {}", key.execution)))?;
            let token = request.lease.unwrap_or_else(|| self.context.stores.ids.lease());
            let asked = Asked { worker: &worker.name, token, ttl_ms, labels: &request.labels };
            let demands = shape.spec.demands_of(key.ix);
            let (moved, token) = match claim(&node, (&state, if_version), demands, asked, self.context.now())
            {
                Claim::TakeOver => {
                    // Who asks for it was given its message again: there is no need to wait for the sweep.
                    self.context.settle(key.execution, vec![key.ix]).await?;
                    continue;
                }
                Claim::Held(token) => {
                    let attempt = job_of(&node)?.job.attempt;
                    let reply = self.assign(&node, &shape, token, attempt, lookahead).await?;
                    return Ok(Claimed::Given(Box::new(reply), token));
                }
                Claim::Take(moved, token) => (moved, token),
                Claim::Nothing(reason) => return Ok(Claimed::Nothing(reason)),
            };
            if self.context.commit_event(moved, &node).await?.is_none() {
                continue;
            }
            let item = job_of(&node)?;
            let made = self.assign(&node, &shape, token, item.job.attempt + 1, lookahead).await;
            return match made {
                Ok(reply) => Ok(Claimed::Given(Box::new(reply), token)),
                Err(Error::NoSecret(words)) => {
                    let job = node.spec.job.unwrap_or(JobId(Uuid::nil()));
                    let reason = FailureReason::new(FailureKind::SecretUnavailable, words.clone());
                    self.end_unbegun(job, token, reason).await?;
                    Ok(Claimed::Nothing(words))
                }
                Err(error) => {
                    let job = node.spec.job.unwrap_or(JobId(Uuid::nil()));
                    let words = format!("the server could not say what to run: {}", error.report().words);
                    let lasting = item.job.give_backs_in_a_row() >= MOST_UNSAID;
                    let kind = if lasting { FailureKind::Internal } else { FailureKind::GivenBack };
                    self.end_unbegun(job, token, FailureReason::new(kind, words)).await?;
                    Err(error)
                }
            };
        }
        Err(Error::Conflict("the job changes too fast to be given; try again".into()))
    }

    async fn assign(
        &self,
        node: &Node,
        execution: &crate::ports::ExecutionRecord,
        token: LeaseToken,
        attempt: u32,
        lookahead: u32,
    ) -> Result<JobExecuteReply> {
        let records = &self.context.stores.records;
        let id = node.key.execution;
        let spec = self.context.spec(id, node.key.ix).await?;
        let mut needs_artifacts = assignment::artifacts_for(&self.context, execution, &spec.planned).await?;
        for artifact in &mut needs_artifacts {
            // A worker's token alone gets no artifact.
            artifact.url = format!("{}?job={}&lease={token}", artifact.url, spec.id);
        }
        let lease = LeaseGrant { token, ttl_ms: self.context.settings.lease_ttl_ms };
        let (planned, of) = (&spec.planned, &execution.spec);
        let extras = Extras {
            secrets: self.secrets.of_job(execution, &planned.name, &planned.surroundings).await?,
            may_keep_caches: !of.facts.is_from_fork(),
            ..assignment::extras(&spec)
        };
        let assignment = Assignment {
            preparation: assignment::preparation(execution, &spec),
            variables: assignment::variables(execution, &spec, attempt),
            job_name: spec.planned.name,
            stage: spec.planned.stage,
            attempt,
            lease,
            script: spec.planned.script,
            timeout_s: spec.planned.timeout_s,
            artifacts: spec.planned.artifacts,
            needs_artifacts,
            trace: execution.spec.trace.clone(),
            extras,
        };
        let mut upcoming = Vec::new();
        if lookahead > 0 {
            let next = records.upcoming(id, node.key.ix, lookahead as usize).await?;
            let specs = self.context.specs(id).await?;
            let specs = next.iter().filter_map(|ix| specs.get(*ix as usize));
            upcoming = specs.map(|spec| assignment::preparation(execution, spec)).collect();
        }
        Ok(JobExecuteReply::Assigned { assignment: Box::new(assignment), upcoming })
    }

    /// Ends an attempt that no worker has begun.
    async fn end_unbegun(&self, job: JobId, token: LeaseToken, reason: FailureReason) -> Result<()> {
        let end = Some(AttemptEnd { failure: Some(reason), exit_code: None });
        let report = JobReport { job_id: job, lease: token, log: None, phase: None, steps: Vec::new(), end };
        self.report(report).await.map(drop)
    }

    /// Takes a report: stores its log bytes, renews the lease or ends the attempt. All of it is durable when this
    /// returns.
    pub async fn report(&self, report: JobReport) -> Result<JobReportReply> {
        let log = report.log.as_ref().map(unpack).transpose()?;
        let found = self.context.job(report.job_id).await?;
        let key = found.key;
        let mut found = Some(found);
        let ttl_ms = self.context.settings.lease_ttl_ms;
        for _ in 0..MOST_TRIES {
            let node = match found.take() {
                Some(node) => node,
                None => self.context.node(key).await?,
            };
            let mut item = job_of(&node)?.clone();
            if !item.job.holds(report.lease) {
                return Err(lease_lost(report.job_id));
            }
            if report.is_bare()
                && let Some(left_ms) = self.lasts(&item)
            {
                let cancel = item.job.cancel_requested;
                return Ok(JobReportReply { cancel, log_bytes: item.log_bytes, lease_ttl_ms: left_ms });
            }
            if let Some((offset, bytes)) = &log {
                let max = self.context.settings.max_log_bytes;
                if offset.saturating_add(bytes.len() as u64) > max {
                    // Its worker should have stopped it: it is not to be trusted with more.
                    let words = format!("the log has more than {max} bytes, the most that the server keeps");
                    let reason = FailureReason::new(FailureKind::LogLimit, &words);
                    self.end_attempt(&node, &item, report.lease, reason).await?;
                    return Err(Error::LeaseLost(words));
                }
                let logs = &self.context.stores.logs;
                match logs.append(report.job_id, item.job.attempt, *offset, bytes).await {
                    Ok(stored) => item.log_bytes = stored,
                    Err(Error::DiskFull(doing)) => {
                        // A log that cannot be kept must not be run on without: the attempt is over, and says why.
                        let words = Error::DiskFull(doing).report().words;
                        let reason = FailureReason::new(FailureKind::DiskFull, &words);
                        self.end_attempt(&node, &item, report.lease, reason).await?;
                        return Err(Error::LeaseLost(words));
                    }
                    Err(error) => return Err(error),
                }
            }
            let (cancel, log_bytes) = (item.job.cancel_requested, item.log_bytes);
            let (token, steps) = (report.lease, report.steps.clone());
            let event = match report.end.clone() {
                Some(end) => JobEvent::End { token, end, steps },
                None => JobEvent::Heartbeat { token, ttl_ms, phase: report.phase.clone(), steps },
            };
            let moved = match happen(&node, &item, event, self.context.now()) {
                Ok(moved) => moved,
                Err(Refusal::LeaseLost) => return Err(lease_lost(report.job_id)),
                Err(refusal) => return Err(Error::Conflict(refusal.to_string())),
            };
            if self.context.commit_event(moved, &node).await?.is_some() {
                if report.end.is_some() && log_bytes > 0 {
                    self.context.finish_log(report.job_id, item.job.attempt).await;
                }
                // A canceled job's lease is not renewed.
                let lease_ttl_ms = if cancel { self.left_ms(&item).unwrap_or(0) } else { ttl_ms };
                return Ok(JobReportReply { cancel, log_bytes, lease_ttl_ms });
            }
        }
        Err(Error::Conflict(format!("job {} changes too fast; report again", report.job_id)))
    }

    fn left_ms(&self, item: &JobItem) -> Option<u64> {
        item.job.lease.as_ref().map(|lease| lease.left_ms(self.context.now()))
    }

    /// The milliseconds that a job's lease has left, if a mere sign of life need not renew it.
    fn lasts(&self, item: &JobItem) -> Option<u64> {
        let now = self.context.now();
        let lease = item.job.lease.as_ref()?;
        (!lease.is_renewal_due(self.context.settings.lease_ttl_ms, now)).then(|| lease.left_ms(now))
    }

    /// Ends a queued job whose message came back from the queue too often. False: it is not queued any more.
    pub async fn give_up(&self, job: JobId) -> Result<bool> {
        let Some(found) = self.context.stores.records.job(job).await? else { return Ok(false) };
        let key = found.key;
        let mut found = Some(found);
        for _ in 0..MOST_TRIES {
            let node = match found.take() {
                Some(node) => node,
                None => self.context.node(key).await?,
            };
            let item = job_of(&node)?;
            let Ok(moved) = happen(&node, item, JobEvent::Undeliverable, self.context.now()) else {
                return Ok(false);
            };
            if self.context.commit_event(moved, &node).await?.is_some() {
                return Ok(true);
            }
        }
        Err(Error::Conflict(format!("job {job} changes too fast to be given up")))
    }

    /// Ends an attempt that its worker must not go on with.
    async fn end_attempt(
        &self,
        node: &Node,
        item: &JobItem,
        token: LeaseToken,
        reason: FailureReason,
    ) -> Result<()> {
        let end = AttemptEnd { failure: Some(reason), exit_code: None };
        let event = JobEvent::End { token, end, steps: Vec::new() };
        if let Ok(moved) = happen(node, item, event, self.context.now()) {
            // A conflict: the job moved on meanwhile, which ends this attempt as well, or its next report will.
            self.context.commit_event(moved, node).await?;
        }
        Ok(())
    }

    /// The repository of a job's execution.
    pub async fn repo(&self, job: JobId) -> Result<String> {
        let node = self.context.job(job).await?;
        Ok(self.context.shape(node.key.execution).await?.spec.repo.clone())
    }

    /// Cancels one job. When this returns, no new attempt of it starts.
    pub async fn cancel(&self, job: JobId) -> Result<CancelReply> {
        let key = self.context.job(job).await?.key;
        for _ in 0..MOST_TRIES {
            let node = self.context.node(key).await?;
            let item = job_of(&node)?;
            let status = item.job.status;
            let Ok(moved) = happen(&node, item, JobEvent::Cancel, self.context.now()) else {
                return Ok(CancelReply { canceled: false, status: status.word().into() });
            };
            if self.context.commit_event(moved, &node).await?.is_some() {
                let status = job_of(&self.context.node(key).await?)?.job.status;
                return Ok(CancelReply { canceled: true, status: status.word().into() });
            }
        }
        Err(Error::Conflict(format!("job {job} changes too fast to be canceled; try again")))
    }

    /// Log bytes of an attempt (`None`: the current one) from `offset`, at most `limit`; held up to `wait_ms` until
    /// there are some, or no more will come.
    pub async fn logs(
        &self,
        job: JobId,
        attempt: Option<u32>,
        offset: u64,
        limit: usize,
        wait_ms: u64,
    ) -> Result<LogPart> {
        let found = self.context.job(job).await?;
        let key = found.key;
        let mut found = Some(found);
        let limit = limit.clamp(1, self.context.settings.most_log_reply);
        let mut hold = self.context.hold(wait_ms);
        loop {
            // The state first: what is over then has all its bytes stored before.
            let node = match found.take() {
                Some(node) => node,
                None => self.context.node(key).await?,
            };
            let item = job_of(&node)?;
            let current = item.job.attempt;
            let wanted = attempt.unwrap_or(current);
            if wanted > current {
                return Err(Error::NotFound(format!("job {job} has no attempt {wanted} yet")));
            }
            let over = item.job.status.is_terminal() || wanted < current;
            let (owner, wanted) = match item.carried_from {
                Some(from) => (from, item.carried_attempt),
                None => (job, wanted),
            };
            let (bytes, stored) = self.context.stores.logs.read(owner, wanted, offset, limit).await?;
            let next = offset + bytes.len() as u64;
            let part = LogPart { end: over && next >= stored, next, bytes };
            if part.end || !part.bytes.is_empty() || !hold.changed().await {
                return Ok(part);
            }
        }
    }
}

fn lease_lost(job: JobId) -> Error {
    Error::LeaseLost(format!(
        "this lease on job {job} is not valid (any more): the job was given to another worker, canceled, or is over"
    ))
}

/// The offset and the bytes of a report's log.
pub(crate) fn unpack(log: &LogBytes) -> Result<(u64, Vec<u8>)> {
    let wrong = |what: &str| Error::Invalid(format!("the report's log {what}"));
    if log.length > MOST_LOG_BYTES {
        return Err(wrong(&format!("has {} bytes; a report carries at most {MOST_LOG_BYTES}", log.length)));
    }
    let packed =
        STANDARD.decode(&log.zstd_base64).map_err(|error| wrong(&format!("is not base64: {error}")))?;
    let mut bytes = Vec::new();
    zstd::stream::read::Decoder::new(packed.as_slice())
        .and_then(|mut decoder| {
            decoder.window_log_max(LOG_WINDOW)?;
            decoder.take(u64::from(log.length) + 1).read_to_end(&mut bytes)
        })
        .map_err(|error| wrong(&format!("is not zstd: {error}")))?;
    if bytes.len() != log.length as usize {
        return Err(wrong(&format!("does not unpack to the {} bytes that it names", log.length)));
    }
    Ok((log.offset, bytes))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{LogBytes, MOST_LOG_BYTES, STANDARD, unpack};
    use base64::Engine as _;

    fn log(packed: &[u8], length: u32) -> LogBytes {
        LogBytes { offset: 7, length, zstd_base64: STANDARD.encode(packed) }
    }

    #[test]
    fn a_log_unpacks_to_what_it_names_or_is_refused() {
        let packed = zstd::encode_all(&[b'x'; 1000][..], 1).unwrap();
        assert_eq!(unpack(&log(&packed, 1000)).unwrap(), (7, vec![b'x'; 1000]));
        for (packed, length) in [
            (packed.as_slice(), 999),
            (&packed, 1001),
            (&packed, MOST_LOG_BYTES + 1),
            (&packed[..packed.len() - 1], 1000),
            (b"no zstd", 7),
            (b"", 1),
        ] {
            assert!(unpack(&log(packed, length)).is_err(), "{length} of {packed:?}");
        }
        assert!(unpack(&LogBytes { offset: 0, length: 1, zstd_base64: "%".into() }).is_err());
        let bomb = zstd::encode_all(&vec![0; 64 << 20][..], 19).unwrap();
        assert!(bomb.len() < 16 << 10 && unpack(&log(&bomb, MOST_LOG_BYTES)).is_err());
    }

    #[test]
    fn a_log_that_would_have_much_memory_set_aside_is_refused() {
        // A frame's header alone: its window is 128 MiB. An empty last block follows.
        let header = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 17 << 3, 0x01, 0x00, 0x00];
        assert_eq!(zstd::decode_all(&header[..]).unwrap(), b"", "it is right otherwise");
        assert!(unpack(&log(&header, 0)).is_err());
        let most = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 13 << 3, 0x01, 0x00, 0x00];
        assert_eq!(unpack(&log(&most, 0)).unwrap().1, b"");
    }
}
