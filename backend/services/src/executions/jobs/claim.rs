//! Assigns attempts to workers.

use super::service::{JobExecutionService, MAX_ATTEMPTS};
use crate::{
    context::service_context::job_of,
    error::{Error, Result},
    ports::{Message, Node},
};
use std::time::Duration;
use tidemill_core::execution::{
    cost::MAX_SLOT_PRICE,
    failure::{FailureKind, FailureReason},
};
use tidemill_core::{
    api::{JobExecuteReply, JobExecuteRequest},
    ids::{ExecutionId, JobId, LeaseToken},
    scheduler::{ClaimDecision, ClaimRequest, claim},
};
use tokio::{sync::oneshot, time::Instant};
use uuid::Uuid;

/// A received message whose receiver died becomes visible again after this time.
const VISIBILITY_TIMEOUT_MS: u64 = 10_000;
/// How often a worker that runs only one execution is offered the jobs of its children.
const CHILD_POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Maximum number of messages that one request receives from a queue in the cloud: after a cancel, all of them may be of jobs that
/// have ended.
const MAX_MESSAGES: usize = 50;
/// Maximum number of upcoming jobs in a reply.
const MAX_LOOKAHEAD: u32 = 32;
/// Number of consecutive failed assignments (some minutes, as the pauses grow) after which they fail the attempt, so that a job that
/// cannot be assigned ends.
const MAX_FAILED_ASSIGNMENTS: u32 = 10;

/// What the queue had for a worker.
enum ReceivedMessage {
    Message(Message),
    /// Nothing yet; children may be started meanwhile.
    PollAgain,
    Nothing,
}

/// Outcome of a claim.
enum ClaimOutcome {
    /// The worker holds the lease.
    Assigned(Box<JobExecuteReply>, LeaseToken),
    /// There is nothing to run; holds the reason.
    Nothing(String),
}

impl JobExecutionService {
    /// Assigns an attempt to a worker: of the job that it names, or of any queued job, for which it waits if requested. If the worker
    /// disconnects meanwhile, the job returns to the queue at once.
    pub async fn execute(&self, request: JobExecuteRequest) -> Result<JobExecuteReply> {
        if request.slot_price > MAX_SLOT_PRICE {
            return Err(Error::Invalid(format!(
                "`slot_price` is {}; it is at most {MAX_SLOT_PRICE} millionths of a dollar for an hour",
                request.slot_price
            )));
        }
        if request.job_id.is_some() {
            // A worker that names a job can repeat the request if it misses the reply.
            return Ok(match self.next_attempt(request).await? {
                ClaimOutcome::Assigned(reply, _) => *reply,
                ClaimOutcome::Nothing(reason) => JobExecuteReply::Nothing { reason },
            });
        }
        let (sender, receiver) = oneshot::channel();
        let service = self.clone();
        tokio::spawn(async move { service.serve_any_job(request, sender).await });
        receiver.await.map_err(|error| Error::storage("assigning a job to a worker", error))?
    }

    async fn serve_any_job(
        &self,
        request: JobExecuteRequest,
        mut sender: oneshot::Sender<Result<JobExecuteReply>>,
    ) {
        let worker = request.worker.name.clone();
        let claimed = tokio::select! {
            // A claim in progress always completes; only the wait for a message is abandoned.
            claimed = self.next_attempt(request) => claimed,
            () = sender.closed() => return,
        };
        let (reply, held) = match claimed {
            Ok(ClaimOutcome::Assigned(reply, token)) => (Ok(*reply), Some(token)),
            Ok(ClaimOutcome::Nothing(reason)) => (Ok(JobExecuteReply::Nothing { reason }), None),
            Err(error) => (Err(error), None),
        };
        let Err(reply) = sender.send(reply) else { return };
        if let (Ok(JobExecuteReply::Assigned { assignment, .. }), Some(token)) = (reply, held) {
            let job = assignment.preparation.job_id;
            let message = format!("worker `{worker}` disconnected before it received the job");
            let reason = FailureReason::new(FailureKind::GivenBack, message);
            if let Err(error) = self.end_unstarted(job, token, reason).await {
                tracing::warn!(%job, %error, "cannot give the job back; it waits until its lease expires");
            }
        }
    }

