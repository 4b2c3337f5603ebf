//! Checks of ID tokens, over the adapters.

use super::secrets::FixedKeys;
use crate::conformance::{ManualClock, StoresUnderTest, claims::claim_at, samples};
use crate::intercepted::{BeforeWrite, InterceptedDocuments, Write};
use std::sync::{Arc, Mutex};
use tidemill_core::{
    access::oidc::PublicKeySet,
    api::ExecuteRequest,
    execution::{
        facts::{Facts, PullRequest},
        failure::FailureKind,
    },
    ids::ExecutionId,
    time::Timestamp,
};
use tidemill_services::error::Result;
use tidemill_services::ports::{DocumentKey, Documents};
use tidemill_services::{InternalStart, Services, Settings, Stores};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const PIPELINE: &str = "
name: check
defaults: { image: i }
jobs:
  plain: { script: x }
  signed: { script: x, id_tokens: { TOKEN: { aud: them } } }
";

fn services(stores: Stores) -> Services {
    let services = Services::new(stores, Settings::default(), CancellationToken::new());
    services.set_issuer_url("https://ci.example.org");
    services
}

async fn begin(services: &Services, facts: Facts) -> ExecutionId {
    let (pipeline, repo) = (PIPELINE.to_owned(), samples::repo());
    let request = ExecuteRequest { pipeline, repo, force: true, ..ExecuteRequest::default() };
    let start = InternalStart { facts, ..InternalStart::default() };
    services.pipelines.start(request, start, None, None).await.unwrap().execution_id
}

/// A clock in a period of signing keys that no other check uses.
fn own_clock() -> Arc<ManualClock> {
    const STEP_MS: i64 = 200 * 86_400_000;
    let step = i64::from(Uuid::new_v4().as_fields().0 % 10_000);
    Arc::new(ManualClock::new(Timestamp(1_800_000_000_000 + step * STEP_MS)))
}

/// Returns the number of tokens that the jobs of an execution get.
async fn tokens(services: &Services, id: ExecutionId) -> [usize; 2] {
    let plain = claim_at(services, id, 0).await.unwrap();
    let signed = claim_at(services, id, 1).await.unwrap();
    assert!(
        signed.extras.secrets.iter().all(|token| token.variable == "TOKEN" && token.value.starts_with("eyJ"))
    );
    [plain, signed].map(|assignment| assignment.extras.secrets.len())
}

/// Concurrent first uses by several processes create one key, which is stored sealed.
pub async fn signing_key_is_created_once(subject: &StoresUnderTest) {
    let clock = own_clock();
    let sets = futures_util::future::join_all((0..8).map(|_| async {
        let stores = Stores { clock: clock.clone(), ..subject.open().await };
        services(stores).id_tokens.keys().await.unwrap()
    }))
    .await;
    assert!(!sets[0].keys.is_empty() && sets.iter().all(|keys| *keys == sets[0]), "{sets:?}");
    let stores = subject.open().await;
    let stored = stores.documents.all("id-token-key", "").await.unwrap();
    for key in &sets[0].keys {
        let document = stored.iter().find(|document| document.value.contains(&key.kid)).unwrap();
        let record: serde_json::Value = serde_json::from_str(&document.value).unwrap();
        assert!(record["sealed"].as_str().unwrap().starts_with("1:"), "{record}");
    }
}

/// Only a job that asks for a token gets one; a fork's job, and a job on a server without an address, fails.
pub async fn only_jobs_that_ask_get_id_tokens(subject: &StoresUnderTest) {
    let stores = subject.open().await;
    let with = services(stores.clone());
    let id = begin(&with, Facts::default()).await;
    assert_eq!(tokens(&with, id).await, [0, 1]);

    let request = PullRequest { number: 1, from_fork: true, ..PullRequest::default() };
    let fork = Facts { pull_request: Some(request), ..Facts::default() };
    let of_fork = begin(&with, fork).await;
    assert!(claim_at(&with, of_fork, 1).await.unwrap_err().contains("comes from a fork"));
    let without = Services::new(stores, Settings::default(), CancellationToken::new());
    let here = begin(&without, Facts::default()).await;
    assert!(claim_at(&without, here, 1).await.unwrap_err().contains("tidemill run --profile"));
    for id in [of_fork, here] {
        let view = with.pipelines.view(id, None, 0).await.unwrap().view.unwrap();
        let reason = view.jobs[1].failure_reason.clone().unwrap();
        assert_eq!(reason.kind, FailureKind::SecretUnavailable);
    }
}

/// Records when the documents that are written expire.
#[derive(Default)]
struct RecordedExpiries(Mutex<Vec<(DocumentKey, Option<Timestamp>)>>);

#[async_trait::async_trait]
impl BeforeWrite for RecordedExpiries {
    async fn before_write(&self, _: &dyn Documents, write: Write<'_>) -> Option<Result<bool>> {
        if let Write::Put(document) = write {
            self.0.lock().unwrap().push((document.key.clone(), document.expires_at));
        }
        None
    }
}

/// A signing key that is sealed again expires when it did before.
pub async fn resealed_signing_key_expires(subject: &StoresUnderTest) {
    let stores = Stores { clock: own_clock(), ..subject.open().await };
    let recorded = Arc::new(InterceptedDocuments::new(stores.documents.clone(), RecordedExpiries::default()));
    let under = |keys: &'static [u8]| {
        let (keys, documents) = (Arc::new(FixedKeys(keys)), recorded.clone());
        services(Stores { keys, documents, ..stores.clone() })
    };
    let published = under(&[1]).id_tokens.keys().await.unwrap().keys.len();
    let created = std::mem::take(&mut *recorded.before.0.lock().unwrap());
    assert!(created.len() == published && created.iter().all(|(_, at)| at.is_some()), "{created:?}");
    assert_eq!(under(&[2, 1]).id_tokens.rekey().await.unwrap().renewed, published);
    let resealed = recorded.before.0.lock().unwrap();
    assert!(created.iter().all(|one| resealed.contains(one)), "{created:?} {resealed:?}");
}

/// The signing key survives a change of the key that seals it, and is replaced if that key is lost.
pub async fn signing_key_follows_keys_of_deployment(subject: &StoresUnderTest) {
    let clock = own_clock();
    let stores = Stores { clock: clock.clone(), ..subject.open().await };
    let under = |keys: &'static [u8]| services(Stores { keys: Arc::new(FixedKeys(keys)), ..stores.clone() });
    let published = async |of: &Services| -> PublicKeySet { of.id_tokens.keys().await.unwrap() };
    let (before, between, after) = (under(&[1]), under(&[2, 1]), under(&[2]));
    let keys = published(&before).await;
    let reply = between.id_tokens.rekey().await.unwrap();
    assert_eq!((reply.renewed, reply.more), (keys.keys.len(), false));
    assert_eq!(published(&after).await, keys);
    let id = begin(&after, Facts::default()).await;
    assert_eq!(tokens(&after, id).await, [0, 1]);
    assert_eq!(published(&after).await, keys);

    let lost = under(&[3]);
    let id = begin(&lost, Facts::default()).await;
    assert_eq!(tokens(&lost, id).await, [0, 1]);
    let replaced = published(&lost).await.keys;
    assert!(replaced.len() == keys.keys.len() + 1 && keys.keys.iter().all(|key| replaced.contains(key)));
    // Tokens that the lost key signed have expired.
    clock.advance(3 * 86_400_000);
    let later = published(&under(&[3])).await.keys;
    assert!(keys.keys.iter().all(|key| !later.contains(key)) && later.contains(&replaced[0]));
}
