//! Keeps the records of environments up to date with their jobs.
//!
//! An attempt of a job that deploys to an environment is given to a worker only after the deployment is recorded as running. Its record
//! is then due until the job's end is recorded: by the report that ends it, or by the sweep, whatever else ended it.

use super::view;
use crate::{
    context::{job_spec::JobSpec, service_context::Context, service_context::job_of},
    error::{Error, Result},
    ports::{Document, DocumentKey, ExecutionRecord, NewDocument, Node, NodeKey, repository_key},
};
use tidemill_core::execution::status::JobStatus;
use tidemill_core::{
    api::{Deployment, EnvironmentState},
    pipeline::{Environment, EnvironmentAction},
    plan::PlannedJob,
    records::{AutoStopExtension, EnvironmentRecord},
    text::substitution::first_reference,
    time::Timestamp,
};

/// Kind of the documents of environments.
pub(crate) const DOCUMENT_KIND: &str = "environment";
/// Maximum length of the name of a recorded environment, in bytes.
const MAX_NAME_LEN: usize = 255;
/// Maximum length of the name of a document, in bytes.
const MAX_KEY_LEN: usize = 500;
/// Maximum length of a recorded URL, in bytes.
const MAX_URL_LEN: usize = 2_000;
/// Maximum number of attempts of a conditional write.
const MAX_ATTEMPTS: u32 = 100;
/// How long a stopped environment is kept.
const STOPPED_RETENTION_MS: i64 = 90 * 86_400_000;

/// How far a job is.
struct JobProgress {
    status: JobStatus,
    attempt: u32,
    start_time: Timestamp,
    end_time: Option<Timestamp>,
}

/// Returns the key of an environment. `prefix` of a listing is that of an empty name.
pub(crate) fn environment_key(repo: &str, name: &str) -> DocumentKey {
    DocumentKey::new(DOCUMENT_KIND, format!("{}\n{name}", repository_key(repo)))
}

/// Parses the record of an environment.
pub(crate) fn parse_environment(document: &Document) -> Result<EnvironmentRecord> {
    serde_json::from_str(&document.value).map_err(|error| Error::storage("reading an environment", error))
}

impl Context {
    /// Returns the record of an environment with its version.
    pub(crate) async fn environment(
        &self,
        repo: &str,
        name: &str,
    ) -> Result<Option<(EnvironmentRecord, u64)>> {
        let Some(document) = self.stores.documents.get(&environment_key(repo, name)).await? else {
            return Ok(None);
        };
        Ok(Some((parse_environment(&document)?, document.version)))
    }

    /// Writes the record of an environment if its version is `if_version`. Returns false if it is not.
    pub(crate) async fn put_environment(
        &self,
        record: &EnvironmentRecord,
        if_version: Option<u64>,
    ) -> Result<bool> {
        let now = self.now();
        let value =
            serde_json::to_string(record).map_err(|error| Error::storage("writing an environment", error))?;
        let due_at = record.due_at(now);
        let is_over = record.state() == EnvironmentState::Stopped && due_at.is_none();
        let document = NewDocument {
            key: environment_key(&record.repo, &record.name),
            value,
            due_at,
            expires_at: is_over.then(|| now.plus_ms(STOPPED_RETENTION_MS)),
        };
        self.stores.documents.put(document, if_version).await
    }

    /// Applies `change` to the record of an environment until it is written, or until it changes nothing.
    pub(crate) async fn change_environment(
        &self,
        repo: &str,
        name: &str,
        change: impl Fn(Option<&EnvironmentRecord>) -> Option<EnvironmentRecord>,
    ) -> Result<()> {
        for _ in 0..MAX_ATTEMPTS {
            let known = self.environment(repo, name).await?;
            let (known, version) =
                (known.as_ref().map(|known| &known.0), known.as_ref().map(|known| known.1));
            let Some(next) = change(known) else { return Ok(()) };
            if self.put_environment(&next, version).await? {
                return Ok(());
            }
        }
        Err(Error::Conflict(format!("environment `{name}` changes too fast; try again")))
    }

