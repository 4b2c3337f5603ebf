//! Caches of a job: restored before its script and saved after it. A failure is logged and does not fail the job.

use crate::{artifact::ArtifactTransfer, engine::WorkspaceMount, job::reporter::Reporter};
use std::time::Instant;
use tidemill_core::api::CacheLookupRequest;
use tidemill_core::execution::assignment::{ArtifactsWhen, Assignment, Cache};

/// Hex digits of a hash of files that are part of a key.
const HASH_LEN: usize = 32;

/// A cache of a job, as it was before the script.
#[derive(Debug)]
pub struct RestoredCache {
    cache: Cache,
    /// Its whole key.
    key: String,
    /// The hash of the content that was restored under that key.
    sha256: Option<String>,
}

/// Restores the caches of `assignment` into its workspace.
pub async fn restore(
    mover: &ArtifactTransfer,
    workspace: &WorkspaceMount,
    assignment: &Assignment,
    reporter: &Reporter,
) -> Vec<RestoredCache> {
    let mut restored = Vec::new();
    for cache in &assignment.extras.caches {
        reporter.phase("fetching caches");
        let key = match key(mover, workspace, cache).await {
            Ok(key) => key,
            Err(words) => {
                reporter.log(format!("cache: its key could not be made: {words}\n").as_bytes()).await;
                continue;
            }
        };
        if reporter.mask().hides(&key) {
            // It would be in the server's records.
            reporter.log(b"cache: not used, as there is a secret in its key\n").await;
            continue;
        }
        let mut sha256 = None;
        if cache.policy.pulls() {
            let words;
            let own = std::iter::once(&key);
            let keys = own.chain(cache.fallback_keys.iter().filter(|key| !reporter.mask().hides(key)));
            let keys = keys.cloned().collect();
            (sha256, words) = restore_one(mover, workspace, assignment, keys, &key).await;
            reporter.log(format!("cache `{key}`: {words}\n").as_bytes()).await;
        }
        restored.push(RestoredCache { cache: cache.clone(), key, sha256 });
    }
    restored
}

async fn restore_one(
    mover: &ArtifactTransfer,
    workspace: &WorkspaceMount,
    assignment: &Assignment,
    keys: Vec<String>,
    key: &str,
) -> (Option<String>, String) {
    let begun = Instant::now();
    let (job_id, lease) = (assignment.preparation.job_id, assignment.lease.token);
    let found = match mover.api.look_up_cache(&CacheLookupRequest { job_id, lease, keys }).await {
        Ok(reply) => reply.found,
        Err(error) => return (None, format!("not looked up: {error}")),
    };
    let Some(found) = found else { return (None, "nothing is kept".to_owned()) };
    if let Err(reason) = mover.restore(workspace, &found.source).await {
        return (None, format!("not fetched: {}", reason.message));
    }
    let (mib, ms) = (found.source.size / (1 << 20), begun.elapsed().as_millis());
    if found.key == key {
        (Some(found.source.sha256), format!("fetched {mib} MiB in {ms} ms"))
    } else {
        (None, format!("fetched {mib} MiB of `{}` in {ms} ms", found.key))
    }
}

/// Saves the caches after the script, where their policy and the job's origin allow it.
pub async fn save(
    mover: &ArtifactTransfer,
    workspace: &WorkspaceMount,
    assignment: &Assignment,
    restored: &[RestoredCache],
    succeeded: bool,
    reporter: &Reporter,
) {
    for RestoredCache { cache, key, sha256 } in restored {
        let wanted = match cache.when {
            ArtifactsWhen::OnSuccess => succeeded,
            ArtifactsWhen::OnFailure => !succeeded,
            ArtifactsWhen::Always => true,
        };
        if !wanted || !cache.policy.pushes() {
            continue;
        }
        reporter.phase("keeping caches");
        let words = if assignment.extras.may_keep_caches {
            let begun = Instant::now();
            let of = (assignment, reporter.mask());
            match mover.save_cache(workspace, &cache.paths, key, sha256.as_deref(), of).await {
                Ok(Some(bytes)) => {
                    format!("kept {} MiB in {} ms", bytes / (1 << 20), begun.elapsed().as_millis())
                }
                Ok(None) if sha256.is_some() => "is as it was".to_owned(),
                Ok(None) => "there is nothing to keep".to_owned(),
                Err(reason) => format!("not kept: {}", reason.message),
            }
        } else {
            "not kept, as the commit comes from a fork".to_owned()
        };
        reporter.log(format!("cache `{key}`: {words}\n").as_bytes()).await;
    }
}

/// The whole key: with the hash of the files that are part of it.
async fn key(mover: &ArtifactTransfer, workspace: &WorkspaceMount, cache: &Cache) -> Result<String, String> {
    if cache.key_files.is_empty() {
        return Ok(cache.key.clone());
    }
    let hash = mover.hash_of_files(workspace, &cache.key_files).await.map_err(|reason| reason.message)?;
    let hash = &hash[..HASH_LEN.min(hash.len())];
    Ok(if cache.key.is_empty() { hash.to_owned() } else { format!("{}-{hash}", cache.key) })
}
