//! Checks of uploaded sources, over the adapters.

use crate::conformance::StoresUnderTest;
use bytes::Bytes;
use data_encoding::HEXLOWER;
use futures_util::stream;
use sha2::{Digest, Sha256};
use tidemill_core::api::SourceUploadRequest;
use tidemill_core::execution::upload::UploadId;
use tidemill_services::Error;
use tidemill_services::Stores;
use tidemill_services::{Services, Settings};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const DAY_MS: i64 = 86_400_000;

fn services(stores: Stores) -> Services {
    Services::new(stores, Settings::default(), CancellationToken::new())
}

/// Creates unique bytes and the id of their upload.
fn sample() -> (Vec<u8>, String) {
    let bytes = Uuid::new_v4().as_bytes().to_vec();
    let sum = HEXLOWER.encode(&Sha256::digest(&bytes));
    let name = UploadId::new("https://git.example.org/team/app.git", &sum).unwrap();
    (bytes, name.to_string())
}

async fn put(services: &Services, name: &str, bytes: &[u8]) -> Result<(), Error> {
    services.sources.put(name, Box::pin(stream::iter([Ok(Bytes::copy_from_slice(bytes))]))).await
}

async fn is_stored(services: &Services, name: &str) -> bool {
    let request = SourceUploadRequest { upload: name.into(), size: None };
    services.sources.upload(request).await.unwrap().url.is_none()
}

/// An upload whose bytes do not match its hash is rejected, and the right bytes can still be uploaded.
pub async fn upload_must_match_its_hash(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let (bytes, name) = sample();
    for garbage in [&b"garbage"[..], &bytes[1..]] {
        let result = put(&services, &name, garbage).await;
        assert!(matches!(result, Err(Error::Invalid(_))), "{result:?}");
        assert!(!is_stored(&services, &name).await);
    }
    put(&services, &name, &bytes).await.unwrap();
    assert!(is_stored(&services, &name).await);
    put(&services, &name, b"garbage").await.unwrap();
    assert!(services.sources.download(&name).await.is_ok(), "the stored upload stays");
    assert!(is_stored(&services, &name).await);
}

/// A download renews an upload's expiry; a deleted upload can be uploaded again.
pub async fn unused_upload_is_removed(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let ((bytes, used), (others, unused)) = (sample(), sample());
    put(&services, &used, &bytes).await.unwrap();
    put(&services, &unused, &others).await.unwrap();
    subject.clock.advance(20 * DAY_MS);
    assert!(services.sources.download(&used).await.is_ok());
    subject.clock.advance(20 * DAY_MS);
    services.sweep.run().await.unwrap();
    assert!(is_stored(&services, &used).await && !is_stored(&services, &unused).await);
    assert!(matches!(services.sources.download(&unused).await, Err(Error::NotFound(_))));
    put(&services, &unused, &others).await.unwrap();
    assert!(is_stored(&services, &unused).await);
}

/// An object with other bytes under an upload's name is replaced.
pub async fn damaged_upload_is_replaced(subject: &StoresUnderTest) {
    let stores = subject.open().await;
    let services = services(stores.clone());
    let (bytes, name) = sample();
    let garbage = Box::pin(stream::iter([Ok(Bytes::from_static(b"garbage"))]));
    stores.objects.put(&format!("sources/{name}"), garbage).await.unwrap();
    assert!(!is_stored(&services, &name).await);
    put(&services, &name, &bytes).await.unwrap();
    let info = stores.objects.info(&format!("sources/{name}")).await.unwrap();
    let name_of_bytes = name.parse::<UploadId>().unwrap();
    assert_eq!(info.and_then(|info| info.sha256).as_deref(), Some(name_of_bytes.content()));
    assert!(is_stored(&services, &name).await);
}
