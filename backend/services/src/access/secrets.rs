//! Stores secrets of repositories, and passes them to the jobs that name them.

use super::resealing::{SealedRecord, reseal};
use crate::{
    context::service_context::Context,
    error::{Error, Result},
    ports::{Document, DocumentKey, ExecutionRecord, NewDocument},
    seal::SecretSealer,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, PoisonError, RwLock},
};
use tidemill_core::execution::assignment::SecretValue;
use tidemill_core::repository::{RepositoryName, canonical_name};
use tidemill_core::{
    api::{RekeyReply, RemoveSecretReply, RemoveSecretRequest, SecretList, SecretView, SetSecretRequest},
    pipeline::{JobOptions, MAX_SECRETS, SecretRef, is_secret_name},
    time::Timestamp,
};

/// Maximum length of a value, in bytes.
const MAX_VALUE_LEN: usize = 64 << 10;
/// Maximum size of all secrets of one job, in bytes.
const MAX_JOB_SECRETS_BYTES: usize = 256 << 10;
const MAX_ENVIRONMENT_LEN: usize = 100;
const MAX_ATTEMPTS: u32 = 20;

/// Service for secrets.
#[derive(Clone)]
pub struct SecretService {
    context: Arc<Context>,
    seal: SecretSealer,
    /// Values that exist in this process only, by name.
    in_memory: Arc<RwLock<HashMap<String, String>>>,
}

impl fmt::Debug for SecretService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretService")
    }
}

/// The stored record of a secret.
#[derive(Debug, Serialize, Deserialize)]
struct SecretRecord {
    /// The repository, as in the request.
    repo: String,
    environment: Option<String>,
    name: String,
    updated_at: Timestamp,
    /// Name of the token that set it.
    #[serde(default)]
    updated_by: String,
    /// The value, sealed for the name of the document.
    sealed: String,
}

impl SealedRecord for SecretRecord {
    const KIND: &'static str = "secret";

    fn sealed(&mut self) -> &mut String {
        &mut self.sealed
    }

    fn description(&self) -> String {
        let environment = self.environment.as_ref().map_or_else(String::new, |name| format!(" ({name})"));
        format!("secret `{}` of {}{environment}", self.name, canonical_name(&self.repo))
    }
}

/// Returns the key of the secret `name` of a repository. No part contains a line break.
fn key(repo: &str, environment: Option<&str>, name: &str) -> DocumentKey {
    DocumentKey::new(
        SecretRecord::KIND,
        format!("{}\n{}\n{name}", canonical_name(repo), environment.unwrap_or_default()),
    )
}

impl SecretService {
    pub(crate) fn new(context: Arc<Context>, seal: SecretSealer) -> Self {
        Self { context, seal, in_memory: Arc::default() }
    }

    /// Adds a value that this process passes to jobs, with precedence over stored secrets. It is kept in memory only.
    pub fn set_in_memory(&self, name: String, value: String) -> Result<()> {
        check_name(&name)?;
        check_value(&value)?;
        self.in_memory.write().unwrap_or_else(PoisonError::into_inner).insert(name, value);
        Ok(())
    }

    /// Sets a secret on behalf of `by`, and replaces an earlier value.
    pub async fn set(&self, request: SetSecretRequest, by: &str) -> Result<SecretView> {
        let SetSecretRequest { repo, environment, name, value } = request;
        check(&repo, environment.as_deref(), &name)?;
        check_value(&value)?;
        let key = key(&repo, environment.as_deref(), &name);
        let sealed = self.seal.seal(&key.name, value.as_bytes()).await?;
        let (updated_at, updated_by) = (self.context.now(), by.to_owned());
        let stored = SecretRecord { repo, environment, name, updated_at, updated_by, sealed };
        let text = to_json(&stored)?;
        let documents = &self.context.stores.documents;
        for _ in 0..MAX_ATTEMPTS {
            let known = documents.get(&key).await?.map(|known| known.version);
            let new = NewDocument { key: key.clone(), value: text.clone(), due_at: None, expires_at: None };
            if documents.put(new, known).await? {
                return Ok(view(&stored));
            }
        }
        Err(Error::Conflict("other clients are changing the secret at the same time; try again".into()))
    }

    /// Returns the names of a repository's secrets, never a value.
    pub async fn list(&self, repo: &str) -> Result<SecretList> {
        let prefix = format!("{}\n", canonical_name(repo));
        let all = self.context.stores.documents.all(SecretRecord::KIND, &prefix).await?;
        let secrets = all.iter().map(|document| Ok(view(&read(document)?))).collect::<Result<_>>()?;
        Ok(SecretList { secrets })
    }

    /// Removes a secret.
    pub async fn remove(&self, request: RemoveSecretRequest) -> Result<RemoveSecretReply> {
        check(&request.repo, request.environment.as_deref(), &request.name)?;
        let key = key(&request.repo, request.environment.as_deref(), &request.name);
        let removed = self.context.stores.documents.delete(&key, None).await?;
        Ok(RemoveSecretReply { removed })
    }

