//! Caches of a job: restored before its script and saved after it. A failure is logged and does not fail the job.

use crate::{artifact::ArtifactTransfer, engine::WorkspaceMount, job::reporter::Reporter};
use std::time::Instant;
use tidemill_core::api::CacheLookupRequest;
use tidemill_core::execution::{
    assignment::{ArtifactsWhen, Assignment, Cache},
    failure::FailureReason,
};

/// Hex digits of the hash of files in a key.
const HASH_LEN: usize = 32;

/// A cache of a job in its state before the script.
#[derive(Debug)]
pub struct RestoredCache {
    cache: Cache,
    /// Its complete key.
    key: String,
    /// The hash of the content restored from that key; `None` if none was.
    sha256: Option<String>,
}

/// Restores the caches of `assignment` into its workspace.
pub async fn restore(
    transfer: &ArtifactTransfer,
    workspace: &WorkspaceMount,
    assignment: &Assignment,
    reporter: &Reporter,
) -> Vec<RestoredCache> {
    let mut restored = Vec::new();
    for cache in &assignment.extras.caches {
        reporter.phase("restoring caches");
        let key = match key(transfer, workspace, cache).await {
            Ok(key) => key,
            Err(reason) => {
                let text = format!("cache: its key could not be computed: {}\n", reason.message);
                reporter.log(text.as_bytes()).await;
                continue;
            }
        };
        if reporter.mask().contains_secret(&key) {
            // The key is stored in the server's records.
            reporter.log(b"cache: not used, as its key contains a secret\n").await;
            continue;
        }
        let mut sha256 = None;
        if cache.policy.pulls() {
            let result;
            let own = std::iter::once(&key);
            let keys =
                own.chain(cache.fallback_keys.iter().filter(|key| !reporter.mask().contains_secret(key)));
            let keys = keys.cloned().collect();
            (sha256, result) = restore_one(transfer, workspace, assignment, keys, &key).await;
            reporter.log(format!("cache `{key}`: {result}\n").as_bytes()).await;
        }
        restored.push(RestoredCache { cache: cache.clone(), key, sha256 });
    }
    restored
}

/// Restores one cache. Returns the hash of its content if it was found under `key`, and a log message.
async fn restore_one(
    transfer: &ArtifactTransfer,
    workspace: &WorkspaceMount,
    assignment: &Assignment,
    keys: Vec<String>,
    key: &str,
) -> (Option<String>, String) {
    let started = Instant::now();
    let (job_id, lease) = (assignment.preparation.job_id, assignment.lease.token);
    let found = match transfer.api.look_up_cache(&CacheLookupRequest { job_id, lease, keys }).await {
        Ok(reply) => reply.found,
        Err(error) => return (None, format!("lookup failed: {error}")),
    };
    let Some(found) = found else { return (None, "not found".to_owned()) };
    if let Err(reason) = transfer.restore(workspace, &found.source).await {
        return (None, format!("restoring failed: {}", reason.message));
    }
    let (size, ms) = (size_text(found.source.size), started.elapsed().as_millis());
    if found.key == key {
        (Some(found.source.sha256), format!("restored {size} in {ms} ms"))
    } else {
        (None, format!("restored {size} from `{}` in {ms} ms", found.key))
    }
}

/// Saves the caches after the script, where their policy and the job's origin allow it.
pub async fn save(
    transfer: &ArtifactTransfer,
    workspace: &WorkspaceMount,
    assignment: &Assignment,
    restored: &[RestoredCache],
    succeeded: bool,
    reporter: &Reporter,
) {
    for RestoredCache { cache, key, sha256 } in restored {
        let applies = match cache.when {
            ArtifactsWhen::OnSuccess => succeeded,
            ArtifactsWhen::OnFailure => !succeeded,
            ArtifactsWhen::Always => true,
        };
        if !applies || !cache.policy.pushes() {
            continue;
        }
        reporter.phase("saving caches");
        let result = if assignment.extras.may_keep_caches {
            let started = Instant::now();
            let origin = (assignment, reporter.mask());
            match transfer.save_cache(workspace, &cache.paths, key, sha256.as_deref(), origin).await {
                Ok(Some(bytes)) => {
                    format!("saved {} in {} ms", size_text(bytes), started.elapsed().as_millis())
                }
                Ok(None) if sha256.is_some() => "unchanged".to_owned(),
                Ok(None) => "not saved, as no file matches".to_owned(),
                Err(reason) => format!("not saved: {}", reason.message),
            }
        } else {
            "not saved, as the commit comes from a fork".to_owned()
        };
        reporter.log(format!("cache `{key}`: {result}\n").as_bytes()).await;
    }
}

/// Formats a number of bytes in MiB, or in KiB if it is less than one MiB.
fn size_text(bytes: u64) -> String {
    match bytes >> 20 {
        0 => format!("{} KiB", bytes.div_ceil(1 << 10)),
        mib => format!("{mib} MiB"),
    }
}

/// Returns the complete key, with the hash of the files that are part of it.
async fn key(
    transfer: &ArtifactTransfer,
    workspace: &WorkspaceMount,
    cache: &Cache,
) -> Result<String, FailureReason> {
    if cache.key_files.is_empty() {
        return Ok(cache.key.clone());
    }
    let hash = transfer.hash_of_files(workspace, &cache.key_files).await?;
    let hash = &hash[..HASH_LEN.min(hash.len())];
    Ok(if cache.key.is_empty() { hash.to_owned() } else { format!("{}-{hash}", cache.key) })
}