    /// Records that an attempt of a job starts. Repeating it changes nothing.
    pub(crate) async fn record_deployment_start(
        &self,
        execution: &ExecutionRecord,
        spec: &JobSpec,
        attempt: u32,
    ) -> Result<()> {
        let Some(environment) = recorded_environment(execution, &spec.planned) else { return Ok(()) };
        let (repo, name, now) = (&execution.spec.repo, &environment.name, self.now());
        if environment.action.is_recorded() {
            let progress =
                JobProgress { status: JobStatus::Running, attempt, start_time: now, end_time: None };
            let deployment = deployment(execution, spec, environment, &progress);
            let started = |known: Option<&EnvironmentRecord>| {
                let known = known.cloned().unwrap_or_else(|| EnvironmentRecord::new(repo, name));
                known.with_deployment(deployment.clone(), environment.tier)
            };
            return self.change_environment(repo, name, started).await;
        }
        let Some(seconds) = environment.auto_stop_in_s else { return Ok(()) };
        let until = now.plus_ms(i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000));
        let extension = AutoStopExtension { job_id: spec.id, attempt, at: now, until };
        self.change_environment(repo, name, |known| known?.with_extension(extension)).await
    }

    /// Records how a job that deployed or stopped an environment ended, if it has ended. Repeating it changes nothing.
    pub(crate) async fn record_deployment_end(&self, key: NodeKey) -> Result<()> {
        let execution = self.cached_execution(key.execution).await?;
        let specs = self.specs(key.execution).await?;
        let Some(spec) = specs.get(key.ix as usize) else { return Ok(()) };
        let Some(environment) = recorded_environment(&execution, &spec.planned) else { return Ok(()) };
        if !environment.action.is_recorded() {
            return Ok(());
        }
        let node = self.node(key).await?;
        let item = job_of(&node)?;
        let mut environment = environment.clone();
        if !spec.planned.due_texts.is_empty() || environment.url.as_deref().is_some_and(has_reference) {
            let providers = view::output_providers(&execution, &specs, &spec.planned);
            let providers: Vec<Node> = if providers.is_empty() {
                Vec::new()
            } else {
                self.stores.records.nodes(key.execution, &providers).await?
            };
            let planned = view::with_outputs(&execution, (spec, item), providers.iter());
            environment.url = planned.surroundings.environment.and_then(|planned| planned.url);
        }
        let status = match item.job.status {
            JobStatus::Pending | JobStatus::Queued | JobStatus::Running => JobStatus::Running,
            JobStatus::Skipped => JobStatus::Canceled,
            ended => ended,
        };
        let progress = JobProgress {
            status,
            attempt: item.job.attempt,
            start_time: item.job.started_at.unwrap_or_else(|| self.now()),
            end_time: item.job.ended_at.filter(|_| status.is_terminal()),
        };
        let deployment = deployment(&execution, spec, &environment, &progress);
        let (repo, name) = (&execution.spec.repo, &environment.name);
        self.change_environment(repo, name, |known| {
            known?.with_deployment(deployment.clone(), environment.tier)
        })
        .await
    }

    /// Returns the name of the environment on which a job acts, with outputs of others in it; `None` if it acts on none. The name has
    /// references as long as those jobs have not ended.
    pub(crate) async fn environment_name(
        &self,
        execution: &ExecutionRecord,
        node: &Node,
    ) -> Result<Option<String>> {
        let specs = self.specs(node.key.execution).await?;
        let Some(spec) = specs.get(node.key.ix as usize) else { return Ok(None) };
        let Some(environment) = &spec.planned.surroundings.environment else { return Ok(None) };
        if !has_reference(&environment.name) {
            return Ok(Some(environment.name.clone()));
        }
        let providers = view::output_providers(execution, &specs, &spec.planned);
        let providers = self.stores.records.nodes(node.key.execution, &providers).await?;
        let planned = view::with_outputs(execution, (spec, job_of(node)?), providers.iter());
        Ok(planned.surroundings.environment.map(|environment| environment.name))
    }
}

fn has_reference(text: &str) -> bool {
    first_reference(text).is_some()
}

/// Returns the environment of a job that is recorded. Jobs of forks do nothing to the environments of the repository.
fn recorded_environment<'a>(execution: &ExecutionRecord, planned: &'a PlannedJob) -> Option<&'a Environment> {
    if execution.spec.facts.is_from_fork() {
        return None;
    }
    let environment = planned.surroundings.environment.as_ref()?;
    let has_effect = environment.action.is_recorded() || environment.auto_stop_in_s.is_some();
    let name = &environment.name;
    let is_valid = !name.is_empty()
        && name.len() <= MAX_NAME_LEN
        && !name.contains(char::is_control)
        && environment_key(&execution.spec.repo, name).name.len() <= MAX_KEY_LEN;
    if has_effect && !is_valid {
        tracing::warn!(execution = %execution.spec.id, "an environment is not recorded: its name is empty or too long, or has control characters");
    }
    Some(environment).filter(|_| has_effect && is_valid)
}

fn deployment(
    execution: &ExecutionRecord,
    spec: &JobSpec,
    environment: &Environment,
    progress: &JobProgress,
) -> Deployment {
    let (of, facts) = (&execution.spec, &execution.spec.facts);
    let is_start = environment.action == EnvironmentAction::Start;
    let url = environment.url.clone().filter(|url| !has_reference(url) && url.len() <= MAX_URL_LEN);
    Deployment {
        job_id: spec.id,
        job_name: spec.planned.name.clone(),
        execution_id: of.id,
        pipeline_name: of.pipeline_name.clone(),
        run_number: execution.run_number,
        action: environment.action,
        status: progress.status,
        attempt: progress.attempt,
        branch: of.branch.clone().or_else(|| facts.branch.clone()),
        tag: facts.tag.clone(),
        commit: of.commit.clone().or_else(|| facts.commit.clone()),
        uncommitted: facts.details.dirty,
        trigger: of.trigger,
        requested_by: of.requested_by.clone(),
        start_time: progress.start_time,
        end_time: progress.end_time,
        url: url.filter(|_| is_start),
        on_stop: environment.on_stop.clone(),
        auto_stop_in_s: environment.auto_stop_in_s,
    }
}
