//! Checks of caches, over the adapters: who finds what, and who may leave it.

use super::{StoresUnderTest, claims::claim_at, samples};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use data_encoding::HEXLOWER;
use futures_util::stream;
use sha2::{Digest, Sha256};
use tidemill_core::execution::{
    assignment::Assignment,
    facts::{Facts, PullRequest},
};
use tidemill_core::{
    api::{ArtifactComplete, ArtifactUploadRequest, CacheLookupRequest, ExecuteRequest},
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

/// A running job of this repository.
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

fn announcement(of: &Assignment, key: &str) -> ArtifactUploadRequest {
    ArtifactUploadRequest {
        job_id: of.preparation.job_id,
        lease: of.lease.token,
        file_path: "target".into(),
        files: Vec::new(),
        expire_in_s: None,
        cache_key: Some(key.into()),
        sum: None,
        complete: None,
    }
}

/// Puts the bytes of a cache that was announced.
async fn put(
    services: &Services,
    of: &Assignment,
    (key, id): (&str, ArtifactId),
    bytes: &[u8],
) -> Result<(), Error> {
    let body = Box::pin(stream::iter([Ok(Bytes::copy_from_slice(bytes))]));
    let key = URL_SAFE_NO_PAD.encode(key);
    services.artifacts.put(id, (of.preparation.job_id, of.lease.token), Some(&key), body).await
}

fn complete(id: ArtifactId, bytes: &[u8]) -> ArtifactComplete {
    let sha256 = HEXLOWER.encode(&Sha256::digest(bytes));
    ArtifactComplete { artifact_id: id, size: bytes.len() as u64, sha256 }
}

async fn keep(services: &Services, of: &Assignment, key: &str, bytes: &[u8]) -> Result<ArtifactId, Error> {
    let mut request = announcement(of, key);
    let id = services.artifacts.upload(request.clone()).await?.artifact_id;
    put(services, of, (key, id), bytes).await?;
    request.complete = Some(complete(id, bytes));
    services.artifacts.upload(request).await?;
    Ok(id)
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
pub async fn cache_is_found_by_jobs_of_its_repository(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let repo = samples::repo();
    let job = running(&services, &repo, false).await;
    assert_eq!(found(&services, &job, &["a", "b"]).await, None);
    keep(&services, &job, "b", b"12").await.unwrap();
    assert_eq!(found(&services, &job, &["a", "b"]).await, Some(("b".into(), 2)));
    keep(&services, &job, "a", b"1").await.unwrap();
    keep(&services, &job, "a", b"123").await.unwrap();
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
pub async fn fork_cannot_store_cache(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let repo = samples::repo();
    let own = running(&services, &repo, false).await;
    keep(&services, &own, "a", b"good").await.unwrap();
    let fork = running(&services, &repo, true).await;
    assert!(own.extras.may_keep_caches && !fork.extras.may_keep_caches);
    assert_eq!(found(&services, &fork, &["a"]).await, Some(("a".into(), 4)));
    let refused = keep(&services, &fork, "a", b"poison").await;
    assert!(matches!(&refused, Err(Error::Conflict(words)) if words.contains("fork")), "{refused:?}");
    assert_eq!(found(&services, &own, &["a"]).await, Some(("a".into(), 4)));
}

/// Two weeks without a use, and it is gone; a use gives it two more.
pub async fn unused_cache_is_removed(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let repo = samples::repo();
    let job = running(&services, &repo, false).await;
    for key in ["used", "unused"] {
        keep(&services, &job, key, b"x").await.unwrap();
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

/// A job gets what is kept for its repository under the key that it names, and reaches nothing else by an object's id.
pub async fn cache_is_bound_to_its_repository_and_key(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let job = running(&services, &samples::repo(), false).await;
    let id = keep(&services, &job, "a", b"ours").await.unwrap();
    let keep_other = keep(&services, &job, "b", b"other").await.unwrap();
    let of = |of: &Assignment| (of.preparation.job_id, of.lease.token);
    let get = async |by: &Assignment, key: &str, object| {
        let (job, lease) = of(by);
        services.caches.download(job, lease, (&URL_SAFE_NO_PAD.encode(key), object)).await
    };
    assert!(get(&job, "a", id).await.is_ok());
    for (key, object) in [("b", id), ("a", keep_other), ("none", id)] {
        let refused = get(&job, key, object).await;
        assert!(matches!(refused, Err(Error::NotFound(_))), "{key}: {refused:?}");
    }
    let elsewhere = running(&services, &samples::repo(), false).await;
    let refused = get(&elsewhere, "a", id).await;
    assert!(matches!(refused, Err(Error::NotFound(_))), "of another repository: {refused:?}");
    // To complete what another job, of whatever repository, has put leaves it as it is.
    let later = running(&services, &samples::repo(), false).await;
    for by in [&elsewhere, &later] {
        let refused = services
            .artifacts
            .upload(ArtifactUploadRequest { complete: Some(complete(id, b"ours")), ..announcement(by, "a") });
        let refused = refused.await;
        assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");
    }
    // What it puts under that id is its own.
    put(&services, &elsewhere, ("a", id), b"poison").await.unwrap();
    assert!(get(&job, "a", id).await.is_ok());
    assert_eq!(found(&services, &job, &["a"]).await, Some(("a".into(), 4)));
    let Ok(Download::Here(info, _)) = get(&job, "a", id).await else { panic!("its bytes") };
    assert_eq!(info.size, 4);
}

/// No job leaves something under the id of another one's artifact.
pub async fn artifact_id_contains_attempt(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let (one, other) = (
        running(&services, &samples::repo(), false).await,
        running(&services, &samples::repo(), false).await,
    );
    let announce =
        |of: &Assignment| ArtifactUploadRequest { cache_key: None, ..announcement(of, "no cache") };
    let id = services.artifacts.upload(announce(&one)).await.unwrap().artifact_id;
    let body = || Box::pin(stream::iter([Ok(Bytes::from_static(b"poison"))]));
    let of_other = (other.preparation.job_id, other.lease.token);
    let put = services.artifacts.put(id, of_other, None, body()).await;
    assert!(matches!(put, Err(Error::Conflict(_))), "{put:?}");
    let own = services.artifacts.upload(announce(&other)).await.unwrap().artifact_id;
    services.artifacts.put(own, of_other, None, body()).await.unwrap();
    let forged = ArtifactUploadRequest { complete: Some(complete(id, b"poison")), ..announce(&other) };
    let refused = services.artifacts.upload(forged).await;
    assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");
    let honest = ArtifactUploadRequest { complete: Some(complete(own, b"poison")), ..announce(&other) };
    services.artifacts.upload(honest).await.unwrap();
}

/// The reply was lost: to complete a cache again, also one that was replaced meanwhile, changes nothing.
pub async fn cache_that_is_completed_again_stays(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let job = running(&services, &samples::repo(), false).await;
    let id = keep(&services, &job, "a", b"1").await.unwrap();
    let again = |bytes: &'static [u8]| ArtifactUploadRequest {
        complete: Some(complete(id, bytes)),
        ..announcement(&job, "a")
    };
    let there = async || {
        let key = URL_SAFE_NO_PAD.encode("a");
        let (job, lease) = (job.preparation.job_id, job.lease.token);
        services.caches.download(job, lease, (&key, id)).await.is_ok()
    };
    for _ in 0..3 {
        assert_eq!(services.artifacts.upload(again(b"1")).await.unwrap().artifact_id, id);
        assert!(there().await, "its bytes are there");
    }
    // With other bytes it is refused, and what is recorded stays.
    let refused = services.artifacts.upload(again(b"other")).await;
    assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");
    assert!(there().await);
    keep(&services, &job, "a", b"123").await.unwrap();
    services.artifacts.upload(again(b"1")).await.unwrap();
    assert_eq!(found(&services, &job, &["a"]).await, Some(("a".into(), 3)), "the later one counts");
}
