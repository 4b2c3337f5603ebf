//! Stores logins of repositories at registries of images, and passes them to the workers of their jobs.

use super::resealing::{SealedRecord, reseal};
use crate::{
    context::service_context::Context,
    error::{Error, Result},
    ports::{Document, DocumentKey, ExecutionRecord, NewDocument},
    seal::SecretSealer,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};
use tidemill_core::{
    api::{
        RegistryList, RegistryView, RekeyReply, RemoveRegistryReply, RemoveRegistryRequest,
        SetRegistryRequest,
    },
    execution::assignment::RegistryLogin,
    pipeline::RegistryScope,
    plan::PlannedJob,
    repository::{RepositoryName, canonical_name},
    time::Timestamp,
};

/// Maximum number of logins of one repository.
const MAX_LOGINS: usize = 50;
/// Maximum length of a password in bytes: tokens of clouds are long.
const MAX_PASSWORD_LEN: usize = 16 << 10;
const MAX_USERNAME_LEN: usize = 256;
const MAX_ATTEMPTS: u32 = 20;

/// Service for logins at registries.
#[derive(Clone)]
pub struct RegistryService {
    context: Arc<Context>,
    seal: SecretSealer,
}

impl fmt::Debug for RegistryService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RegistryService")
    }
}

/// The stored record of a login.
#[derive(Debug, Serialize, Deserialize)]
struct RegistryRecord {
    /// The repository, as in the request.
    repo: String,
    registry: String,
    username: String,
    updated_at: Timestamp,
    updated_by: String,
    /// The password, sealed for the name of the document.
    sealed: String,
}

impl SealedRecord for RegistryRecord {
    const KIND: &'static str = "registry";

    fn sealed(&mut self) -> &mut String {
        &mut self.sealed
    }

    fn description(&self) -> String {
        format!("login at {} of {}", self.registry, canonical_name(&self.repo))
    }
}

/// Returns the key of a login. No part contains a line break.
fn key(repo: &str, scope: &RegistryScope) -> DocumentKey {
    DocumentKey::new(RegistryRecord::KIND, format!("{}\n{scope}", canonical_name(repo)))
}

impl RegistryService {
    pub(crate) const fn new(context: Arc<Context>, seal: SecretSealer) -> Self {
        Self { context, seal }
    }

    /// Sets a login on behalf of `by`, and replaces an earlier one for the same registry.
    pub async fn set(&self, request: SetRegistryRequest, by: &str) -> Result<RegistryView> {
        let SetRegistryRequest { repo, registry, username, password } = request;
        let scope = check(&repo, &registry)?;
        check_username(&username)?;
        check_password(&password)?;
        let key = key(&repo, &scope);
        let documents = &self.context.stores.documents;
        let sealed = self.seal.seal(&key.name, password.as_bytes()).await?;
        let (updated_at, updated_by) = (self.context.now(), by.to_owned());
        let stored =
            RegistryRecord { repo, registry: scope.to_string(), username, updated_at, updated_by, sealed };
        let text =
            serde_json::to_string(&stored).map_err(|error| Error::storage("writing a login", error))?;
        for _ in 0..MAX_ATTEMPTS {
            let known = documents.get(&key).await?.map(|known| known.version);
            if known.is_none() && self.list(&stored.repo).await?.registries.len() >= MAX_LOGINS {
                return Err(Error::Invalid(format!(
                    "a repository has at most {MAX_LOGINS} logins; remove one with `tidemill registry remove`"
                )));
            }
            let new = NewDocument { key: key.clone(), value: text.clone(), due_at: None, expires_at: None };
            if documents.put(new, known).await? {
                return Ok(view(&stored));
            }
        }
        Err(Error::Conflict("other clients are changing the login at the same time; try again".into()))
    }

    /// Returns the logins of a repository, never a password.
    pub async fn list(&self, repo: &str) -> Result<RegistryList> {
        let prefix = format!("{}\n", canonical_name(repo));
        let all = self.context.stores.documents.all(RegistryRecord::KIND, &prefix).await?;
        let registries = all.iter().map(|document| Ok(view(&read(document)?))).collect::<Result<_>>()?;
        Ok(RegistryList { registries })
    }

    /// Removes a login.
    pub async fn remove(&self, request: RemoveRegistryRequest) -> Result<RemoveRegistryReply> {
        let scope = check(&request.repo, &request.registry)?;
        let removed = self.context.stores.documents.delete(&key(&request.repo, &scope), None).await?;
        Ok(RemoveRegistryReply { removed })
    }

    /// Re-encrypts logins of all repositories under the newest key, a limited number per call. Call it again while `more` is set.
    pub async fn rekey(&self) -> Result<RekeyReply> {
        reseal::<RegistryRecord>(&self.context, &self.seal).await
    }

