//! Creates the assignment of an attempt.

use super::service::JobExecutionService;
use crate::{
    context::service_context::job_of,
    error::Result,
    executions::assignment,
    ports::{ExecutionRecord, Node},
};
use indexmap::IndexMap;
use tidemill_core::execution::{
    assignment::{ArtifactSource, Assignment, JobExtras, LeaseGrant, SecretValue},
    discovery::{ChildRequest, Discovery},
    facts::{ComparedPaths, ExternalVariables, Facts, JobSelection},
};
use tidemill_core::{
    api::{JobExecuteReply, Trigger, page},
    ids::{
        LeaseToken,
        job_token::{GITLAB_JOB_TOKEN, JOB_TOKEN, JobToken},
    },
    plan::PlannedJob,
    trace::context::{TRACEPARENT_VARIABLE, attempt_context},
};

/// Variable of a job with a token: the address of the server, if it has a public one. The command line reads it, too.
const SERVER: &str = "TIDEMILL_SERVER";

impl JobExecutionService {
    /// Returns the secrets and variables of a job that only its worker gets, and apart from them its ID tokens.
    async fn secrets_for_job(
        &self,
        execution: &ExecutionRecord,
        planned: &PlannedJob,
        token: &JobToken,
    ) -> Result<(Vec<SecretValue>, Vec<SecretValue>)> {
        if planned.discovery.is_some() || planned.surroundings.child.is_some() {
            return Ok((Vec::new(), Vec::new()));
        }
        let options = &planned.surroundings;
        let own_token = token.expose();
        let mut secrets = self.secrets.for_job(execution, &planned.name, options, &own_token).await?;
        if options.all_secrets {
            let facts = Facts { repo: execution.spec.repo.clone(), ..execution.spec.facts.clone() };
            let is_set = |name: &str| {
                planned.variables.contains_key(name) || secrets.iter().any(|secret| secret.variable == name)
            };
            let login = self.variables.registry_login(&facts).await?;
            // Forks get no token.
            let tokens = [JOB_TOKEN, GITLAB_JOB_TOKEN].into_iter().filter(|_| !facts.is_from_fork());
            let tokens = tokens.map(|variable| SecretValue {
                variable: variable.to_owned(),
                value: own_token.clone(),
                file: false,
                unmasked: false,
            });
            let added: Vec<SecretValue> =
                login.into_iter().chain(tokens).filter(|one| !is_set(&one.variable)).collect();
            secrets.extend(added);
        }
        let id_tokens = self.id_tokens.for_job(execution, planned, token.job()).await?;
        // They win over what the job gets without naming it.
        secrets.retain(|secret| id_tokens.iter().all(|token| token.variable != secret.variable));
        Ok((secrets, id_tokens))
    }

    /// Returns the request of a discovery with the variables that its translation of a GitLab file needs.
    async fn discovery_with_variables(
        &self,
        execution: &ExecutionRecord,
        planned: &PlannedJob,
    ) -> Result<Option<Discovery>> {
        let Some(discovery) = &planned.discovery else { return Ok(None) };
        let facts = Facts { repo: execution.spec.repo.clone(), ..execution.spec.facts.clone() };
        let external = self.variables.of_execution(&facts).await?;
        Ok(Some(Discovery { external, event: Some(Box::new(facts)), ..discovery.clone() }))
    }

    /// Returns the pipeline that a job starts, with the variables and the event that the translation of a GitLab file needs.
    /// `known` are the job's variables.
    async fn child_with_variables(
        &self,
        execution: &ExecutionRecord,
        planned: &PlannedJob,
        known: &IndexMap<String, String>,
    ) -> Result<Option<Box<ChildRequest>>> {
        let child = planned.surroundings.child.as_deref().filter(|_| planned.discovery.is_none());
        let Some(pipeline) = child.cloned() else { return Ok(None) };
        let facts = Facts { repo: execution.spec.repo.clone(), ..execution.spec.facts.clone() };
        let is_of_artifact = facts.is_of_artifact;
        let name = format!("{}: {}", execution.spec.pipeline_name, planned.base_name);
        let (mut external, mut event) = (ExternalVariables::default(), None);
        if pipeline.is_gitlab && pipeline.repository.is_none() {
            external = self.variables.of_execution(&facts).await?;
            let forwarded =
                assignment::child_variables(&self.context, execution, planned, &pipeline, known).await?;
            // Without them, the start of the child says what is wrong.
            let forwarded = forwarded.unwrap_or_default();
            let is_new = |name: &String| !external.contains(name);
            let forwarded: Vec<_> = forwarded.into_iter().filter(|(name, _)| is_new(name)).collect();
            external.values.extend(forwarded);
            event = Some(Box::new(Facts {
                trigger: Trigger::ParentPipeline,
                changed: facts.changed.clone().filter(|_| facts.has_all_changes),
                compared: ComparedPaths::new(),
                // The worker knows those of the commit.
                files: None,
                jobs: JobSelection::default(),
                inputs: IndexMap::new(),
                includes: Vec::new(),
                parent: Some(execution.spec.id),
                ..facts
            }));
        }
        Ok(Some(Box::new(ChildRequest { pipeline, name, external, is_of_artifact, event })))
    }

