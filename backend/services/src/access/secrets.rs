//! SecretService: secrets of repositories, for the jobs that name them.

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
use tidemill_core::repository::{RepositoryName, canonical};
use tidemill_core::{
    api::{RekeyReply, RemoveSecretReply, RemoveSecretRequest, SecretList, SecretView, SetSecretRequest},
    pipeline::{JobOptions, MAX_SECRETS, SecretRef, is_secret_name},
    time::Timestamp,
};

const DOCUMENT_KIND: &str = "secret";
/// The longest value, in bytes.
const MAX_VALUE_LEN: usize = 64 << 10;
/// What the secrets of one job may come to, in bytes.
const MAX_JOB_SECRETS_BYTES: usize = 256 << 10;
/// How many are sealed anew in one call.
const MAX_REKEYED_PER_CALL: usize = 100;
const MAX_ENVIRONMENT_LEN: usize = 100;
const PAGE_SIZE: usize = 200;
const MAX_ATTEMPTS: u32 = 20;

/// Secrets.
#[derive(Clone)]
pub struct SecretService {
    context: Arc<Context>,
    seal: SecretSealer,
    /// Values that this process alone has, by name.
    lent: Arc<RwLock<HashMap<String, String>>>,
}

impl fmt::Debug for SecretService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretService")
    }
}

/// A secret as it is stored.
#[derive(Debug, Serialize, Deserialize)]
struct SecretRecord {
    /// As it was written.
    repo: String,
    environment: Option<String>,
    name: String,
    updated_at: Timestamp,
    /// The name of the token that it was set with.
    #[serde(default)]
    updated_by: String,
    /// Sealed for its key.
    sealed: String,
}

/// Where the secret `name` of a repository stands. Line breaks are in none of the parts.
fn key(repo: &str, environment: Option<&str>, name: &str) -> DocumentKey {
    DocumentKey::new(
        DOCUMENT_KIND,
        format!("{}\n{}\n{name}", canonical(repo), environment.unwrap_or_default()),
    )
}

impl SecretService {
    pub(crate) fn new(context: Arc<Context>, seal: SecretSealer) -> Self {
        Self { context, seal, lent: Arc::default() }
    }

    /// Has this process give a value to jobs that name it, before any that is stored. It is written nowhere, and gone with the
    /// process.
    pub fn lend(&self, name: String, value: String) -> Result<()> {
        check_name(&name)?;
        check_value(&value)?;
        self.lent.write().unwrap_or_else(PoisonError::into_inner).insert(name, value);
        Ok(())
    }

    /// Keeps a value that `by` sets, in place of the one that was there.
    pub async fn set(&self, request: SetSecretRequest, by: &str) -> Result<SecretView> {
        let SetSecretRequest { repo, environment, name, value } = request;
        check(&repo, environment.as_deref(), &name)?;
        check_value(&value)?;
        let key = key(&repo, environment.as_deref(), &name);
        let sealed = self.seal.seal(&key.name, value.as_bytes()).await?;
        let (updated_at, updated_by) = (self.context.now(), by.to_owned());
        let stored = SecretRecord { repo, environment, name, updated_at, updated_by, sealed };
        let text = written(&stored)?;
        let documents = &self.context.stores.documents;
        for _ in 0..MAX_ATTEMPTS {
            let known = documents.get(&key).await?.map(|known| known.version);
            let new = NewDocument { key: key.clone(), value: text.clone(), due_at: None, expires_at: None };
            if documents.put(new, known).await? {
                return Ok(view(&stored));
            }
        }
        Err(Error::Conflict("the secret is set by others at the same time; try again".into()))
    }

    /// The names of a repository's secrets; never a value.
    pub async fn list(&self, repo: &str) -> Result<SecretList> {
        let prefix = format!("{}\n", canonical(repo));
        let all = self.context.stores.documents.all(DOCUMENT_KIND, &prefix).await?;
        let secrets = all.iter().map(|document| Ok(view(&read(document)?))).collect::<Result<_>>()?;
        Ok(SecretList { secrets })
    }

    /// Forgets a secret.
    pub async fn remove(&self, request: RemoveSecretRequest) -> Result<RemoveSecretReply> {
        check(&request.repo, request.environment.as_deref(), &request.name)?;
        let key = key(&request.repo, request.environment.as_deref(), &request.name);
        let removed = self.context.stores.documents.delete(&key, None).await?;
        Ok(RemoveSecretReply { removed })
    }