    async fn next_attempt(&self, request: JobExecuteRequest) -> Result<ClaimOutcome> {
        if let Some(job) = request.job_id {
            let Some(node) = self.context.stores.records.job(job).await? else {
                // The execution was removed, so the message is obsolete.
                return Ok(ClaimOutcome::Nothing(format!("there is no job {job}")));
            };
            return Box::pin(self.claim(node, &request)).await;
        }
        let queue = &self.context.stores.queue;
        let max_wait_ms = self.context.settings.max_wait_ms;
        let deadline = Instant::now() + Duration::from_millis(request.wait_ms.min(max_wait_ms));
        let max_messages =
            if self.context.settings.continues_after_reply { usize::MAX } else { MAX_MESSAGES };
        for _ in 0..max_messages {
            let left = deadline.saturating_duration_since(Instant::now());
            let received = tokio::select! {
                received = self.receive(&request, left) => received?,
                () = self.context.shutdown.cancelled() => ReceivedMessage::Nothing,
            };
            let message = match received {
                ReceivedMessage::Message(message) => message,
                ReceivedMessage::PollAgain if !left.is_zero() => continue,
                ReceivedMessage::PollAgain | ReceivedMessage::Nothing => {
                    return Ok(ClaimOutcome::Nothing("no job is ready".into()));
                }
            };
            let node = self.context.node(message.node).await;
            let claimed = match node {
                Ok(node) => Box::pin(self.claim(node, &request)).await,
                Err(error) => Err(error),
            };
            match claimed {
                Ok(claim) => {
                    let queue = queue.clone();
                    let delete = async move {
                        if let Err(error) = queue.delete(&message).await {
                            tracing::warn!(%error, "cannot remove a received message; it is delivered once more");
                        }
                    };
                    if self.context.settings.continues_after_reply {
                        // The worker holds the lease, so the reply does not wait for the removal of the message.
                        tokio::spawn(delete);
                    } else {
                        delete.await;
                    }
                    if let ClaimOutcome::Assigned(..) = claim {
                        return Ok(claim);
                    }
                }
                Err(error) => {
                    queue.give_back(&message).await?;
                    return Err(error);
                }
            }
        }
        Ok(ClaimOutcome::Nothing("the jobs of the first messages have ended or are taken; ask again".into()))
    }

    /// Receives a message, of one execution and those below it if the worker wants only these.
    async fn receive(&self, request: &JobExecuteRequest, left: Duration) -> Result<ReceivedMessage> {
        let (queue, labels) = (&self.context.stores.queue, &request.labels);
        let only = request.execution_id;
        let below = match only {
            Some(id) => self.context.live_descendants(id).await?,
            None => None,
        };
        for child in below.iter().flatten() {
            let received = queue.receive(Some(*child), labels, VISIBILITY_TIMEOUT_MS, Duration::ZERO).await?;
            if let Some(message) = received {
                return Ok(ReceivedMessage::Message(message));
            }
        }
        // Others may be started meanwhile.
        let wait = if below.is_some() { left.min(CHILD_POLL_INTERVAL) } else { left };
        let received = queue.receive(only, labels, VISIBILITY_TIMEOUT_MS, wait).await?;
        Ok(match received {
            Some(message) => ReceivedMessage::Message(message),
            None if below.is_some() => ReceivedMessage::PollAgain,
            None => ReceivedMessage::Nothing,
        })
    }

    /// Whether the cancel of an execution is recorded.
    async fn is_canceled(&self, id: ExecutionId) -> Result<bool> {
        let state = self.context.stores.records.execution_state(id).await?;
        Ok(state.is_some_and(|(state, _)| state.cancel_requested))
    }