    pub(super) async fn assign(
        &self,
        node: &Node,
        execution: &ExecutionRecord,
        token: LeaseToken,
        attempt: u32,
        lookahead: u32,
    ) -> Result<JobExecuteReply> {
        let records = &self.context.stores.records;
        let id = node.key.execution;
        let mut spec = self.context.spec(id, node.key.ix).await?;
        let mut needs_artifacts = assignment::artifacts_for(&self.context, execution, &spec.planned).await?;
        if let Some(child) = spec.planned.surroundings.child.as_deref() {
            let specs = self.context.specs(id).await?;
            let is_of = |name: &str, artifact: &ArtifactSource| {
                specs.iter().any(|spec| spec.planned.name == artifact.from_job && spec.planned.has_name(name))
            };
            let named = child.artifacts();
            needs_artifacts.retain(|artifact| named.iter().any(|(name, _)| is_of(name, artifact)));
        }
        for artifact in &mut needs_artifacts {
            // A worker's token alone does not give access to artifacts.
            artifact.url = format!("{}?job={}&lease={token}", artifact.url, spec.id);
        }
        let mut variables =
            assignment::variables(execution, &spec, attempt, self.context.page_url(id).as_deref());
        let outputs = assignment::outputs_for(&self.context, execution, &spec.planned).await?;
        assignment::add_outputs(&mut variables, &outputs, execution);
        if !spec.planned.due_texts.is_empty() {
            let has_due_url = spec.planned.due_texts.url.is_some();
            spec.planned.apply_outputs(&variables);
            let environment = spec.planned.surroundings.environment.as_ref();
            if let Some(url) = environment.and_then(|to| to.url.clone()).filter(|_| has_due_url) {
                variables.insert("CI_ENVIRONMENT_URL".to_owned(), url);
            }
        }
        self.context.check_approved(execution, &spec.planned, node.key.ix).await?;
        let deployed = spec.clone();
        let report_interval_ms = self.report_interval_ms(job_of(node)?);
        let lease = LeaseGrant { token, ttl_ms: self.context.settings.lease_ttl_ms, report_interval_ms };
        let (planned, of) = (&spec.planned, &execution.spec);
        let own_token = JobToken::new(spec.id, token);
        let ((mut secrets, id_tokens), registries, credential, discovery, child) = tokio::try_join!(
            self.secrets_for_job(execution, planned, &own_token),
            self.registries.for_job(execution, planned),
            self.repositories.credential_for_job(execution, planned),
            self.discovery_with_variables(execution, planned),
            self.child_with_variables(execution, planned, &variables)
        )?;
        let has_token = secrets.iter().any(|secret| secret.value == own_token.expose());
        // In a container, a loopback address is the container itself.
        let is_reachable = |url: &&str| has_token && !page::is_loopback(url);
        if let Some(server) = self.context.public_url().filter(is_reachable) {
            variables.entry(SERVER.to_owned()).or_insert_with(|| server.to_owned());
        }
        let trace = attempt_context(id, of.trace.as_deref(), node.key.ix, attempt).to_string();
        variables.entry(TRACEPARENT_VARIABLE.to_owned()).or_insert_with(|| trace.clone());
        let shares_image = planned.surroundings.build.is_some() && {
            let specs = self.context.specs(id).await?;
            assignment::shares_image(execution, &specs, node.key.ix)
        };
        let mut of_job = assignment::extras(&spec);
        if planned.surroundings.all_secrets {
            assignment::add_to_services(&mut of_job.services, &variables, &secrets, &own_token.expose());
        }
        // Only the job gets them, and no service.
        secrets.extend(id_tokens);
        let extras = JobExtras {
            discovery,
            child,
            shares_image,
            secrets,
            registries,
            credential,
            shell: self.context.shells.request_of(deployed.id),
            may_keep_caches: !of.facts.is_from_fork(),
            ..of_job
        };
        let assignment = Assignment {
            preparation: assignment::preparation(execution, &spec),
            variables,
            job_name: spec.planned.name,
            stage: spec.planned.stage,
            attempt,
            lease,
            script: spec.planned.script,
            timeout_s: spec.planned.timeout_s,
            artifacts: spec.planned.artifacts,
            needs_artifacts,
            trace: Some(trace),
            extras,
        };
        let mut upcoming = Vec::new();
        if lookahead > 0 {
            let next = records.upcoming(id, node.key.ix, lookahead as usize).await?;
            let specs = self.context.specs(id).await?;
            let specs = next.iter().filter_map(|ix| specs.get(*ix as usize));
            // A job that only builds an image has no container to prepare.
            let specs = specs.filter(|spec| !spec.planned.has_due_image() && !spec.planned.image.is_empty());
            upcoming = specs.map(|spec| assignment::preparation(execution, spec)).collect();
        }
        self.context.record_deployment_start(execution, &deployed, attempt).await?;
        Ok(JobExecuteReply::Assigned { assignment: Box::new(assignment), upcoming })
    }
}
