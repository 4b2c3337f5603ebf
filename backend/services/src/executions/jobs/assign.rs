//! Creates the assignment of an attempt.

use super::service::JobExecutionService;
use crate::{
    error::Result,
    executions::assignment,
    ports::{ExecutionRecord, Node},
};
use tidemill_core::execution::assignment::{Assignment, JobExtras, LeaseGrant};
use tidemill_core::{api::JobExecuteReply, ids::LeaseToken};

impl JobExecutionService {
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
        for artifact in &mut needs_artifacts {
            // A worker's token alone does not give access to artifacts.
            artifact.url = format!("{}?job={}&lease={token}", artifact.url, spec.id);
        }
        let mut variables = assignment::variables(execution, &spec, attempt);
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
        let lease = LeaseGrant { token, ttl_ms: self.context.settings.lease_ttl_ms };
        let (planned, of) = (&spec.planned, &execution.spec);
        let (secrets, registries, credential) = tokio::try_join!(
            self.secrets.for_job(execution, &planned.name, &planned.surroundings),
            self.registries.for_job(execution, planned),
            self.repositories.credential_for_job(execution, planned)
        )?;
        let shares_image = planned.surroundings.build.is_some() && {
            let specs = self.context.specs(id).await?;
            assignment::shares_image(execution, &specs, node.key.ix)
        };
        let extras = JobExtras {
            shares_image,
            secrets,
            registries,
            credential,
            may_keep_caches: !of.facts.is_from_fork(),
            ..assignment::extras(&spec)
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
            trace: execution.spec.trace.clone(),
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
        Ok(JobExecuteReply::Assigned { assignment: Box::new(assignment), upcoming })
    }
}
