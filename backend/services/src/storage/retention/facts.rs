//! What a decision needs to know of an execution, read step by step: most executions need only their own record.

use crate::{
    context::service_context::Context,
    error::Result,
    executions::deployments::{environment_key, parse_environment},
    ports::{ExecutionRecord, ListFilter, repository_key},
};
use std::collections::HashMap;
use tidemill_core::{
    ids::ExecutionId,
    retention::{
        decision::{Decision, ExecutionFacts, ExpiredParts, NeededBy, RetentionState, decide},
        settings::RetentionPolicy,
    },
};

/// Maximum number of cached facts of each kind.
const MAX_CACHED: usize = 10_000;
const PAGE_SIZE: usize = 100;

/// Reads facts, and caches those that executions share, for one pass.
pub(super) struct FactReader<'a> {
    context: &'a Context,
    policy: &'a RetentionPolicy,
    /// Newest run number by repository and pipeline.
    run_numbers: HashMap<(String, String), u64>,
    /// Newest execution by repository, pipeline and branch.
    newest: HashMap<(String, String, String), Option<ExecutionId>>,
    /// Name of an environment to which an execution was deployed, by repository.
    deployed: HashMap<String, HashMap<ExecutionId, String>>,
}

impl<'a> FactReader<'a> {
    pub(super) fn new(context: &'a Context, policy: &'a RetentionPolicy) -> Self {
        Self {
            context,
            policy,
            run_numbers: HashMap::new(),
            newest: HashMap::new(),
            deployed: HashMap::new(),
        }
    }

    /// Decides about an execution. Parts that were removed before are not among those to remove, and nothing is read for them. With
    /// `is_member`, it is decided about together with the execution that started it.
    pub(super) async fn decide(&mut self, execution: &ExecutionRecord, is_member: bool) -> Result<Decision> {
        let (spec, state) = (&execution.spec, &execution.state);
        let (repo, now) = (repository_key(&spec.repo), self.context.now());
        let rule = self.policy.rule(&repo, &spec.pipeline_name);
        let mut facts = ExecutionFacts {
            ended_at: state.end_time.filter(|_| state.status.is_terminal()),
            is_tagged: spec.facts.tag.is_some(),
            is_pinned: state.retention.pinned.is_some(),
            ..ExecutionFacts::default()
        };
        let decide = |facts: &ExecutionFacts| {
            without_removed_parts(decide(&rule, facts, now), &execution.state.retention)
        };
        let mut decision = decide(&facts);
        if !removes(&decision) {
            return Ok(decision);
        }
        if rule.last.is_some() {
            facts.rank = Some(self.rank(&repo, execution).await?);
            decision = decide(&facts);
        }
        if removes(&decision) && rule.branch_days().is_some() && !facts.is_tagged {
            facts.is_newest_of_branch = self.is_newest_of_branch(&repo, execution).await?;
            decision = decide(&facts);
        }
        if removes(&decision) {
            facts.needed_by = self.needed_by(&repo, execution, is_member).await?;
            decision = decide(&facts);
        }
        Ok(decision)
    }

    async fn rank(&mut self, repo: &str, execution: &ExecutionRecord) -> Result<u64> {
        let key = (repo.to_owned(), execution.spec.pipeline_name.clone());
        let newest = if let Some(known) = self.run_numbers.get(&key) {
            *known
        } else {
            let filter = ListFilter {
                repo: Some(execution.spec.repo.clone()),
                pipeline: Some(key.1.clone()),
                limit: Some(1),
                ..ListFilter::default()
            };
            let (page, _) = self.context.stores.records.executions(&filter).await?;
            let newest = page.first().map_or(0, |newest| newest.run_number);
            bounded(&mut self.run_numbers);
            self.run_numbers.insert(key, newest);
            newest
        };
        Ok(newest.saturating_sub(execution.run_number) + 1)
    }

    async fn is_newest_of_branch(&mut self, repo: &str, execution: &ExecutionRecord) -> Result<bool> {
        let spec = &execution.spec;
        let Some(branch) = spec.branch.clone() else { return Ok(false) };
        let key = (repo.to_owned(), spec.pipeline_name.clone(), branch);
        if let Some(known) = self.newest.get(&key) {
            return Ok(*known == Some(spec.id));
        }
        let filter = ListFilter {
            repo: Some(spec.repo.clone()),
            pipeline: Some(key.1.clone()),
            branch: Some(key.2.clone()),
            limit: Some(1),
            ..ListFilter::default()
        };
        let (page, _) = self.context.stores.records.executions(&filter).await?;
        let newest = page.first().map(|newest| newest.spec.id);
        bounded(&mut self.newest);
        self.newest.insert(key, newest);
        Ok(newest == Some(spec.id))
    }

