//! Badges: images of the state of a default branch, which anyone sees who knows the badge's key.

use crate::{
    context::service_context::Context,
    error::{Error, Result},
    ports::{Document, DocumentKey, NewDocument, repository_key},
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tidemill_core::api::{BadgeReply, BadgeRequest, RevokeBadgeReply};
use tidemill_core::ids::digest::sha256_hex;
use tidemill_core::records::badge_svg;
use uuid::Uuid;

/// Kind of the documents that are named by a key.
const BADGE_KIND: &str = "badge";
/// Kind of the documents that are named by a hash of the repository.
const KEY_KIND: &str = "badge-key";
const MAX_ATTEMPTS: u32 = 20;
/// Label of a badge of all pipelines, and of an unknown one.
const DEFAULT_LABEL: &str = "build";

/// Service for badges.
#[derive(Debug, Clone)]
pub struct BadgeService {
    context: Arc<Context>,
}

/// A badge as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct BadgeRecord {
    repo: String,
    key: String,
}

fn read(document: &Document) -> Result<BadgeRecord> {
    serde_json::from_str(&document.value).map_err(|error| Error::storage("reading a badge", error))
}

fn of_repository(repo: &str) -> DocumentKey {
    DocumentKey::new(KEY_KIND, sha256_hex(repository_key(repo).as_bytes()))
}

fn of_key(key: &str) -> DocumentKey {
    DocumentKey::new(BADGE_KIND, key)
}

impl BadgeService {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Self { context }
    }

    /// Returns the key of a repository's badges, and creates it if there is none.
    pub async fn publish(&self, request: &BadgeRequest) -> Result<BadgeReply> {
        let documents = &self.context.stores.documents;
        for _ in 0..MAX_ATTEMPTS {
            let known = documents.get(&of_repository(&request.repo)).await?;
            let is_new = known.is_none();
            let record = if let Some(document) = known {
                read(&document)?
            } else {
                BadgeRecord { repo: request.repo.clone(), key: Uuid::new_v4().simple().to_string() }
            };
            if !is_new || self.put(of_repository(&request.repo), &record).await? {
                // Also if it exists: the process may have died before this.
                self.put(of_key(&record.key), &record).await?;
                return Ok(BadgeReply { key: record.key });
            }
        }
        Err(Error::Conflict("the badge of the repository changes too fast; try again".into()))
    }

    async fn put(&self, key: DocumentKey, record: &BadgeRecord) -> Result<bool> {
        let value =
            serde_json::to_string(record).map_err(|error| Error::storage("writing a badge", error))?;
        let new = NewDocument { key, value, due_at: None, expires_at: None };
        self.context.stores.documents.put(new, None).await
    }

    /// Removes the key of a repository's badges, which then look like unknown ones.
    pub async fn revoke(&self, request: &BadgeRequest) -> Result<RevokeBadgeReply> {
        let documents = &self.context.stores.documents;
        let Some(document) = documents.get(&of_repository(&request.repo)).await? else {
            return Ok(RevokeBadgeReply { revoked: false });
        };
        // In this order, so that a repetition finds the key.
        documents.delete(&of_key(&read(&document)?.key), None).await?;
        let revoked = documents.delete(&document.key, Some(document.version)).await?;
        Ok(RevokeBadgeReply { revoked })
    }

    /// Returns the image for a key, of one pipeline or of all. An unknown key and an unknown pipeline give the same image.
    pub async fn svg(&self, key: &str, pipeline: Option<&str>) -> Result<String> {
        let unknown = || badge_svg(DEFAULT_LABEL, None);
        let Some(key) = Uuid::try_parse(key).ok().filter(|_| key.len() == 32) else { return Ok(unknown()) };
        let documents = &self.context.stores.documents;
        let Some(document) = documents.get(&of_key(&key.simple().to_string())).await? else {
            return Ok(unknown());
        };
        let badge = read(&document)?;
        // A server that published the badge while it was revoked may have written its key after that.
        let published = documents.get(&of_repository(&badge.repo)).await?;
        if !published.is_some_and(|document| read(&document).is_ok_and(|known| known.key == badge.key)) {
            return Ok(unknown());
        }
        let activities = self.context.activities(Some(&badge.repo)).await?;
        let Some(activity) = activities.into_iter().next() else { return Ok(unknown()) };
        let Some(pipeline) = pipeline else { return Ok(badge_svg(DEFAULT_LABEL, activity.status)) };
        let mut of_default_branch = activity.of_default_branch.into_iter();
        Ok(match of_default_branch.find(|one| one.pipeline_name == pipeline) {
            Some(latest) => badge_svg(pipeline, Some(latest.status)),
            None => unknown(),
        })
    }
}