    /// Re-encrypts secrets of all repositories under the newest key, a limited number per call. Call it again while `more` is set.
    pub async fn rekey(&self) -> Result<RekeyReply> {
        reseal::<SecretRecord>(&self.context, &self.seal).await
    }

    /// Returns the secrets that a job of `execution` names; those of its environment take precedence over the repository's. Only the
    /// assignment to a worker may contain them.
    pub(crate) async fn for_job(
        &self,
        execution: &ExecutionRecord,
        job: &str,
        options: &JobOptions,
    ) -> Result<Vec<SecretValue>> {
        if options.secrets.is_empty() {
            return Ok(Vec::new());
        }
        if execution.spec.facts.is_from_fork() {
            return Err(Error::SecretUnavailable(format!(
                "job `{job}` names secrets, and its commit comes from a fork, which gets none; leave the job out of such \
                 executions with `if: \"!fork\"`"
            )));
        }
        if options.secrets.len() > MAX_SECRETS {
            return Err(Error::SecretUnavailable(format!(
                "job `{job}` names more than {MAX_SECRETS} secrets"
            )));
        }
        let environment = options.environment.as_ref().map(|environment| environment.name.as_str());
        let mut values = Vec::with_capacity(options.secrets.len());
        let mut size = 0;
        for reference in &options.secrets {
            let value = self.value(&execution.spec.repo, environment, job, reference).await?;
            size += value.len();
            if size > MAX_JOB_SECRETS_BYTES {
                return Err(Error::SecretUnavailable(format!(
                    "the secrets of job `{job}` have more than {MAX_JOB_SECRETS_BYTES} bytes in total"
                )));
            }
            values.push(SecretValue { variable: reference.variable.clone(), value, file: reference.file });
        }
        Ok(values)
    }

    async fn value(
        &self,
        repo: &str,
        environment: Option<&str>,
        job: &str,
        reference: &SecretRef,
    ) -> Result<String> {
        if let Some(value) =
            self.in_memory.read().unwrap_or_else(PoisonError::into_inner).get(&reference.name)
        {
            return Ok(value.clone());
        }
        let own = environment.map(|environment| key(repo, Some(environment), &reference.name));
        for key in own.into_iter().chain([key(repo, None, &reference.name)]) {
            let Some(document) = self.context.stores.documents.get(&key).await? else { continue };
            let opened = self.seal.open(&key.name, &read(&document)?.sealed).await;
            let opened = opened.map_err(|error| match error {
                Error::CannotOpen(why) => Error::SecretUnavailable(format!(
                    "secret `{}` of {repo} cannot be read: {why}",
                    reference.name
                )),
                error => error,
            })?;
            return String::from_utf8(opened)
                .map_err(|error| Error::storage("opening a secret", error.utf8_error()));
        }
        let option = environment.map(|name| format!(" --environment {name}")).unwrap_or_default();
        Err(Error::SecretUnavailable(format!(
            "there is no secret `{name}` for job `{job}` of {repo}; set it with: tidemill secret set {name} --repo {repo}{option}",
            name = reference.name
        )))
    }
}

fn read(document: &Document) -> Result<SecretRecord> {
    serde_json::from_str(&document.value).map_err(|error| Error::storage("reading a secret", error))
}

fn to_json(stored: &SecretRecord) -> Result<String> {
    serde_json::to_string(stored).map_err(|error| Error::storage("writing a secret", error))
}

fn view(stored: &SecretRecord) -> SecretView {
    SecretView {
        repo: stored.repo.clone(),
        environment: stored.environment.clone(),
        name: stored.name.clone(),
        updated_at: stored.updated_at,
        updated_by: stored.updated_by.clone(),
    }
}

fn check_name(name: &str) -> Result<()> {
    if is_secret_name(name) {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "`{name}` is not a valid name of a secret; use 1 to 100 letters, digits and `_ - .`, and start with a letter, a digit or `_`"
    )))
}

fn check_value(value: &str) -> Result<()> {
    if value.is_empty() || value.len() > MAX_VALUE_LEN {
        let message = format!("a secret has 1 to {MAX_VALUE_LEN} bytes; this one has {}", value.len());
        return Err(Error::Invalid(message));
    }
    if value.contains('\0') {
        return Err(Error::Invalid(
            "a secret must not contain a NUL character, which shells do not support".into(),
        ));
    }
    Ok(())
}

fn check(repo: &str, environment: Option<&str>, name: &str) -> Result<()> {
    check_name(name)?;
    RepositoryName::parse(repo).map_err(|error| Error::Invalid(error.to_string()))?;
    let is_invalid =
        |name: &str| name.is_empty() || name.len() > MAX_ENVIRONMENT_LEN || name.contains(char::is_control);
    if environment.is_some_and(is_invalid) {
        return Err(Error::Invalid(format!(
            "an environment's name has 1 to {MAX_ENVIRONMENT_LEN} bytes, without control characters"
        )));
    }
    Ok(())
}
