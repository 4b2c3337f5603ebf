//! Tokens with which a repository's reports are written: its own, or one of the installation of its GitHub App.

use crate::{
    error::Error,
    forge::delivery::{SendFailure, Sender},
    repositories::record::{Repository, StoredApp},
};
use serde::Deserialize;
use serde_json::json;
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};
use tidemill_core::{
    ids::digest::json_digest,
    notification::{
        message::{OutgoingReply, OutgoingRequest},
        repository_api::RepositoryApi,
    },
    time::Timestamp,
};

/// A token is not used during the last minute of its validity: clocks differ, and requests take time.
const MIN_VALIDITY_MS: u64 = 60_000;

/// A token of an installation, as GitHub returns it.
#[derive(Clone, Deserialize)]
struct InstallationToken {
    token: String,
    expires_at: Timestamp,
}

/// Sends requests to the providers of repositories; cheap to clone. Keeps the tokens of installations until they expire.
#[derive(Clone)]
pub struct ReportClient {
    pub(in crate::forge) sender: Arc<Sender>,
    tokens: Arc<Mutex<HashMap<String, InstallationToken>>>,
}

impl fmt::Debug for ReportClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReportClient").finish_non_exhaustive()
    }
}

impl ReportClient {
    pub(in crate::forge) fn new(sender: Arc<Sender>) -> Self {
        Self { sender, tokens: Arc::default() }
    }

    /// Sends a request that `request` makes for the API and the token of a repository.
    pub(in crate::forge) async fn send(
        &self,
        repository: &Repository,
        request: impl FnOnce(&RepositoryApi, &str) -> OutgoingRequest + Send,
    ) -> Result<OutgoingReply, SendFailure> {
        let api = RepositoryApi::new(repository.provider, repository.api_url.as_deref(), &repository.url);
        let Some(app) = &repository.app else {
            let token = self.sender.repositories.status_token(repository).await?;
            let token =
                token.ok_or_else(|| SendFailure::of_reply("the repository has no token for its provider"))?;
            return self.sender.request(&request(&api, &token)).await;
        };
        let key = token_key(repository, app)?;
        let token = self.installation_token(repository, app, &api, &key).await?;
        let result = self.sender.request(&request(&api, &token)).await;
        if result.as_ref().is_err_and(|failure| failure.status == Some(401)) {
            // It was revoked.
            self.tokens.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        }
        result
    }

    async fn installation_token(
        &self,
        repository: &Repository,
        app: &StoredApp,
        api: &RepositoryApi,
        key: &str,
    ) -> Result<String, SendFailure> {
        let now = self.sender.context.now();
        let is_valid = |token: &InstallationToken| token.expires_at.since_ms(now) > MIN_VALIDITY_MS;
        let cached = self.tokens.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned();
        if let Some(cached) = cached.filter(&is_valid) {
            return Ok(cached.token);
        }
        let signed = self.sender.repositories.app_token(repository, app).await?;
        // No more rights than needed, and for this repository only.
        let mut permissions = json!({ "checks": "write", "metadata": "read" });
        if repository.notes {
            permissions["pull_requests"] = json!("write");
        }
        let body = json!({ "repositories": [api.short_name()], "permissions": permissions });
        let url = format!("{}/app/installations/{}/access_tokens", api.base, app.installation_id);
        let headers = vec![
            api.authorization(&signed),
            ("accept", "application/vnd.github+json".to_owned()),
            ("x-github-api-version", "2022-11-28".to_owned()),
        ];
        let reply = self.sender.request(&OutgoingRequest::post(url, headers, &body)).await;
        let reply = reply.map_err(|failure| SendFailure {
            why: format!("no token for the installation of the GitHub App: {}", failure.why),
            // The status is that of another request, and nothing was changed.
            status: Some(0),
            ..failure
        })?;
        let token: InstallationToken = serde_json::from_slice(&reply.body)
            .map_err(|_| SendFailure::of_reply("the reply with the token of the installation is invalid"))?;
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.retain(|_, token| is_valid(token));
        tokens.insert(key.to_owned(), token.clone());
        Ok(token.token)
    }
}

/// Returns what a token depends on.
fn token_key(repository: &Repository, app: &StoredApp) -> Result<String, SendFailure> {
    let of = (repository.name(), &repository.api_url, repository.notes, app.identity());
    json_digest(&of).map_err(|error| Error::storage("deriving the key of a token", error).into())
}
