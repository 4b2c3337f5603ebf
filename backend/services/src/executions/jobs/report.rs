//! Processes reports of workers.

use super::{
    log_bytes::{pack, unpack},
    log_times::check_marks,
    service::{JobExecutionService, MAX_ATTEMPTS},
};
use crate::{
    context::service_context::job_of,
    error::{Error, Result},
    ports::{JobRecord, Node},
};
use tidemill_core::execution::{
    failure::{FailureKind, FailureReason},
    outputs,
    transition::{JobEvent, TransitionError},
};
use tidemill_core::{
    api::{AttemptEnd, JobReport, JobReportReply},
    ids::{JobId, LeaseToken},
    pipeline::is_variable_name,
    scheduler::apply_event,
};

/// Larger logs, in bytes, are decompressed on the compute pool instead of the threads that serve requests.
const MAX_INLINE_UNPACK: u32 = 256 << 10;

impl JobExecutionService {
    /// Processes a report: stores its log bytes, and renews the lease or ends the attempt. All of it is durable on return.
    pub async fn report(&self, report: JobReport) -> Result<JobReportReply> {
        Box::pin(self.process(report)).await
    }

    async fn process(&self, report: JobReport) -> Result<JobReportReply> {
        let is_large = report.log.as_ref().is_some_and(|log| log.length > MAX_INLINE_UNPACK);
        let unpack = move || {
            let log = report.log.as_ref().map(unpack).transpose();
            (report, log)
        };
        let (report, log) =
            if is_large { self.context.compute("decompressing a log", unpack).await? } else { unpack() };
        let log = log?;
        let marks = report.log.as_ref().map(|log| log.marks.as_slice()).unwrap_or_default();
        check_marks(marks)?;
        if let Some(end) = &report.end {
            outputs::check(&end.outputs).map_err(|error| Error::Invalid(error.to_string()))?;
            let is_invalid = |name: &&String| !is_variable_name(name);
            if let Some(name) = end.outputs.keys().find(is_invalid) {
                return Err(Error::Invalid(format!("the output `{name}` is not the name of a variable")));
            }
        }
        let prefetched = self.context.job(report.job_id).await?;
        let key = prefetched.key;
        let mut prefetched = Some(prefetched);
        let ttl_ms = self.context.settings.lease_ttl_ms;
        for _ in 0..MAX_ATTEMPTS {
            let node = match prefetched.take() {
                Some(node) => node,
                None => self.context.node(key).await?,
            };
            let mut item = job_of(&node)?.clone();
            if !item.job.is_leased_to(report.lease) {
                return Err(lease_lost(report.job_id));
            }
            if report.is_heartbeat()
                && let Some(left_ms) = self.unrenewed_ms(&item)
            {
                return Ok(self.reply(report.job_id, &item, left_ms));
            }
            if let Some((offset, bytes)) = &log {
                let max = self.context.settings.max_log_bytes;
                if offset.saturating_add(bytes.len() as u64) > max {
                    // The worker should have enforced the limit, so it is not trusted to continue.
                    let message = format!("the log has more than {max} bytes, the limit of the server");
                    let reason = FailureReason::new(FailureKind::LogLimit, &message);
                    self.end_attempt(&node, &item, report.lease, reason).await?;
                    return Err(Error::LeaseLost(message));
                }
                let logs = &self.context.stores.logs;
                match logs.append(report.job_id, item.job.attempt, *offset, bytes).await {
                    Ok(stored) => {
                        item.log_bytes = stored;
                        self.store_marks(report.job_id, item.job.attempt, marks).await;
                    }
                    Err(Error::DiskFull(doing)) => {
                        // A job must not run without its log, so the attempt ends with the reason.
                        let message = Error::DiskFull(doing).report().message;
                        let reason = FailureReason::new(FailureKind::DiskFull, &message);
                        self.end_attempt(&node, &item, report.lease, reason).await?;
                        return Err(Error::LeaseLost(message));
                    }
                    Err(error) => return Err(error),
                }
            }
            if self.context.settings.report_pace.is_batched() {
                if !report.changes_state()
                    && let Some(left_ms) = self.unrenewed_ms(&item)
                {
                    return Ok(self.reply(report.job_id, &item, left_ms));
                }
                if report.end.is_some() && log.is_none() {
                    // Earlier reports may have added bytes without a change of the record.
                    item.log_bytes =
                        self.context.stores.logs.read(report.job_id, item.job.attempt, 0, 0).await?.1;
                }
            }
            let log_bytes = item.log_bytes;
            let (token, steps) = (report.lease, report.steps.clone());
            let event = match report.end.clone() {
                Some(end) => JobEvent::End { token, end, steps },
                None => JobEvent::Heartbeat { token, ttl_ms, phase: report.phase.clone(), steps },
            };
            let transition = match apply_event(&node, &item, event, self.context.now()) {
                Ok(transition) => transition,
                Err(TransitionError::LeaseLost) => return Err(lease_lost(report.job_id)),
                Err(refusal) => return Err(Error::Conflict(refusal.to_string())),
            };
            if self.context.commit_transition(transition, &node).await?.is_some() {
                if report.end.is_some() && log_bytes > 0 {
                    self.context.finish_log(report.job_id, item.job.attempt).await;
                }
                if report.end.is_some()
                    && node.spec.deploys
                    && let Err(error) = self.context.record_deployment_end(key).await
                {
                    tracing::warn!(job = %report.job_id, %error, "cannot record the end of a deployment; the sweep does");
                }
                self.context.metrics.log_received(log.as_ref().map_or(0, |(_, bytes)| bytes.len()));
                if let Some(end) = &report.end {
                    let (job, execution) = (report.job_id, key.execution);
                    let failure = end.failure.as_ref().map(|failure| failure.kind);
                    tracing::info!(%job, %execution, attempt = item.job.attempt, ?failure, "an attempt ended");
                }
                let now = self.context.now();
                let lease_ttl_ms = item.job.renewed_until(ttl_ms, now).since_ms(now);
                return Ok(self.reply(report.job_id, &item, lease_ttl_ms));
            }
        }
        Err(Error::Conflict(format!("job {} changes too fast; report again", report.job_id)))
    }

