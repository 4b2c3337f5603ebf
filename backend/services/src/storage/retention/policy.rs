//! The rules: one document for the server, and one for each repository that has its own.

use crate::{
    context::service_context::Context,
    error::{Error, Result},
    ports::{Document, DocumentKey, NewDocument, repository_key},
};
use tidemill_core::retention::{
    api::{RetentionRequest, RetentionView},
    settings::{RetentionPolicy, RetentionSettings},
};

const DOCUMENT_KIND: &str = "retention";
/// Name of the server's document. No repository has it.
const SERVER: &str = "*";
const MAX_ATTEMPTS: u32 = 20;

impl Context {
    /// Returns all rules.
    pub(crate) async fn retention_policy(&self) -> Result<RetentionPolicy> {
        let mut policy = RetentionPolicy::default();
        for document in self.stores.documents.all(DOCUMENT_KIND, "").await? {
            let settings = parse(&document)?;
            if document.key.name == SERVER {
                policy.server = settings;
            } else {
                policy.repositories.insert(document.key.name, settings);
            }
        }
        Ok(policy)
    }

    /// Returns the days for which an unused cache of a repository is kept.
    pub(crate) async fn cache_days(&self, repo: &str) -> Result<i64> {
        let own = self.retention_settings(&repository_key(repo)).await?;
        let server = self.retention_settings(SERVER).await?;
        let key = repository_key(repo);
        let policy = RetentionPolicy { server, repositories: [(key.clone(), own)].into() };
        Ok(i64::from(policy.cache_days(&key)))
    }

    /// Returns the days for which an unused upload is kept.
    pub(crate) async fn upload_days(&self) -> Result<i64> {
        let server = self.retention_settings(SERVER).await?;
        Ok(i64::from(RetentionPolicy { server, ..RetentionPolicy::default() }.upload_days()))
    }

    /// Returns the settings of the server, and those of a repository.
    pub(super) async fn retention_view(&self, repo: Option<&str>) -> Result<RetentionView> {
        let server = self.retention_settings(SERVER).await?;
        let Some(repo) = repo.map(name_of).transpose()? else {
            return Ok(RetentionView { repo: None, settings: server.clone(), server });
        };
        let settings = self.retention_settings(&repo).await?;
        Ok(RetentionView { repo: Some(repo), settings, server })
    }

    /// Replaces the settings of the server or of a repository.
    pub(super) async fn set_retention(&self, request: &RetentionRequest) -> Result<RetentionView> {
        request.settings.check(request.repo.is_none()).map_err(Error::Invalid)?;
        let name = request.repo.as_deref().map_or_else(|| Ok(SERVER.to_owned()), name_of)?;
        let documents = &self.stores.documents;
        for _ in 0..MAX_ATTEMPTS {
            let key = DocumentKey::new(DOCUMENT_KIND, &name);
            let version = documents.get(&key).await?.map(|existing| existing.version);
            let is_written = if request.settings == RetentionSettings::default() {
                version.is_none() || documents.delete(&key, version).await?
            } else {
                let value = serde_json::to_string(&request.settings)
                    .map_err(|error| Error::storage("writing retention settings", error))?;
                documents.put(NewDocument { key, value, due_at: None, expires_at: None }, version).await?
            };
            if is_written {
                return self.retention_view(request.repo.as_deref()).await;
            }
        }
        Err(Error::Conflict("others are changing the retention settings at the same time; try again".into()))
    }

    async fn retention_settings(&self, name: &str) -> Result<RetentionSettings> {
        let document = self.stores.documents.get(&DocumentKey::new(DOCUMENT_KIND, name)).await?;
        document.as_ref().map_or_else(|| Ok(RetentionSettings::default()), parse)
    }
}

/// Returns the name of a repository's document. `*` would be the server's, which not everyone who may name a repository may change.
fn name_of(repo: &str) -> Result<String> {
    let name = repository_key(repo);
    if name == SERVER {
        return Err(Error::Invalid(
            "`*` is not a repository; the server's settings are those without a repository".into(),
        ));
    }
    Ok(name)
}

fn parse(document: &Document) -> Result<RetentionSettings> {
    serde_json::from_str(&document.value).map_err(|error| Error::storage("reading retention settings", error))
}
