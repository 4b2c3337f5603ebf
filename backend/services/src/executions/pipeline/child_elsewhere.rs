//! Starts pipelines of other repositories for jobs: a discovery in the other repository is the child of the job, and the pipeline that
//! it finds is a child of the discovery.

use super::{
    child::{failed, started},
    discovery_start::{DiscoveryStart, start_discovery},
    service::PipelineExecutionService,
};
use crate::{
    access::{audit::AuditService, caller::Caller},
    error::{Error, Result},
    executions::idempotency_keys::IdempotencyKey,
    ports::{ExecutionRecord, ParentLink},
    repositories::record::{Repository, find_repository},
};
use indexmap::IndexMap;
use tidemill_core::{
    api::Trigger,
    execution::{
        discovery::{ChildReply, Discovery},
        facts::Facts,
    },
    pipeline::{ChildPipeline, MAX_DESCENDANTS},
    repository::{RepositoryAddress, canonical_name},
};

/// Maximum length of the name of a branch, in bytes.
const MAX_BRANCH_LEN: usize = 250;
/// What the name of a branch does not contain in git.
const NOT_IN_BRANCH: [&str; 11] = ["..", "//", "@{", " ", "~", "^", ":", "?", "*", "[", "\\"];
/// Where the pipeline files are that a discovery reads.
const PIPELINES_FOLDER: &str = ".pipelines/";
/// The action in the audit log.
const ACTION: &str = "execution.trigger";

impl PipelineExecutionService {
    /// Starts the pipeline of another repository for the job of `link`. Returns a conflict if the job was changed.
    pub(super) async fn start_elsewhere(
        &self,
        parent: &ExecutionRecord,
        child: &ChildPipeline,
        variables: IndexMap<String, String>,
        link: ParentLink,
    ) -> Result<ChildReply> {
        let name = child.repository.as_deref().unwrap_or_default();
        let not_started = |why: &str| Ok(failed(vec![format!("{name}: not started: {why}")]));
        let of = &parent.spec;
        if self.is_on_own_machine() {
            return not_started(
                "`tidemill run` on this machine knows no other repositories; start it on a server, with `--profile`",
            );
        }
        if of.facts.is_from_fork() {
            return not_started("a pull request from a fork starts no pipelines of other repositories");
        }
        if link.descendants == 0 {
            return not_started(&format!(
                "there are at most {MAX_DESCENDANTS} executions below the first one, divided among its jobs that start one"
            ));
        }
        if child.branch.as_deref().is_some_and(|branch| !is_branch(branch)) {
            return not_started("`branch` is not the name of a branch");
        }
        let own = canonical_name(&of.repo);
        let Some(at) = self.triggered_repository(&of.repo, &own, name).await? else {
            // The same whether there is no such repository or it does not allow it.
            return not_started(&format!(
                "the server has no repository of this name that {own} may start pipelines of; an administrator can register it, and \
                 allow that: tidemill repo add URL --allow-trigger-from {own}"
            ));
        };
        let branch = child.branch.as_deref().or_else(|| at.default_branch()).map(str::to_owned);
        let fetch_ref =
            branch.as_ref().map_or_else(|| "HEAD".to_owned(), |name| format!("refs/heads/{name}"));
        let files = child.files.clone();
        // Other files of the folder say what follows the pipeline.
        let is_in_folder = files.iter().all(|file| file.starts_with(PIPELINES_FOLDER));
        let (only, start_only) = if is_in_folder { (Vec::new(), files) } else { (files, Vec::new()) };
        let discovery = Discovery {
            fetch_ref: Some(fetch_ref),
            only,
            start_only,
            inputs: child.inputs.clone(),
            starts_child: true,
            ..Discovery::default()
        };
        let facts = Facts {
            trigger: Trigger::Pipeline,
            branch,
            default_branch: at.default_branch().map(str::to_owned),
            variables,
            parent: Some(of.id),
            // What follows the pipeline there is as far from the first execution.
            upstream: of.facts.upstream.clone(),
            ..Facts::default()
        };
        let job = link.job_id();
        let start = DiscoveryStart {
            facts,
            discovery,
            requested_by: of.requested_by.clone(),
            started_by: of.started_by.clone(),
            parent: Some(link),
        };
        let key = IdempotencyKey::Child { job };
        let reply = match start_discovery(self, &self.context, &at, start, key).await {
            Ok(reply) => reply,
            Err(Error::Invalid(why) | Error::Unprocessable(why)) => return not_started(&why),
            Err(error) => return Err(error),
        };
        let id = reply.execution_id;
        if !reply.attached {
            let caller = Caller::internal(&format!("a job of {own}"));
            let outcome = format!("started by job {job}");
            let audit = AuditService::new(self.context.clone());
            audit.record(&caller, ACTION, id, Some(&at.name()), &outcome).await;
        }
        Ok(started(name, &reply.pipeline_name, reply.run_number, id, reply.attached))
    }

    /// Returns the other repository, if it is registered and its settings allow jobs of `own` to start its pipelines. `name` is its path
    /// on the same git server, or its name.
    async fn triggered_repository(&self, repo: &str, own: &str, name: &str) -> Result<Option<Repository>> {
        let address =
            RepositoryAddress::parse(repo).or_else(|_| RepositoryAddress::parse(&format!("https://{own}")));
        let sibling = address.and_then(|address| address.sibling(name)).map(|address| address.canonical());
        for name in sibling.into_iter().chain([canonical_name(name)]) {
            let found = find_repository(&self.context, &name).await?;
            if let Some(found) = found.filter(|found| found.allows_trigger_from(own)) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

/// Whether git takes this as the name of a branch.
fn is_branch(name: &str) -> bool {
    let has_end = |end: &str| name.ends_with(end);
    !name.is_empty()
        && name.len() <= MAX_BRANCH_LEN
        && !name.starts_with(['-', '/', '.'])
        && !has_end("/")
        && !has_end(".")
        && !has_end(".lock")
        && !name.contains(char::is_control)
        && !NOT_IN_BRANCH.iter().any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use super::is_branch;

    #[test]
    fn branches_are_names_and_nothing_else_of_git() {
        for name in ["main", "feature/a-1", "v1.2", "ä"] {
            assert!(is_branch(name), "{name}");
        }
        for name in ["", "-x", "/a", "a/", "a..b", "a b", "main:other", "a*", "a^", "@{u}", "a\n", "a.lock"] {
            assert!(!is_branch(name), "{name}");
        }
        assert!(!is_branch(&"a".repeat(251)));
    }
}
