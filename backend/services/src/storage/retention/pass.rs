//! A pass: from the newest execution that some rule may remove to the oldest one, in steps. Its cost follows the number of executions
//! that are old enough, not of all.

use super::{
    facts::FactReader,
    removal::{Family, Member, Removal},
    service::RetentionService,
};
use crate::{
    error::Result,
    ports::{ExecutionRecord, ListFilter},
};
use futures_util::{StreamExt, stream};
use tidemill_core::{
    ids::ExecutionId,
    retention::{
        api::{GcReport, GcRequest, RemovedItem, RemovedPart},
        decision::{Decision, ExpiredParts, KeepReason, MIN_AGE_MS, NeededBy},
    },
    time::Timestamp,
};
use tokio::time::Instant;
use uuid::Uuid;

/// Number of executions of one read.
const PAGE_SIZE: u32 = 200;
/// Number of executions that are removed at the same time.
const CONCURRENCY: usize = 8;
/// Maximum number of items of a report.
const MAX_ITEMS: usize = 1_000;
const DAY_MS: i64 = 86_400_000;

/// What to do with an execution.
struct Task {
    family: Family,
    action: Action,
}

enum Action {
    Remove(String),
    RemoveParts(ExpiredParts),
}

impl RetentionService {
    /// Runs a part of a pass, from `request.after` on (`None`: from its beginning), until it is complete or `deadline` has passed.
    pub async fn run(&self, request: GcRequest, deadline: Option<Instant>) -> Result<GcReport> {
        let policy = self.context.retention_policy().await?;
        let mut report = GcReport { dry_run: request.dry_run, ..GcReport::default() };
        let Some(days) = policy.first_removal_days() else { return Ok(report) };
        let min_age = MIN_AGE_MS.cast_signed().max(i64::from(days) * DAY_MS);
        let mut after = request.after.unwrap_or_else(|| first_id(self.context.now().plus_ms(-min_age)));
        let mut facts = FactReader::new(&self.context, &policy);
        loop {
            let filter = ListFilter {
                repo: request.repo.clone(),
                cursor: Some(after.to_string()),
                limit: Some(PAGE_SIZE),
                ..ListFilter::default()
            };
            let (page, has_more) = self.context.stores.records.executions(&filter).await?;
            let last = page.last().map(|last| last.spec.id);
            let mut tasks = Vec::new();
            for execution in page {
                report.read += 1;
                if let Some(task) = self.task(execution, &mut facts, &mut report).await? {
                    tasks.push(task);
                }
            }
            self.perform(tasks, &mut report).await;
            let Some(last) = last.filter(|_| has_more) else { return Ok(report) };
            after = last;
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                report.next = Some(after);
                return Ok(report);
            }
        }
    }

    /// Decides about an execution. Returns what to do, if anything; otherwise it is counted as kept.
    async fn task(
        &self,
        execution: ExecutionRecord,
        facts: &mut FactReader<'_>,
        report: &mut GcReport,
    ) -> Result<Option<Task>> {
        if execution.state.retention.removing {
            // An interrupted removal.
            let action = Action::Remove("its removal was interrupted".into());
            return Ok(Some(Task { family: self.family(execution).await?, action }));
        }
        let decision = facts.decide(&execution, false).await?;
        let reason = match decision {
            Decision::Keep(reason, parts) if parts == ExpiredParts::default() => reason,
            Decision::Keep(reason, parts) => {
                count(report, &reason);
                let nodes = self.context.stores.records.all_nodes(execution.spec.id).await?;
                let family = Family(vec![Member { execution, nodes }]);
                return Ok(Some(Task { family, action: Action::RemoveParts(parts) }));
            }
            Decision::Remove(why) => {
                let family = self.family(execution).await?;
                let Some(kept) = kept_member(&family, facts).await? else {
                    return Ok(Some(Task { family, action: Action::Remove(why.to_string()) }));
                };
                KeepReason::Needed(NeededBy::Child(kept))
            }
        };
        count(report, &reason);
        Ok(None)
    }

    /// Performs tasks, a few at a time. One that fails does not affect the others.
    async fn perform(&self, tasks: Vec<Task>, report: &mut GcReport) {
        let dry_run = report.dry_run;
        let mut done = stream::iter(tasks)
            .map(|task| async move {
                let outcome = if dry_run { self.expected(&task).await } else { self.act(&task).await };
                (task, outcome)
            })
            .buffer_unordered(CONCURRENCY);
        while let Some((task, outcome)) = done.next().await {
            match outcome {
                Ok(Removal::Done(bytes)) => record(report, &task, bytes),
                Ok(Removal::Changed) => {}
                Err(error) => {
                    report.failed += 1;
                    let id = task.family.0.first().map(|member| member.execution.spec.id.to_string());
                    tracing::warn!(execution = id, %error, "cannot remove an execution; the next pass retries it");
                }
            }
        }
    }

    async fn act(&self, task: &Task) -> Result<Removal> {
        match &task.action {
            Action::Remove(_) => self.remove_family(&task.family).await,
            Action::RemoveParts(parts) => match task.family.0.first() {
                Some(member) => self.remove_parts(member, *parts).await,
                None => Ok(Removal::Changed),
            },
        }
    }

    /// Returns what a task would remove.
    async fn expected(&self, task: &Task) -> Result<Removal> {
        let members = match &task.action {
            Action::Remove(_) => task.family.0.as_slice(),
            Action::RemoveParts(ExpiredParts { artifacts: None, .. }) => &[],
            Action::RemoveParts(_) => task.family.0.get(..1).unwrap_or_default(),
        };
        let mut bytes = 0;
        for member in members {
            let artifacts = self.context.stores.records.artifacts(member.execution.spec.id).await?;
            bytes += artifacts.iter().map(|artifact| artifact.size).sum::<u64>();
        }
        Ok(Removal::Done(bytes))
    }
}

