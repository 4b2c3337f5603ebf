//! The rules that protect environments: a document each. What they say about a job is decided when it is created, when it is
//! approved, and once more when a worker gets it, so that a rule holds from the moment in which it is set.

use super::caller::Caller;
use crate::{
    context::service_context::Context,
    error::{Error, Result},
    ports::{Document, DocumentKey, ExecutionRecord, NewDocument, Node, NodeKey, repository_key},
};
use std::sync::Arc;
use tidemill_core::{
    access::protection::{
        ApprovalProgress, CallerApproval, EnvironmentProtection, MAX_PROTECTIONS, ProtectEnvironmentRequest,
        ProtectionList, UnprotectEnvironmentRequest, caller_approval, is_approved,
    },
    api::{Approval, ExecutionView},
    plan::{Plan, PlannedJob},
    repository::canonical_name,
    scheduler::protected_jobs,
    text::substitution::first_reference,
};

/// Kind of the documents.
const DOCUMENT_KIND: &str = "environment-protection";
/// Maximum length of the name of a document, in bytes.
const MAX_KEY_LEN: usize = 500;
const MAX_ATTEMPTS: u32 = 5;

/// Service for the rules.
#[derive(Debug, Clone)]
pub struct ProtectionService {
    context: Arc<Context>,
}

/// Returns the key of a rule. The prefix of a listing is that of an empty environment.
fn key(repo: &str, environment: &str) -> DocumentKey {
    DocumentKey::new(DOCUMENT_KIND, format!("{}\n{environment}", repository_key(repo)))
}

fn parse(document: &Document) -> Result<EnvironmentProtection> {
    serde_json::from_str(&document.value)
        .map_err(|error| Error::storage("reading the rule of a protected environment", error))
}

impl ProtectionService {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Self { context }
    }

    /// Returns the rules of a repository.
    pub async fn list(&self, repo: &str) -> Result<ProtectionList> {
        Ok(ProtectionList { protections: self.context.protections_of(repo).await? })
    }

    /// Sets the rule of an environment, or changes it.
    pub async fn set(
        &self,
        request: ProtectEnvironmentRequest,
        by: &Caller,
    ) -> Result<EnvironmentProtection> {
        let request = request.checked().map_err(|error| Error::Invalid(error.to_string()))?;
        let key = key(&request.repo, &request.environment);
        if canonical_name(&request.repo).is_empty() || key.name.len() > MAX_KEY_LEN {
            return Err(Error::Invalid(format!(
                "the names of repository and environment have at least one and together at most {MAX_KEY_LEN} bytes"
            )));
        }
        let rule = EnvironmentProtection {
            repo: canonical_name(&request.repo),
            environment: request.environment,
            approvals: request.approvals,
            by: request.by,
            exclude_starter: request.exclude_starter,
            set_at: self.context.now(),
            set_by: by.name.to_string(),
        };
        let value = serde_json::to_string(&rule)
            .map_err(|error| Error::storage("writing the rule of a protected environment", error))?;
        for _ in 0..MAX_ATTEMPTS {
            let known = self.context.stores.documents.get(&key).await?;
            if known.is_none() && self.context.protections_of(&rule.repo).await?.len() >= MAX_PROTECTIONS {
                return Err(Error::Conflict(format!(
                    "the repository has {MAX_PROTECTIONS} protected environments, the maximum; use patterns"
                )));
            }
            let document =
                NewDocument { key: key.clone(), value: value.clone(), due_at: None, expires_at: None };
            if self.context.stores.documents.put(document, known.map(|known| known.version)).await? {
                return Ok(rule);
            }
        }
        Err(Error::Conflict("the rule is changed by others at the same time; try again".into()))
    }

    /// Removes the rule of an environment. Returns false if there is none.
    pub async fn remove(&self, request: &UnprotectEnvironmentRequest) -> Result<bool> {
        self.context.stores.documents.delete(&key(&request.repo, &request.environment), None).await
    }
}

impl Context {
    /// Returns the rules of a repository, in the order of their environments.
    pub(crate) async fn protections_of(&self, repo: &str) -> Result<Vec<EnvironmentProtection>> {
        let documents = self.stores.documents.all(DOCUMENT_KIND, &key(repo, "").name).await?;
        documents.iter().map(parse).collect()
    }