    async fn claim(&self, prefetched: Node, request: &JobExecuteRequest) -> Result<ClaimOutcome> {
        let ttl_ms = self.context.settings.lease_ttl_ms;
        let (worker, lookahead) = (&request.worker, request.lookahead.min(MAX_LOOKAHEAD));
        let key = prefetched.key;
        let mut prefetched = Some(prefetched);
        for _ in 0..MAX_ATTEMPTS {
            let node = match prefetched.take() {
                Some(node) => node,
                None => self.context.node(key).await?,
            };
            let execution = self.context.cached_execution(key.execution).await?;
            let state = self.context.stores.records.execution_state(key.execution).await?;
            let (state, if_version) =
                state.ok_or_else(|| Error::NotFound(format!("there is no execution {}", key.execution)))?;
            let token = request.lease.unwrap_or_else(|| self.context.stores.ids.lease());
            let claimant = ClaimRequest {
                worker: &worker.name,
                token,
                ttl_ms,
                labels: &request.labels,
                slot_price: request.slot_price,
            };
            let demands = execution.spec.required_labels(key.ix);
            let (transition, token) =
                match claim(&node, (&state, if_version), demands, claimant, self.context.now()) {
                    ClaimDecision::ExpireFirst => {
                        // The lease has expired and the message was delivered again: do not wait for the sweep.
                        self.context.advance(key.execution, vec![key.ix]).await?;
                        continue;
                    }
                    ClaimDecision::AlreadyHeld(token) => {
                        let attempt = job_of(&node)?.job.attempt;
                        let reply = self.assign(&node, &execution, token, attempt, lookahead).await?;
                        return Ok(ClaimOutcome::Assigned(Box::new(reply), token));
                    }
                    ClaimDecision::Grant(transition, token) => (transition, token),
                    ClaimDecision::NotClaimable(reason) => return Ok(ClaimOutcome::Nothing(reason)),
                };
            if self.context.commit_transition(transition, &node).await?.is_none() {
                continue;
            }
            let item = job_of(&node)?;
            let waiting_since = item.job.attempts.last().map(|last| last.ended_at).or(item.job.queued_at);
            let waited =
                waiting_since.max(item.job.not_before).map(|since| self.context.now().since_ms(since));
            self.context.metrics.attempt_started(waited);
            if self.context.is_large(execution.spec.jobs) && self.is_canceled(key.execution).await? {
                // The cancel was acknowledged before it reached this job, perhaps before this claim.
                let job = node.spec.job.unwrap_or(JobId(Uuid::nil()));
                let reason = FailureReason::new(FailureKind::GivenBack, "the execution was canceled");
                self.end_unstarted(job, token, reason).await?;
                return Ok(ClaimOutcome::Nothing("the execution was canceled".into()));
            }
            let assigned = self.assign(&node, &execution, token, item.job.attempt + 1, lookahead).await;
            return match assigned {
                Ok(reply) => Ok(ClaimOutcome::Assigned(Box::new(reply), token)),
                Err(error @ (Error::SecretUnavailable(_) | Error::NotApproved(_))) => {
                    let job = node.spec.job.unwrap_or(JobId(Uuid::nil()));
                    let kind = match error {
                        Error::NotApproved(_) => FailureKind::NotAllowed,
                        _ => FailureKind::SecretUnavailable,
                    };
                    let message = error.to_string();
                    let reason = FailureReason::new(kind, message.clone());
                    self.end_unstarted(job, token, reason).await?;
                    Ok(ClaimOutcome::Nothing(message))
                }
                Err(error) => {
                    let job = node.spec.job.unwrap_or(JobId(Uuid::nil()));
                    let message = format!("the server could not assign the job: {}", error.report().message);
                    let is_permanent = item.job.consecutive_give_backs() >= MAX_FAILED_ASSIGNMENTS;
                    let kind = if is_permanent { FailureKind::Internal } else { FailureKind::GivenBack };
                    self.end_unstarted(job, token, FailureReason::new(kind, message)).await?;
                    Err(error)
                }
            };
        }
        Err(Error::Conflict("the job changes too fast to be assigned; try again".into()))
    }
}
