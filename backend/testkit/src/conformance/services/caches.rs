//! Checks of caches, over the adapters.

use super::sweep::UndeletableObjects;
use crate::conformance::{StoresUnderTest, claims::claim_at, samples};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use data_encoding::HEXLOWER;
use futures_util::stream;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use tidemill_core::execution::{
    assignment::Assignment,
    facts::{Facts, PullRequest},
};
use tidemill_core::{
    api::{ArtifactComplete, ArtifactEncoding, ArtifactUploadRequest, CacheLookupRequest, ExecuteRequest},
    ids::{ArtifactId, LeaseToken},
};
use tidemill_services::Error;
use tidemill_services::Stores;
use tidemill_services::{Download, Services, Settings};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

fn services(stores: Stores) -> Services {
    Services::new(stores, Settings::default(), CancellationToken::new())
}

/// Starts and claims a job of this repository.
async fn running(services: &Services, repo: &str, from_fork: bool) -> Assignment {
    let pipeline = "name: check\njobs: { a: { image: i, script: x } }\n".to_owned();
    let request = ExecuteRequest { pipeline, repo: repo.into(), force: true, ..ExecuteRequest::default() };
    let pull_request = from_fork.then(|| PullRequest { from_fork, ..PullRequest::default() });
    let start = tidemill_services::InternalStart {
        facts: Facts { pull_request, ..Facts::default() },
        ..Default::default()
    };
    let id = services.pipelines.start(request, start, None, None).await.unwrap().execution_id;
    claim_at(services, id, 0).await.unwrap()
}

fn announcement(assignment: &Assignment, key: &str) -> ArtifactUploadRequest {
    ArtifactUploadRequest {
        job_id: assignment.preparation.job_id,
        lease: assignment.lease.token,
        file_path: "target".into(),
        name: None,
        expose_as: None,
        files: Vec::new(),
        expire_in_s: None,
        cache_key: Some(key.into()),
        image: None,
        sum: None,
        complete: None,
    }
}

/// Uploads the bytes of an announced cache.
async fn put(
    services: &Services,
    assignment: &Assignment,
    (key, id): (&str, ArtifactId),
    bytes: &[u8],
) -> Result<(), Error> {
    let body = Box::pin(stream::iter([Ok(Bytes::copy_from_slice(bytes))]));
    let key = URL_SAFE_NO_PAD.encode(key);
    services
        .artifacts
        .put(id, (assignment.preparation.job_id, assignment.lease.token), Some(&key), body)
        .await
}

fn complete(id: ArtifactId, bytes: &[u8]) -> ArtifactComplete {
    let sha256 = HEXLOWER.encode(&Sha256::digest(bytes));
    ArtifactComplete {
        artifact_id: id,
        size: bytes.len() as u64,
        sha256,
        encoding: ArtifactEncoding::Identity,
        unpacked_size: bytes.len() as u64,
    }
}

async fn store(
    services: &Services,
    assignment: &Assignment,
    key: &str,
    bytes: &[u8],
) -> Result<ArtifactId, Error> {
    let mut request = announcement(assignment, key);
    let id = services.artifacts.upload(request.clone()).await?.artifact_id;
    put(services, assignment, (key, id), bytes).await?;
    request.complete = Some(complete(id, bytes));
    services.artifacts.upload(request).await?;
    Ok(id)
}

/// Looks up a cache, and returns its key and size.
async fn lookup(services: &Services, assignment: &Assignment, keys: &[&str]) -> Option<(String, u64)> {
    let request = CacheLookupRequest {
        job_id: assignment.preparation.job_id,
        lease: assignment.lease.token,
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
    };
    services.caches.lookup(request).await.unwrap().found.map(|found| (found.key, found.source.size))
}

