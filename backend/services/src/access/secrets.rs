//! Stores secrets and variables of repositories, and passes them to jobs: secrets to those that name them, variables to all.

use super::resealing::{SealedRecord, reseal};
use crate::{
    context::service_context::Context,
    error::{Error, Result},
    ports::{Document, DocumentKey, ExecutionRecord, NewDocument},
    seal::SecretSealer,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, PoisonError, RwLock},
};
use tidemill_core::execution::{
    assignment::SecretValue,
    facts::{ExternalVariables, Facts},
};
use tidemill_core::repository::{RepositoryName, canonical_name};
use tidemill_core::{
    api::{
        RekeyReply, RemoveSecretReply, RemoveSecretRequest, SecretList, SecretView, SetSecretRequest,
        VariableOptions,
    },
    ids::job_token::JOB_TOKEN,
    pipeline::{JobOptions, MAX_SECRETS, SecretRef, is_secret_name, is_variable_name},
    time::Timestamp,
};

/// Maximum length of a value, in bytes.
const MAX_VALUE_LEN: usize = 64 << 10;
/// Maximum size of all secrets of one job, in bytes.
const MAX_JOB_SECRETS_BYTES: usize = 256 << 10;
/// Maximum length of a value that executions record, in bytes.
const MAX_RECORDED_VALUE_LEN: usize = 8 << 10;
/// Maximum size of all values of a repository that executions record, in bytes.
const MAX_RECORDED_BYTES: usize = 64 << 10;
/// Maximum number of variables of a repository.
const MAX_VARIABLES: usize = 200;
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
    /// The options if it is a variable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    variable: Option<VariableOptions>,
    /// The length of the value in bytes.
    #[serde(default)]
    length: usize,
    /// The value, sealed for the name of the document.
    sealed: String,
}

impl SecretRecord {
    fn kind(&self) -> &'static str {
        if self.variable.is_some() { "variable" } else { Self::KIND }
    }

    /// Whether executions with these facts get it.
    fn is_for(&self, facts: &Facts) -> bool {
        match self.variable {
            None => !facts.is_from_fork(),
            Some(options) => {
                (options.forks || !facts.is_from_fork()) && (!options.protected || facts.is_protected())
            }
        }
    }

    /// Whether only jobs get its value.
    fn is_hidden(&self) -> bool {
        self.environment.is_some() || self.variable.is_none_or(VariableOptions::is_hidden)
    }
}

impl SealedRecord for SecretRecord {
    const KIND: &'static str = "secret";

    fn sealed(&mut self) -> &mut String {
        &mut self.sealed
    }

    fn description(&self) -> String {
        let environment = self.environment.as_ref().map_or_else(String::new, |name| format!(" ({name})"));
        format!("{} `{}` of {}{environment}", self.kind(), self.name, canonical_name(&self.repo))
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
        let SetSecretRequest { repo, environment, name, value, variable } = request;
        check(&repo, environment.as_deref(), &name)?;
        match variable {
            None => check_value(&value)?,
            Some(options) => check_variable(&name, &value, options)?,
        }
        let key = key(&repo, environment.as_deref(), &name);
        let sealed = self.seal.seal(&key.name, value.as_bytes()).await?;
        let (updated_at, updated_by) = (self.context.now(), by.to_owned());
        let length = value.len();
        let stored =
            SecretRecord { repo, environment, name, updated_at, updated_by, variable, length, sealed };
        let text = to_json(&stored)?;
        let documents = &self.context.stores.documents;
        for _ in 0..MAX_ATTEMPTS {
            let known = documents.get(&key).await?;
            if let Some(other) = known.as_ref().map(read).transpose()?
                && other.variable.is_some() != stored.variable.is_some()
            {
                let (name, kind) = (&other.name, other.kind());
                return Err(Error::Conflict(format!(
                    "the repository has a {kind} `{name}`; to replace it, first remove it: tidemill {kind} remove {name}"
                )));
            }
            if stored.variable.is_some() {
                self.check_space(&stored, &key).await?;
            }
            let new = NewDocument { key: key.clone(), value: text.clone(), due_at: None, expires_at: None };
            if documents.put(new, known.map(|known| known.version)).await? {
                return Ok(view(&stored, None));
            }
        }
        Err(Error::Conflict("other clients are changing the secret at the same time; try again".into()))
    }

    /// Returns the secrets and variables of a repository, with the values of variables that are not masked.
    pub async fn list(&self, repo: &str) -> Result<SecretList> {
        let mut secrets = Vec::new();
        for (key, stored) in self.stored(repo).await? {
            let is_shown = stored.variable.is_some_and(|options| !options.masked);
            let value = if is_shown { self.open(&key, &stored).await.ok() } else { None };
            secrets.push(view(&stored, value));
        }
        Ok(SecretList { secrets })
    }

    /// Returns the records of a repository, ordered by environment and name.
    async fn stored(&self, repo: &str) -> Result<Vec<(DocumentKey, SecretRecord)>> {
        let prefix = format!("{}\n", canonical_name(repo));
        let all = self.context.stores.documents.all(SecretRecord::KIND, &prefix).await?;
        all.into_iter().map(|document| read(&document).map(|stored| (document.key, stored))).collect()
    }