    /// Returns the logins for the images of a job of `execution`, for each image the one with the longest path that covers it.
    /// A job that builds an image gets all logins of its repository. Jobs of a fork get none. Only the assignment to a worker may
    /// contain them.
    pub(crate) async fn for_job(
        &self,
        execution: &ExecutionRecord,
        job: &PlannedJob,
    ) -> Result<Vec<RegistryLogin>> {
        if execution.spec.facts.is_from_fork() || job.discovery.is_some() || job.surroundings.child.is_some()
        {
            return Ok(Vec::new());
        }
        let repo = &execution.spec.repo;
        if job.surroundings.build.is_some() {
            // Only its Dockerfile says which images it is built from.
            let prefix = format!("{}\n", canonical_name(repo));
            let documents = self.context.stores.documents.all(RegistryRecord::KIND, &prefix).await?;
            let mut logins = Vec::new();
            for document in &documents {
                logins.push(self.open(document).await?);
            }
            return Ok(logins);
        }
        let services = job.surroundings.services.iter().map(|service| service.image.as_str());
        let images = services.chain([job.image.as_str()]).map(RegistryScope::of_image);
        let images: BTreeSet<RegistryScope> = images.collect();
        let Some(first) = images.first() else { return Ok(Vec::new()) };
        // One query, also for images of several registries: a repository has few logins.
        let is_one = images.iter().all(|image| image.host == first.host);
        let host = if is_one { first.host.as_str() } else { "" };
        let prefix = format!("{}\n{host}", canonical_name(repo));
        let documents = self.context.stores.documents.all(RegistryRecord::KIND, &prefix).await?;
        let scopes = documents.iter().filter_map(|document| {
            let (_, scope) = document.key.name.rsplit_once('\n')?;
            Some((RegistryScope::parse(scope)?, document))
        });
        let scopes: Vec<_> = scopes.collect();
        let best = images.iter().filter_map(|image| {
            let covering = scopes.iter().filter(|(scope, _)| scope.covers(image));
            covering.max_by_key(|(scope, _)| scope.path.len())
        });
        let best: BTreeMap<_, _> = best.map(|(scope, document)| (scope, *document)).collect();
        let mut logins = Vec::new();
        for document in best.into_values() {
            logins.push(self.open(document).await?);
        }
        Ok(logins)
    }

    /// Returns the login at a registry, if there is one.
    pub(crate) async fn login(&self, repo: &str, registry: &str) -> Result<Option<RegistryLogin>> {
        let Some(scope) = RegistryScope::parse(registry) else { return Ok(None) };
        match self.context.stores.documents.get(&key(repo, &scope)).await? {
            Some(document) => self.open(&document).await.map(Some),
            None => Ok(None),
        }
    }

    async fn open(&self, document: &Document) -> Result<RegistryLogin> {
        let stored = read(document)?;
        let opened = self.seal.open(&document.key.name, &stored.sealed).await;
        let opened = opened.map_err(|error| match error {
            Error::CannotOpen(why) => {
                Error::SecretUnavailable(format!("the {} cannot be read: {why}", stored.description()))
            }
            error => error,
        })?;
        let password = String::from_utf8(opened)
            .map_err(|error| Error::storage("opening a login", error.utf8_error()))?;
        Ok(RegistryLogin { registry: stored.registry, username: stored.username, password })
    }
}

fn read(document: &Document) -> Result<RegistryRecord> {
    serde_json::from_str(&document.value).map_err(|error| Error::storage("reading a login", error))
}

fn view(stored: &RegistryRecord) -> RegistryView {
    RegistryView {
        repo: stored.repo.clone(),
        registry: stored.registry.clone(),
        username: stored.username.clone(),
        updated_at: stored.updated_at,
        updated_by: stored.updated_by.clone(),
    }
}

fn check(repo: &str, registry: &str) -> Result<RegistryScope> {
    if repo.trim().is_empty() || repo.len() > 300 || repo.contains(char::is_control) {
        return Err(Error::Invalid("a repository has 1 to 300 bytes, without control characters".into()));
    }
    RepositoryName::parse(repo).map_err(|error| Error::Invalid(error.to_string()))?;
    RegistryScope::parse(registry).ok_or_else(|| {
        Error::Invalid(
            "this is not a registry; use its host with its port if it has one, such as `registry.example.com:5000`, \
             optionally with a path, such as `ghcr.io/team`"
                .into(),
        )
    })
}

fn check_username(username: &str) -> Result<()> {
    // HTTP's Basic authentication ends a name at the first colon (RFC 7617).
    if username.is_empty()
        || username.len() > MAX_USERNAME_LEN
        || username.contains(|c: char| c.is_control() || c == ':')
    {
        return Err(Error::Invalid(format!(
            "a user name has 1 to {MAX_USERNAME_LEN} bytes, without `:` and control characters"
        )));
    }
    Ok(())
}

fn check_password(password: &str) -> Result<()> {
    if password.is_empty() || password.len() > MAX_PASSWORD_LEN || password.contains('\0') {
        return Err(Error::Invalid(format!(
            "a password has 1 to {MAX_PASSWORD_LEN} bytes, without NUL characters; this one has {}",
            password.len()
        )));
    }
    Ok(())
}