    async fn needed_by(
        &mut self,
        repo: &str,
        execution: &ExecutionRecord,
        is_member: bool,
    ) -> Result<Option<NeededBy>> {
        let (spec, records) = (&execution.spec, &self.context.stores.records);
        // A retry of a child belongs to nobody, and keeps the child until it goes.
        if let Some(parent) = spec.parent.as_ref().filter(|_| !is_member && spec.retry_of.is_none())
            && records.execution_state(parent.execution).await?.is_some()
        {
            return Ok(Some(NeededBy::Parent(parent.execution)));
        }
        if let Some((next, _)) = execution.state.followed_by
            && records.execution_state(next).await?.is_some_and(|(next, _)| !next.status.is_terminal())
        {
            return Ok(Some(NeededBy::Group(next)));
        }
        if let Some(by) = self.context.needing(spec.id).await? {
            return Ok(Some(NeededBy::Retry(by)));
        }
        if !self.deployed.contains_key(repo) {
            let deployed = self.deployments(repo).await?;
            bounded(&mut self.deployed);
            self.deployed.insert(repo.to_owned(), deployed);
        }
        let environment = self.deployed.get(repo).and_then(|deployed| deployed.get(&spec.id));
        Ok(environment.cloned().map(NeededBy::Environment))
    }

    /// Returns the executions that environments of a repository list.
    async fn deployments(&self, repo: &str) -> Result<HashMap<ExecutionId, String>> {
        let prefix = environment_key(repo, "");
        let (mut deployed, mut after) = (HashMap::new(), None::<String>);
        loop {
            let documents = &self.context.stores.documents;
            let (page, has_more) =
                documents.list(&prefix.kind, &prefix.name, after.as_deref(), PAGE_SIZE).await?;
            for document in &page {
                let environment = parse_environment(document)?;
                for deployment in environment.deployments {
                    deployed.insert(deployment.execution_id, environment.name.clone());
                }
            }
            after = page.last().map(|last| last.key.name.clone()).filter(|_| has_more);
            if after.is_none() {
                return Ok(deployed);
            }
        }
    }
}

/// Leaves out the parts that were removed before.
pub(super) fn without_removed_parts(decision: Decision, retention: &RetentionState) -> Decision {
    match decision {
        Decision::Keep(reason, parts) => {
            let logs = parts.logs.filter(|_| !retention.logs_removed);
            let artifacts = parts.artifacts.filter(|_| !retention.artifacts_removed);
            Decision::Keep(reason, ExpiredParts { logs, artifacts })
        }
        decision @ Decision::Remove(_) => decision,
    }
}

/// Whether a decision removes anything.
fn removes(decision: &Decision) -> bool {
    match decision {
        Decision::Remove(_) => true,
        Decision::Keep(_, parts) => *parts != ExpiredParts::default(),
    }
}

fn bounded<K, V>(cache: &mut HashMap<K, V>) {
    if cache.len() >= MAX_CACHED {
        cache.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::{removes, without_removed_parts};
    use tidemill_core::retention::decision::{
        Decision, ExpiredParts, KeepReason, RemovalReason, RetentionState,
    };

    #[test]
    fn nothing_is_read_on_for_parts_that_are_gone() {
        let expired = ExpiredParts { logs: Some(1), artifacts: Some(2) };
        let decided = |logs_removed, artifacts_removed| {
            let retention = RetentionState { logs_removed, artifacts_removed, ..RetentionState::default() };
            without_removed_parts(Decision::Keep(KeepReason::NoLimit, expired), &retention)
        };
        assert!(removes(&decided(false, false)) && removes(&decided(true, false)));
        let rest = ExpiredParts { logs: None, artifacts: Some(2) };
        assert_eq!(decided(true, false), Decision::Keep(KeepReason::NoLimit, rest));
        assert!(!removes(&decided(true, true)));
        let whole =
            without_removed_parts(Decision::Remove(RemovalReason::Days(1)), &RetentionState::default());
        assert!(removes(&whole));
    }
}