    /// Seals secrets of all repositories' jobs under the newest key, as many as fit into one call: call again while there are more.
    pub async fn rekey(&self) -> Result<RekeyReply> {
        let documents = &self.context.stores.documents;
        let (mut after, mut renewed, mut unreadable) = (None::<String>, 0, Vec::new());
        loop {
            let (page, more) = documents.list(DOCUMENT_KIND, "", after.as_deref(), PAGE_SIZE).await?;
            for document in page {
                after = Some(document.key.name.clone());
                let stored = read(&document)?;
                let sealed = match self.seal.renewed(&document.key.name, &stored.sealed).await {
                    Ok(Some(sealed)) => sealed,
                    Ok(None) => continue,
                    Err(Error::Sealed(_)) => {
                        let of = canonical(&stored.repo);
                        let environment = stored.environment.iter().map(|name| format!(" ({name})"));
                        let environment = environment.collect::<String>();
                        unreadable.push(format!("secret `{}` of {of}{environment}", stored.name));
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                if renewed == MAX_REKEYED_PER_CALL {
                    return Ok(RekeyReply { renewed, more: true, unreadable });
                }
                let value = written(&SecretRecord { sealed, ..stored })?;
                let new = NewDocument { key: document.key, value, due_at: None, expires_at: None };
                // False: it was set or removed meanwhile. What was set may be under the older key.
                if !documents.put(new, Some(document.version)).await? {
                    return Ok(RekeyReply { renewed, more: true, unreadable });
                }
                renewed += 1;
            }
            if !more {
                return Ok(RekeyReply { renewed, more: false, unreadable });
            }
        }
    }

    /// The secrets that a job of `execution` names, those of its environment before the repository's. Only what a job's
    /// worker is told may hold them.
    pub(crate) async fn of_job(
        &self,
        execution: &ExecutionRecord,
        job: &str,
        around: &JobOptions,
    ) -> Result<Vec<SecretValue>> {
        if around.secrets.is_empty() {
            return Ok(Vec::new());
        }
        if execution.spec.facts.is_from_fork() {
            return Err(Error::NoSecret(format!(
                "job `{job}` names secrets, and its commit comes from a fork, which gets none; leave the job out of such \
                 executions with `if: \"!fork\"`"
            )));
        }
        if around.secrets.len() > MAX_SECRETS {
            return Err(Error::NoSecret(format!("job `{job}` names more than {MAX_SECRETS} secrets")));
        }
        let environment = around.environment.as_ref().map(|environment| environment.name.as_str());
        let mut values = Vec::with_capacity(around.secrets.len());
        let mut size = 0;
        for wanted in &around.secrets {
            let value = self.value(&execution.spec.repo, environment, job, wanted).await?;
            size += value.len();
            if size > MAX_JOB_SECRETS_BYTES {
                return Err(Error::NoSecret(format!(
                    "the secrets of job `{job}` come to more than {MAX_JOB_SECRETS_BYTES} bytes"
                )));
            }
            values.push(SecretValue { variable: wanted.variable.clone(), value, file: wanted.file });
        }
        Ok(values)
    }

    async fn value(
        &self,
        repo: &str,
        environment: Option<&str>,
        job: &str,
        wanted: &SecretRef,
    ) -> Result<String> {
        if let Some(value) = self.lent.read().unwrap_or_else(PoisonError::into_inner).get(&wanted.name) {
            return Ok(value.clone());
        }
        let own = environment.map(|environment| key(repo, Some(environment), &wanted.name));
        for key in own.into_iter().chain([key(repo, None, &wanted.name)]) {
            let Some(document) = self.context.stores.documents.get(&key).await? else { continue };
            let opened = self.seal.open(&key.name, &read(&document)?.sealed).await;
            let opened = opened.map_err(|error| match error {
                Error::Sealed(why) => {
                    Error::NoSecret(format!("secret `{}` of {repo} cannot be read: {why}", wanted.name))
                }
                error => error,
            })?;
            return String::from_utf8(opened)
                .map_err(|error| Error::storage("opening a secret", error.utf8_error()));
        }
        let place = environment.map(|name| format!(" --environment {name}")).unwrap_or_default();
        Err(Error::NoSecret(format!(
            "there is no secret `{name}` for job `{job}` of {repo}; set it with: tidemill secret set {name} --repo {repo}{place}",
            name = wanted.name
        )))
    }
}

fn read(document: &Document) -> Result<SecretRecord> {
    serde_json::from_str(&document.value).map_err(|error| Error::storage("reading a secret", error))
}

fn written(stored: &SecretRecord) -> Result<String> {
    serde_json::to_string(stored).map_err(|error| Error::storage("keeping a secret", error))
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
        "`{name}` is no name of a secret; use 1 to 100 letters, digits and `_ - .`, and start with a letter, a digit or `_`"
    )))
}

fn check_value(value: &str) -> Result<()> {
    if value.is_empty() || value.len() > MAX_VALUE_LEN {
        let words = format!("a secret has 1 to {MAX_VALUE_LEN} bytes; this has {}", value.len());
        return Err(Error::Invalid(words));
    }
    if value.contains('\0') {
        return Err(Error::Invalid("a secret holds no NUL character, which no shell can take".into()));
    }
    Ok(())
}

fn check(repo: &str, environment: Option<&str>, name: &str) -> Result<()> {
    check_name(name)?;
    if repo.trim().is_empty() || repo.len() > 300 || repo.contains(char::is_control) {
        return Err(Error::Invalid("a repository has 1 to 300 bytes, without control characters".into()));
    }
    RepositoryName::parse(repo).map_err(|error| Error::Invalid(error.to_string()))?;
    let bad =
        |name: &str| name.is_empty() || name.len() > MAX_ENVIRONMENT_LEN || name.contains(char::is_control);
    if environment.is_some_and(bad) {
        return Err(Error::Invalid(format!(
            "an environment's name has 1 to {MAX_ENVIRONMENT_LEN} bytes, without control characters"
        )));
    }
    Ok(())
}