/// The first matching key is used, a later cache replaces an earlier one, and other repositories find nothing.
pub async fn cache_is_found_by_jobs_of_its_repository(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let repo = samples::repo();
    let job = running(&services, &repo, false).await;
    assert_eq!(lookup(&services, &job, &["a", "b"]).await, None);
    store(&services, &job, "b", b"12").await.unwrap();
    assert_eq!(lookup(&services, &job, &["a", "b"]).await, Some(("b".into(), 2)));
    store(&services, &job, "a", b"1").await.unwrap();
    store(&services, &job, "a", b"123").await.unwrap();
    let later = running(&services, &format!("{repo}.git"), false).await;
    assert_eq!(lookup(&services, &later, &["a", "b"]).await, Some(("a".into(), 3)));
    let elsewhere = running(&services, &samples::repo(), false).await;
    assert_eq!(lookup(&services, &elsewhere, &["a", "b"]).await, None);
    let lost = CacheLookupRequest {
        job_id: job.preparation.job_id,
        lease: LeaseToken(Uuid::now_v7()),
        keys: vec!["a".into()],
    };
    assert!(matches!(services.caches.lookup(lost).await, Err(Error::LeaseLost(_))));
}

/// Jobs of a fork can read caches but not store them.
pub async fn fork_cannot_store_cache(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let repo = samples::repo();
    let own = running(&services, &repo, false).await;
    store(&services, &own, "a", b"good").await.unwrap();
    let fork = running(&services, &repo, true).await;
    assert!(own.extras.may_keep_caches && !fork.extras.may_keep_caches);
    assert_eq!(lookup(&services, &fork, &["a"]).await, Some(("a".into(), 4)));
    let result = store(&services, &fork, "a", b"poison").await;
    assert!(matches!(&result, Err(Error::Conflict(message)) if message.contains("fork")), "{result:?}");
    assert_eq!(lookup(&services, &own, &["a"]).await, Some(("a".into(), 4)));
}

/// A cache expires two weeks after its last use.
pub async fn unused_cache_is_removed(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let repo = samples::repo();
    let job = running(&services, &repo, false).await;
    for key in ["used", "unused"] {
        store(&services, &job, key, b"x").await.unwrap();
    }
    let day = 86_400_000;
    subject.clock.advance(10 * day);
    let later = running(&services, &repo, false).await;
    assert!(lookup(&services, &later, &["used"]).await.is_some());
    subject.clock.advance(10 * day);
    services.sweep.run().await.unwrap();
    let last = running(&services, &repo, false).await;
    assert_eq!(lookup(&services, &last, &["unused", "used"]).await, Some(("used".into(), 1)));
}

/// A cache that cannot be removed does not keep the others when the disk is nearly full. This removes the caches of all repositories of
/// the store.
pub async fn undeletable_cache_does_not_stop_eviction(subject: &StoresUnderTest) {
    let mut stores = subject.open().await;
    let writing = services(stores.clone());
    let repo = samples::repo();
    let job = running(&writing, &repo, false).await;
    let locked = store(&writing, &job, "locked", b"1").await.unwrap();
    subject.clock.advance(1_000);
    store(&writing, &job, "free", b"1").await.unwrap();
    let undeletable = vec![locked.to_string()];
    stores.objects = Arc::new(UndeletableObjects { inner: stores.objects.clone(), undeletable });
    let services = services(stores);
    assert_eq!(services.retention.evict_caches().await.unwrap(), 1);
    let job = running(&services, &repo, false).await;
    assert_eq!(lookup(&services, &job, &["free", "locked"]).await, Some(("locked".into(), 1)));
    assert_eq!(services.retention.evict_caches().await.unwrap(), 0);
}