    /// Returns an error if a variable would exceed the limits of its repository.
    async fn check_space(&self, new: &SecretRecord, key: &DocumentKey) -> Result<()> {
        let others = self.stored(&new.repo).await?;
        let others = others.iter().filter(|(known, other)| known != key && other.variable.is_some());
        let (mut count, mut bytes) = (1, if new.is_hidden() { 0 } else { new.length });
        for (_, other) in others {
            count += 1;
            bytes += if other.is_hidden() { 0 } else { other.length };
        }
        if count > MAX_VARIABLES || bytes > MAX_RECORDED_BYTES {
            return Err(Error::Invalid(format!(
                "a repository has at most {MAX_VARIABLES} variables, and those that are neither masked nor files have at most \
                 {MAX_RECORDED_BYTES} bytes together; remove one with `tidemill variable remove`"
            )));
        }
        Ok(())
    }

    /// Returns the variables that an execution with these facts gets, and the names of those that only its jobs get.
    pub(crate) async fn external_variables(&self, facts: &Facts) -> Result<ExternalVariables> {
        let mut external = ExternalVariables::default();
        let stored = self.stored(&facts.repo).await?;
        let stored = stored.into_iter().filter(|(_, stored)| stored.is_for(facts));
        let (of_environments, of_all): (Vec<_>, Vec<_>) =
            stored.partition(|(_, stored)| stored.environment.is_some());
        external.of_environments = of_environments.into_iter().map(|(_, stored)| stored.name).collect();
        for (key, stored) in of_all {
            // Which value a job gets may depend on its environment.
            if stored.is_hidden() || external.of_environments.contains(&stored.name) {
                external.hidden.insert(stored.name);
                continue;
            }
            match self.open(&key, &stored).await {
                Ok(value) => {
                    external.values.insert(stored.name, value);
                }
                // Only the jobs fail that get it.
                Err(Error::SecretUnavailable(_)) => {
                    external.hidden.insert(stored.name);
                }
                Err(error) => return Err(error),
            }
        }
        let in_memory = self.in_memory.read().unwrap_or_else(PoisonError::into_inner);
        external.hidden.extend(in_memory.keys().cloned());
        Ok(external)
    }

    /// Removes a secret.
    pub async fn remove(&self, request: RemoveSecretRequest) -> Result<RemoveSecretReply> {
        check(&request.repo, request.environment.as_deref(), &request.name)?;
        let key = key(&request.repo, request.environment.as_deref(), &request.name);
        let documents = &self.context.stores.documents;
        let Some(known) = documents.get(&key).await? else { return Ok(RemoveSecretReply { removed: false }) };
        if read(&known)?.variable.is_some() != request.is_variable {
            return Ok(RemoveSecretReply { removed: false });
        }
        let removed = documents.delete(&key, Some(known.version)).await?;
        Ok(RemoveSecretReply { removed })
    }

    /// Re-encrypts secrets of all repositories under the newest key, a limited number per call. Call it again while `more` is set.
    pub async fn rekey(&self) -> Result<RekeyReply> {
        reseal::<SecretRecord>(&self.context, &self.seal).await
    }

