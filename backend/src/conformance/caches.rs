//! Checks of caches, over the adapters: who finds what, and who may leave it.

use super::{Subject, claims::claim_at, samples};
use crate::{
    Error, Stores,
    services::{Services, Settings},
};
use bytes::Bytes;
use futures_util::stream;
use sha2::{Digest, Sha256};
use tidemill_core::{
    api::{ArtifactComplete, ArtifactUploadRequest, CacheLookupRequest, ExecuteRequest},
    assignment::Assignment,
    facts::{Facts, PullRequest},
    ids::LeaseToken,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

fn services(stores: Stores) -> Services {
    Services::new(stores, Settings::default(), CancellationToken::new())
}

/// A running job of this repository.
async fn running(services: &Services, repo: &str, from_fork: bool) -> Assignment {
    let pipeline = "name: check\njobs: { a: { image: i, script: x } }\n".to_owned();
    let request = ExecuteRequest { pipeline, repo: repo.into(), force: true, ..ExecuteRequest::default() };
    let pull_request = from_fork.then(|| PullRequest { from_fork, ..PullRequest::default() });
    let start = crate::services::Start { facts: Facts { pull_request, ..Facts::default() }, hold: false };
    let id = services.pipelines.start(request, start, None, None).await.unwrap().execution_id;
    claim_at(services, id, 0).await.unwrap()
}

async fn keep(
    stores: &Stores,
    services: &Services,
    of: &Assignment,
    key: &str,
    bytes: &[u8],
) -> Result<(), Error> {
    let mut request = ArtifactUploadRequest {
        job_id: of.preparation.job_id,
        lease: of.lease.token,
        file_path: "target".into(),
        files: Vec::new(),
        expire_in_s: None,
        cache_key: Some(key.into()),
        complete: None,
    };
    let place = services.artifacts.upload(request.clone()).await?;
    let body = Box::pin(stream::iter([Ok(Bytes::copy_from_slice(bytes))]));
    stores.objects.put(&format!("artifacts/cache/{}", place.artifact_id), body).await?;
    let sha256 = Sha256::digest(bytes).iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    let size = bytes.len() as u64;
    request.complete = Some(ArtifactComplete { artifact_id: place.artifact_id, size, sha256 });
    services.artifacts.upload(request).await.map(drop)
}

/// The key and the size of what is found.
async fn found(services: &Services, of: &Assignment, keys: &[&str]) -> Option<(String, u64)> {
    let request = CacheLookupRequest {
        job_id: of.preparation.job_id,
        lease: of.lease.token,
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
    };
    services.caches.lookup(request).await.unwrap().found.map(|found| (found.key, found.source.size))
}

/// Of the keys the first counts; a later cache replaces an earlier; other repositories find nothing.
pub async fn a_cache_is_found_by_the_jobs_of_its_repository(subject: &Subject) {
    let stores = subject.open().await;
    let services = services(stores.clone());
    let repo = samples::repo();
    let job = running(&services, &repo, false).await;
    assert_eq!(found(&services, &job, &["a", "b"]).await, None);
    keep(&stores, &services, &job, "b", b"12").await.unwrap();
    assert_eq!(found(&services, &job, &["a", "b"]).await, Some(("b".into(), 2)));
    keep(&stores, &services, &job, "a", b"1").await.unwrap();
    keep(&stores, &services, &job, "a", b"123").await.unwrap();
    let later = running(&services, &format!("{repo}.git"), false).await;
    assert_eq!(found(&services, &later, &["a", "b"]).await, Some(("a".into(), 3)));
    let elsewhere = running(&services, &samples::repo(), false).await;
    assert_eq!(found(&services, &elsewhere, &["a", "b"]).await, None);
    let lost = CacheLookupRequest {
        job_id: job.preparation.job_id,
        lease: LeaseToken(Uuid::now_v7()),
        keys: vec!["a".into()],
    };
    assert!(matches!(services.caches.lookup(lost).await, Err(Error::LeaseLost(_))));
}

/// A fork's jobs find what is kept, and leave nothing.
pub async fn a_fork_may_not_keep_a_cache(subject: &Subject) {
    let stores = subject.open().await;
    let services = services(stores.clone());
    let repo = samples::repo();
    let own = running(&services, &repo, false).await;
    keep(&stores, &services, &own, "a", b"good").await.unwrap();
    let fork = running(&services, &repo, true).await;
    assert!(own.extras.may_keep_caches && !fork.extras.may_keep_caches);
    assert_eq!(found(&services, &fork, &["a"]).await, Some(("a".into(), 4)));
    let refused = keep(&stores, &services, &fork, "a", b"poison").await;
    assert!(matches!(&refused, Err(Error::Conflict(words)) if words.contains("fork")), "{refused:?}");
    assert_eq!(found(&services, &own, &["a"]).await, Some(("a".into(), 4)));
}

/// Two weeks without a use, and it is gone; a use gives it two more.
pub async fn a_cache_that_nobody_uses_is_removed(subject: &Subject) {
    let stores = subject.open().await;
    let services = services(stores.clone());
    let repo = samples::repo();
    let job = running(&services, &repo, false).await;
    for key in ["used", "unused"] {
        keep(&stores, &services, &job, key, b"x").await.unwrap();
    }
    let day = 86_400_000;
    subject.clock.turn(10 * day);
    let later = running(&services, &repo, false).await;
    assert!(found(&services, &later, &["used"]).await.is_some());
    subject.clock.turn(10 * day);
    services.sweep.run().await.unwrap();
    let last = running(&services, &repo, false).await;
    assert_eq!(found(&services, &last, &["unused", "used"]).await, Some(("used".into(), 1)));
}