    fn reply(&self, job: JobId, item: &JobRecord, lease_ttl_ms: u64) -> JobReportReply {
        JobReportReply {
            cancel: item.job.cancel_requested,
            log_bytes: item.log_bytes,
            lease_ttl_ms,
            report_interval_ms: self.report_interval_ms(item),
            shell: self.context.shells.request_of(job),
        }
    }

    /// Returns the milliseconds between the reports of a running job.
    pub(super) fn report_interval_ms(&self, item: &JobRecord) -> u64 {
        let settings = &self.context.settings;
        settings.report_pace.interval_ms(settings.lease_ttl_ms, item.watched_until, self.context.now())
    }

    /// Returns the remaining milliseconds of a job's lease, if a report need not renew it yet.
    fn unrenewed_ms(&self, item: &JobRecord) -> Option<u64> {
        let now = self.context.now();
        let lease = item.job.lease.as_ref()?;
        (!lease.is_renewal_due(self.context.settings.lease_ttl_ms, now)).then(|| lease.remaining_ms(now))
    }

    /// Ends an attempt that its worker must not continue.
    async fn end_attempt(
        &self,
        node: &Node,
        item: &JobRecord,
        token: LeaseToken,
        reason: FailureReason,
    ) -> Result<()> {
        let end = AttemptEnd { failure: Some(reason), exit_code: None, ..AttemptEnd::default() };
        let event = JobEvent::End { token, end, steps: Vec::new() };
        if let Ok(transition) = apply_event(node, item, event, self.context.now()) {
            // On a conflict, another change ended the attempt, or its next report will.
            self.context.commit_transition(transition, node).await?;
        }
        Ok(())
    }

    /// Ends an attempt that was not started. Unless another one follows, the reason is its log.
    pub(super) async fn end_unstarted(
        &self,
        job: JobId,
        token: LeaseToken,
        reason: FailureReason,
    ) -> Result<()> {
        let is_repeated = reason.kind == FailureKind::GivenBack;
        let log = if is_repeated { None } else { Some(pack(&format!("{}\n", reason.message))?) };
        let end = Some(AttemptEnd { failure: Some(reason), exit_code: None, ..AttemptEnd::default() });
        let report = JobReport { job_id: job, lease: token, log, phase: None, steps: Vec::new(), end };
        self.report(report).await.map(drop)
    }
}

fn lease_lost(job: JobId) -> Error {
    Error::LeaseLost(format!(
        "the lease of job {job} is not valid: the job ended, was canceled, or was assigned to another worker"
    ))
}
