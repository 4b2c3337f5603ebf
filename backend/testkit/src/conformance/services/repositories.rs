//! Checks of the credentials of repositories, over the adapters.

use super::secrets::FixedKeys;
use crate::conformance::{StoresUnderTest, claims::claim_at, samples};
use tidemill_core::{
    api::ExecuteRequest,
    execution::{
        assignment::Source,
        facts::{Facts, PullRequest},
    },
    ids::ExecutionId,
    repository::{
        canonical_name,
        credential::{CredentialKind, RepositoryCredential},
        registration::{CredentialChange, CredentialView, RepositoryRequest},
    },
};
use tidemill_services::{Error, Services, Settings, Stores};
use tokio_util::sync::CancellationToken;

const PIPELINE: &str = "
name: check
defaults: { image: alpine }
jobs:
  build: { script: x }
  release: { script: x, checkout: { push: true } }
";
const TOKEN: &str = "the-value-of-the-token";

fn services(stores: Stores) -> Services {
    Services::new(stores, Settings::default(), CancellationToken::new())
}

fn registration(url: &str) -> RepositoryRequest {
    let value =
        serde_json::json!({ "url": url, "provider": "gitea", "webhook_secret": "signs the webhooks" });
    serde_json::from_value(value).unwrap()
}

fn token(token: &str) -> CredentialChange {
    CredentialChange::Set(RepositoryCredential::Token { user: "ci".into(), token: token.into() })
}

fn with(url: &str, credential: CredentialChange) -> RepositoryRequest {
    RepositoryRequest { credential: Some(credential), ..registration(url) }
}

fn git(url: &str) -> Source {
    Source::Git {
        url: url.into(),
        branch: None,
        commit: "c".repeat(40),
        private_host: false,
        has_credential: true,
    }
}

async fn execute(services: &Services, repo: &str, source: Source) -> ExecutionId {
    let pipeline = PIPELINE.to_owned();
    let request =
        ExecuteRequest { pipeline, repo: repo.into(), source, force: true, ..ExecuteRequest::default() };
    services.pipelines.execute(request, None, None).await.unwrap().execution_id
}

/// Jobs get the credential of their own repository, with its registered address, and only those that may push get it for themselves.
pub async fn job_gets_credential_of_its_repository(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let (repo, elsewhere) = (samples::repo(), samples::repo());
    let request = with(&repo, token(TOKEN));
    let reply = services.repositories.put(request).await.unwrap();
    let view = CredentialView { kind: CredentialKind::Token, allow_push: false };
    assert_eq!(reply.repository.credential, Some(view));

    let id = execute(&services, &format!("{repo}.git"), git(&format!("{repo}.git"))).await;
    let build = claim_at(&services, id, 0).await.unwrap();
    let credential = build.extras.credential.as_ref().unwrap();
    assert_eq!((credential.secret(), credential.may_push), (TOKEN, false));
    let Source::Git { url, has_credential, .. } = &build.preparation.source else { panic!() };
    assert_eq!((url, *has_credential), (&credential.url, true), "it is fetched from the registered address");
    assert!(!format!("{build:?}").contains(TOKEN), "the debug form must not show the token");
    let denied = claim_at(&services, id, 1).await.unwrap_err();
    assert!(denied.contains("--allow-push") && denied.contains("release"), "{denied}");

    services
        .repositories
        .put(RepositoryRequest { allow_push: Some(true), ..registration(&repo) })
        .await
        .unwrap();
    let id = execute(&services, &repo, git(&repo)).await;
    assert!(!claim_at(&services, id, 0).await.unwrap().extras.credential.unwrap().may_push);
    assert!(claim_at(&services, id, 1).await.unwrap().extras.credential.unwrap().may_push);

    // A repository's credential does not come with the jobs of another one that names its address.
    let id = execute(&services, &elsewhere, git(&repo)).await;
    let other = claim_at(&services, id, 0).await.unwrap();
    assert_eq!(other.extras.credential, None);
    assert!(!other.preparation.source.has_credential(), "a request cannot ask for it");
    let denied = claim_at(&services, id, 1).await.unwrap_err();
    assert!(denied.contains("tidemill repo add"), "{denied}");

    let listed = services.repositories.list().await.unwrap();
    assert!(!serde_json::to_string(&listed).unwrap().contains(TOKEN));
    assert!(services.remove_repository(&repo).await.unwrap());
    let id = execute(&services, &repo, git(&repo)).await;
    assert_eq!(claim_at(&services, id, 0).await.unwrap().extras.credential, None);
}