    /// Returns the rules that are for the environment `name`.
    pub(crate) async fn protections_for(&self, repo: &str, name: &str) -> Result<Vec<EnvironmentProtection>> {
        let mut rules = self.protections_of(repo).await?;
        rules.retain(|rule| rule.protects(name));
        Ok(rules)
    }

    /// Returns the jobs of a plan that need an approval because of their environments.
    pub(crate) async fn protected_jobs(&self, repo: &str, plan: &Plan) -> Result<Vec<u32>> {
        if plan.jobs.iter().all(|job| job.surroundings.environment.is_none()) {
            return Ok(Vec::new());
        }
        Ok(protected_jobs(plan, &self.protections_of(repo).await?))
    }

    /// Returns an error if a job, whose texts have the outputs of others, lacks approvals that its environment requires.
    pub(crate) async fn check_approved(
        &self,
        execution: &ExecutionRecord,
        planned: &PlannedJob,
        ix: u32,
    ) -> Result<()> {
        let Some(environment) = &planned.surroundings.environment else { return Ok(()) };
        let rules = self.protections_for(&execution.spec.repo, &environment.name).await?;
        if rules.is_empty() {
            return Ok(());
        }
        let gate = execution.spec.approval_gate(Some(ix));
        let given = match gate {
            Some(gate) => {
                self.node(NodeKey { execution: execution.spec.id, ix: gate.gate }).await?.state.approvals
            }
            None => Vec::new(),
        };
        if is_approved(&rules, &given) {
            return Ok(());
        }
        Err(Error::NotApproved(format!(
            "environment `{}` is protected, and the job lacks approvals: {}. The rule is newer than the job or its approval, or the job \
             runs on failure, which cannot be approved: retry the job, and approve it then",
            environment.name,
            ApprovalProgress::new(&rules, &given).describe_missing()
        )))
    }

    /// Adds to the jobs of a view who approved them, what is missing, and what an approval by the caller would be.
    pub(crate) async fn add_approvals(
        &self,
        execution: &ExecutionRecord,
        nodes: &[Node],
        view: &mut ExecutionView,
        caller: Option<&Caller>,
    ) -> Result<()> {
        let awaits = |approval: Option<Approval>| approval == Some(Approval::Awaited);
        let is_live = !execution.state.status.is_terminal();
        let is_protected =
            is_live && view.jobs.iter().any(|job| awaits(job.approval) && job.environment.is_some());
        let rules = if is_protected { self.protections_of(&execution.spec.repo).await? } else { Vec::new() };
        for job in view.jobs.iter_mut().filter(|job| job.approval.is_some()) {
            let gate = execution.spec.approval_gate(Some(job.id.ix()));
            let gate = gate.and_then(|gate| nodes.iter().find(|node| node.key.ix == gate.gate));
            let is_awaited = awaits(job.approval);
            let environment = job.environment.as_ref().map(|environment| environment.name.as_str());
            let environment = environment.filter(|_| is_awaited);
            let (progress, by_caller) = approval_of_job(execution, gate, (&rules, environment), caller);
            job.approvals = progress;
            job.caller_approval = by_caller.filter(|_| is_awaited && is_live && !job.status.is_terminal());
        }
        Ok(())
    }
}

/// Returns who approved a job with this gate and environment, under the rules of its repository, and what an approval by the caller
/// would be. Nobody can approve a job whose environment is not known yet.
pub(crate) fn approval_of_job(
    execution: &ExecutionRecord,
    gate: Option<&Node>,
    (rules, environment): (&[EnvironmentProtection], Option<&str>),
    caller: Option<&Caller>,
) -> (Option<ApprovalProgress>, Option<CallerApproval>) {
    let is_unknown = !rules.is_empty() && environment.is_some_and(|name| first_reference(name).is_some());
    let is_for_job = |rule: &&EnvironmentProtection| environment.is_some_and(|name| rule.protects(name));
    let of_job: Vec<EnvironmentProtection> = rules.iter().filter(is_for_job).cloned().collect();
    let given = gate.map(|gate| gate.state.approvals.as_slice()).unwrap_or_default();
    let has_approvals = !of_job.is_empty() || !given.is_empty();
    let progress = has_approvals.then(|| ApprovalProgress::new(&of_job, given));
    let repo = &execution.spec.repo;
    let by_caller = caller.filter(|_| !is_unknown).map(|caller| {
        let approver = caller.may_run_in(repo).then(|| caller.approver(repo));
        caller_approval(&of_job, given, approver, execution.spec.starter())
    });
    (progress, by_caller)
}