/// A job reads only caches of its repository and of the requested key; an object's id gives no other access.
pub async fn cache_is_bound_to_its_repository_and_key(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let job = running(&services, &samples::repo(), false).await;
    let id = store(&services, &job, "a", b"ours").await.unwrap();
    let other_id = store(&services, &job, "b", b"other").await.unwrap();
    let lease_of = |assignment: &Assignment| (assignment.preparation.job_id, assignment.lease.token);
    let get = async |by: &Assignment, key: &str, object| {
        let (job, lease) = lease_of(by);
        services.caches.download(job, lease, (&URL_SAFE_NO_PAD.encode(key), object)).await
    };
    assert!(get(&job, "a", id).await.is_ok());
    for (key, object) in [("b", id), ("a", other_id), ("none", id)] {
        let result = get(&job, key, object).await;
        assert!(matches!(result, Err(Error::NotFound(_))), "{key}: {result:?}");
    }
    let elsewhere = running(&services, &samples::repo(), false).await;
    let result = get(&elsewhere, "a", id).await;
    assert!(matches!(result, Err(Error::NotFound(_))), "of another repository: {result:?}");
    // A job cannot complete an upload of another job.
    let later = running(&services, &samples::repo(), false).await;
    for by in [&elsewhere, &later] {
        let result = services
            .artifacts
            .upload(ArtifactUploadRequest { complete: Some(complete(id, b"ours")), ..announcement(by, "a") });
        let result = result.await;
        assert!(matches!(result, Err(Error::Conflict(_))), "{result:?}");
    }
    // Its upload under the same id is separate.
    put(&services, &elsewhere, ("a", id), b"poison").await.unwrap();
    assert!(get(&job, "a", id).await.is_ok());
    assert_eq!(lookup(&services, &job, &["a"]).await, Some(("a".into(), 4)));
    let Ok(Download::Stream(info, _)) = get(&job, "a", id).await else { panic!("no content") };
    assert_eq!(info.size, 4);
}

/// A job cannot upload under the id of another job's artifact.
pub async fn artifact_of_other_job_cannot_be_overwritten(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let (one, other) = (
        running(&services, &samples::repo(), false).await,
        running(&services, &samples::repo(), false).await,
    );
    let announce = |assignment: &Assignment| ArtifactUploadRequest {
        cache_key: None,
        image: None,
        ..announcement(assignment, "unused")
    };
    let id = services.artifacts.upload(announce(&one)).await.unwrap().artifact_id;
    let body = || Box::pin(stream::iter([Ok(Bytes::from_static(b"poison"))]));
    let of_other = (other.preparation.job_id, other.lease.token);
    let put = services.artifacts.put(id, of_other, None, body()).await;
    assert!(matches!(put, Err(Error::Conflict(_))), "{put:?}");
    let own_id = services.artifacts.upload(announce(&other)).await.unwrap().artifact_id;
    services.artifacts.put(own_id, of_other, None, body()).await.unwrap();
    let forged = ArtifactUploadRequest { complete: Some(complete(id, b"poison")), ..announce(&other) };
    let result = services.artifacts.upload(forged).await;
    assert!(matches!(result, Err(Error::Conflict(_))), "{result:?}");
    let honest = ArtifactUploadRequest { complete: Some(complete(own_id, b"poison")), ..announce(&other) };
    services.artifacts.upload(honest).await.unwrap();
}

/// Completing a cache again after a lost reply changes nothing, also if it was replaced meanwhile.
pub async fn completing_cache_again_changes_nothing(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let job = running(&services, &samples::repo(), false).await;
    let id = store(&services, &job, "a", b"1").await.unwrap();
    let complete_again = |bytes: &'static [u8]| ArtifactUploadRequest {
        complete: Some(complete(id, bytes)),
        ..announcement(&job, "a")
    };
    let is_downloadable = async || {
        let key = URL_SAFE_NO_PAD.encode("a");
        let (job, lease) = (job.preparation.job_id, job.lease.token);
        services.caches.download(job, lease, (&key, id)).await.is_ok()
    };
    for _ in 0..3 {
        assert_eq!(services.artifacts.upload(complete_again(b"1")).await.unwrap().artifact_id, id);
        assert!(is_downloadable().await, "the bytes are stored");
    }
    // Other bytes are rejected, and the record stays.
    let result = services.artifacts.upload(complete_again(b"other")).await;
    assert!(matches!(result, Err(Error::Conflict(_))), "{result:?}");
    assert!(is_downloadable().await);
    store(&services, &job, "a", b"123").await.unwrap();
    services.artifacts.upload(complete_again(b"1")).await.unwrap();
    assert_eq!(lookup(&services, &job, &["a"]).await, Some(("a".into(), 3)), "the later cache is used");
}