/// Jobs of a fork get no credential, and one that asks to push fails.
pub async fn fork_gets_no_credential(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let repo = samples::repo();
    let request = RepositoryRequest { allow_push: Some(true), ..with(&repo, token(TOKEN)) };
    services.repositories.put(request).await.unwrap();
    let source = git(&repo);
    let pipeline = PIPELINE.to_owned();
    let request = ExecuteRequest { pipeline, repo, source, force: true, ..ExecuteRequest::default() };
    let pull_request = Some(PullRequest { from_fork: true, ..PullRequest::default() });
    let start = tidemill_services::InternalStart {
        facts: Facts { pull_request, ..Facts::default() },
        ..Default::default()
    };
    let id = services.pipelines.start(request, start, None, None).await.unwrap().execution_id;
    assert_eq!(claim_at(&services, id, 0).await.unwrap().extras.credential, None);
    let denied = claim_at(&services, id, 1).await.unwrap_err();
    assert!(denied.contains("fork"), "{denied}");
}

/// A stored credential is sealed, opens under its own repository only, and is re-encrypted with the other secrets.
pub async fn stored_credential_is_sealed_and_rekeyed(subject: &StoresUnderTest) {
    let stores = subject.open().await;
    let under = |keys: &'static [u8]| {
        services(Stores { keys: std::sync::Arc::new(FixedKeys(keys)), ..stores.clone() })
    };
    let repo = samples::repo();
    // No other check has these keys, so that checks can share a store.
    let before = under(&[11]);
    let request = with(&repo, token(TOKEN));
    before.repositories.put(request).await.unwrap();
    let (stored, _) = stores.documents.list("repository", &canonical_name(&repo), None, 10).await.unwrap();
    assert!(stored.iter().all(|one| !one.value.contains(TOKEN)) && stored.len() == 1, "{stored:?}");

    let name = canonical_name(&repo);
    let unreadable = under(&[13]).repositories.rekey().await.unwrap().unreadable;
    assert!(unreadable.contains(&format!("the credential of {name}")), "{unreadable:?}");
    let id = execute(&under(&[13]), &repo, git(&repo)).await;
    let denied = claim_at(&under(&[13]), id, 0).await.unwrap_err();
    assert!(denied.contains(&format!("the credential of {name} cannot be read")), "{denied}");

    under(&[12, 11]).repositories.rekey().await.unwrap();
    let after = under(&[12]);
    let id = execute(&after, &repo, git(&repo)).await;
    assert_eq!(claim_at(&after, id, 0).await.unwrap().extras.credential.unwrap().secret(), TOKEN);
}

/// A credential must fit the address, and an unchanged registration keeps it until it is removed.
pub async fn credential_fits_address_and_lasts_until_removed(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let repo = samples::repo();
    let put = async |request: RepositoryRequest| services.repositories.put(request).await;
    let ssh = repo.replacen("https://", "ssh://git@", 1);
    let key = || {
        CredentialChange::Set(RepositoryCredential::SshKey {
            key: "-----BEGIN OPENSSH PRIVATE KEY-----\nx".into(),
            known_hosts: "git.example ssh-ed25519 AAAA".into(),
        })
    };
    for request in [
        with(&repo, token("x y")),
        with(&repo, key()),
        with(&ssh, token(TOKEN)),
        RepositoryRequest { allow_push: Some(true), ..registration(&repo) },
    ] {
        let error = put(request).await.unwrap_err();
        assert!(matches!(error, Error::Invalid(_)), "{error}");
    }
    put(with(&repo, token(TOKEN))).await.unwrap();
    let unchanged = put(registration(&repo)).await.unwrap();
    assert!(unchanged.repository.credential.is_some());
    for other in [&ssh, &repo.replacen("https://", "http://", 1)] {
        let error = put(registration(other)).await.unwrap_err();
        assert!(error.to_string().contains("does not fit its new address"), "{error}");
    }
    let changed = put(with(&ssh, key())).await.unwrap();
    assert_eq!(changed.repository.credential.unwrap().kind, CredentialKind::SshKey);
    let removed = put(with(&ssh, CredentialChange::Remove)).await.unwrap();
    assert_eq!(removed.repository.credential, None);
}