    /// Returns the secrets that a job of `execution` names, and the variables of its repository that the execution does not have;
    /// those of its environment take precedence over the repository's. Only the assignment to a worker may contain them. A job can name
    /// its own `token` like a secret.
    pub(crate) async fn for_job(
        &self,
        execution: &ExecutionRecord,
        job: &str,
        options: &JobOptions,
        token: &str,
    ) -> Result<Vec<SecretValue>> {
        if !options.secrets.is_empty() && execution.spec.facts.is_from_fork() {
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
        let facts = Facts { repo: execution.spec.repo.clone(), ..execution.spec.facts.clone() };
        let mut values = Vec::with_capacity(options.secrets.len());
        for reference in &options.secrets {
            let value = match reference.name.as_str() {
                JOB_TOKEN => token.to_owned(),
                _ => self.value(&facts, environment, job, reference).await?,
            };
            let (variable, file) = (reference.variable.clone(), reference.file);
            values.push(SecretValue { variable, value, file, unmasked: false });
        }
        self.add_unnamed(execution, options, &mut values).await?;
        if values.iter().map(|one| one.value.len()).sum::<usize>() > MAX_JOB_SECRETS_BYTES {
            return Err(Error::SecretUnavailable(format!(
                "the secrets of job `{job}` have more than {MAX_JOB_SECRETS_BYTES} bytes in total"
            )));
        }
        Ok(values)
    }

    /// Adds what a job gets without naming it: variables, and all secrets if it asks for them.
    async fn add_unnamed(
        &self,
        execution: &ExecutionRecord,
        options: &JobOptions,
        values: &mut Vec<SecretValue>,
    ) -> Result<()> {
        let of = &execution.spec;
        let environment = options.environment.as_ref().map(|environment| environment.name.as_str());
        let facts = Facts { repo: of.repo.clone(), ..of.facts.clone() };
        let is_named = |values: &[SecretValue], name: &str| values.iter().any(|one| one.variable == name);
        if options.all_secrets {
            let in_memory = self.in_memory.read().unwrap_or_else(PoisonError::into_inner);
            for (name, value) in in_memory.iter().filter(|(name, _)| is_variable_name(name)) {
                if !is_named(values, name) {
                    let (variable, value) = (name.clone(), value.clone());
                    values.push(SecretValue { variable, value, file: false, unmasked: false });
                }
            }
        }
        let mut applicable: BTreeMap<String, (DocumentKey, SecretRecord)> = BTreeMap::new();
        // Those of an environment come later, and replace the others.
        for (key, stored) in self.stored(&of.repo).await? {
            let is_of_job = stored.environment.is_none() || stored.environment.as_deref() == environment;
            let is_asked_for =
                stored.variable.is_some() || (options.all_secrets && is_variable_name(&stored.name));
            if is_of_job && is_asked_for && stored.is_for(&facts) {
                applicable.insert(stored.name.clone(), (key, stored));
            }
        }
        for (name, (key, stored)) in applicable {
            // What a user sets for one run wins.
            if !is_named(values, &name) && !of.variables.contains_key(&name) {
                let value = self.open(&key, &stored).await?;
                let options = stored.variable.unwrap_or_default();
                let unmasked = stored.variable.is_some() && !options.masked;
                values.push(SecretValue { variable: name, value, file: options.file, unmasked });
            }
        }
        Ok(())
    }

    async fn value(
        &self,
        facts: &Facts,
        environment: Option<&str>,
        job: &str,
        reference: &SecretRef,
    ) -> Result<String> {
        let repo = facts.repo.as_str();
        if let Some(value) =
            self.in_memory.read().unwrap_or_else(PoisonError::into_inner).get(&reference.name)
        {
            return Ok(value.clone());
        }
        let own = environment.map(|environment| key(repo, Some(environment), &reference.name));
        for key in own.into_iter().chain([key(repo, None, &reference.name)]) {
            let document = self.context.stores.documents.get(&key).await?;
            let stored = document.as_ref().map(read).transpose()?;
            // A protected variable is not there for other branches, by its name neither.
            if let Some(stored) = stored.filter(|stored| stored.is_for(facts)) {
                return self.open(&key, &stored).await;
            }
        }
        let option = environment.map(|name| format!(" --environment {name}")).unwrap_or_default();
        Err(Error::SecretUnavailable(format!(
            "there is no secret `{name}` for job `{job}` of {repo}; set it with: tidemill secret set {name} --repo {repo}{option}",
            name = reference.name
        )))
    }

    /// Returns the value of a record.
    async fn open(&self, key: &DocumentKey, stored: &SecretRecord) -> Result<String> {
        let opened = self.seal.open(&key.name, &stored.sealed).await;
        let opened = opened.map_err(|error| match error {
            Error::CannotOpen(why) => Error::SecretUnavailable(format!(
                "{} `{}` of {} cannot be read: {why}",
                stored.kind(),
                stored.name,
                stored.repo
            )),
            error => error,
        })?;
        String::from_utf8(opened).map_err(|error| Error::storage("opening a secret", error.utf8_error()))
    }
}

fn read(document: &Document) -> Result<SecretRecord> {
    serde_json::from_str(&document.value).map_err(|error| Error::storage("reading a secret", error))
}

fn to_json(stored: &SecretRecord) -> Result<String> {
    serde_json::to_string(stored).map_err(|error| Error::storage("writing a secret", error))
}

fn view(stored: &SecretRecord, value: Option<String>) -> SecretView {
    SecretView {
        repo: stored.repo.clone(),
        environment: stored.environment.clone(),
        name: stored.name.clone(),
        updated_at: stored.updated_at,
        updated_by: stored.updated_by.clone(),
        variable: stored.variable,
        value,
    }
}

fn check_name(name: &str) -> Result<()> {
    if name == JOB_TOKEN {
        return Err(Error::Invalid(format!(
            "`{name}` is the token of the job that names it; use another name"
        )));
    }
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
    check_characters(value)
}

fn check_characters(value: &str) -> Result<()> {
    if value.contains('\0') {
        return Err(Error::Invalid(
            "a secret must not contain a NUL character, which shells do not support".into(),
        ));
    }
    Ok(())
}

fn check_variable(name: &str, value: &str, options: VariableOptions) -> Result<()> {
    if !is_variable_name(name) {
        return Err(Error::Invalid(format!(
            "`{name}` is not a valid name of a variable; use letters, digits and `_`, and start with a letter or `_`"
        )));
    }
    let max = if options.is_hidden() { MAX_VALUE_LEN } else { MAX_RECORDED_VALUE_LEN };
    if value.len() > max {
        let message = format!(
            "a variable has at most {max} bytes; this one has {}; use `--type file` for a large value",
            value.len()
        );
        return Err(Error::Invalid(message));
    }
    if options.masked { check_value(value) } else { check_characters(value) }
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