/// Returns an execution of a family other than the first one that is kept by itself.
async fn kept_member(family: &Family, facts: &mut FactReader<'_>) -> Result<Option<ExecutionId>> {
    for member in family.0.iter().skip(1) {
        let is_removing = member.execution.state.retention.removing;
        if !is_removing && !matches!(facts.decide(&member.execution, true).await?, Decision::Remove(_)) {
            return Ok(Some(member.execution.spec.id));
        }
    }
    Ok(None)
}

fn count(report: &mut GcReport, reason: &KeepReason) {
    *report.kept.entry(reason.name().to_owned()).or_default() += 1;
}

/// Adds a task that was done to the report.
fn record(report: &mut GcReport, task: &Task, bytes: u64) {
    report.artifact_bytes += bytes;
    let mut add = |execution: &ExecutionRecord, part, why: String| {
        match part {
            RemovedPart::Execution => report.executions += 1,
            RemovedPart::Logs => report.logs += 1,
            RemovedPart::Artifacts => report.artifacts += 1,
        }
        if report.items.len() >= MAX_ITEMS {
            report.truncated = true;
            return;
        }
        report.items.push(RemovedItem {
            execution_id: execution.spec.id,
            repo: execution.spec.repo.clone(),
            pipeline_name: execution.spec.pipeline_name.clone(),
            run_number: execution.run_number,
            end_time: execution.state.end_time,
            part,
            why,
        });
    };
    let Some(first) = task.family.0.first() else { return };
    match &task.action {
        Action::Remove(why) => {
            add(&first.execution, RemovedPart::Execution, why.clone());
            for member in task.family.0.iter().skip(1) {
                let why = format!("execution {}, which started it, goes", first.execution.spec.id);
                add(&member.execution, RemovedPart::Execution, why);
            }
        }
        Action::RemoveParts(parts) => {
            let why = |days| format!("its execution ended more than {days} days ago");
            if let Some(days) = parts.logs {
                add(&first.execution, RemovedPart::Logs, why(days));
            }
            if let Some(days) = parts.artifacts {
                add(&first.execution, RemovedPart::Artifacts, why(days));
            }
        }
    }
}

/// Returns the smallest id of an execution of this time.
fn first_id(at: Timestamp) -> ExecutionId {
    let ms = u128::from(u64::try_from(at.0).unwrap_or(0));
    ExecutionId(Uuid::from_u128((ms << 80) | (0x7 << 76) | (0x2 << 62)))
}
