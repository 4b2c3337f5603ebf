//! Checks of logins at registries, over the adapters.

use crate::conformance::{StoresUnderTest, claims::claim_at, samples};
use tidemill_core::{
    api::{ExecuteRequest, RemoveRegistryRequest, SetRegistryRequest},
    execution::{
        assignment::Assignment,
        facts::{Facts, PullRequest},
    },
    ids::ExecutionId,
};
use tidemill_services::{Error, Services, Settings, Stores};
use tokio_util::sync::CancellationToken;

const PIPELINE: &str = "
name: check
defaults: { image: alpine }
jobs:
  hub: { script: x }
  private: { script: x, image: 'r.example:5000/team/app:1', services: [{ image: r.example/db, alias: db }] }
  builds: { build: . }
";

fn services(stores: Stores) -> Services {
    Services::new(stores, Settings::default(), CancellationToken::new())
}

async fn set(services: &Services, repo: &str, registry: &str, password: &str) {
    let request = SetRegistryRequest {
        repo: repo.into(),
        registry: registry.into(),
        username: "mill".into(),
        password: password.into(),
    };
    services.registries.set(request, "ann").await.unwrap();
}

async fn begin(services: &Services, repo: &str, from_fork: bool) -> ExecutionId {
    let pipeline = PIPELINE.to_owned();
    let request = ExecuteRequest { pipeline, repo: repo.into(), force: true, ..ExecuteRequest::default() };
    let pull_request = from_fork.then(|| PullRequest { from_fork, ..PullRequest::default() });
    let start = tidemill_services::InternalStart {
        facts: Facts { pull_request, ..Facts::default() },
        ..Default::default()
    };
    services.pipelines.start(request, start, None, None).await.unwrap().execution_id
}

fn logins_of(assignment: &Assignment) -> Vec<(&str, &str, &str)> {
    let logins = assignment.extras.registries.iter();
    logins.map(|login| (login.registry.as_str(), login.username.as_str(), login.password.as_str())).collect()
}

/// A job gets the logins of its own images only, for each the most specific one, and never those of another repository.
pub async fn job_gets_logins_of_its_images(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let (repo, elsewhere) = (samples::repo(), samples::repo());
    set(&services, &format!("{repo}.git"), "https://index.docker.io/v1/", "of the hub").await;
    set(&services, &repo, "r.example:5000", "replaced").await;
    set(&services, &repo, "r.example:5000", "of the registry").await;
    set(&services, &repo, "r.example:5000/team", "of the team").await;
    set(&services, &repo, "r.example:5000/tea", "of a prefix").await;
    set(&services, &repo, "r.example.org", "of another host").await;
    set(&services, &elsewhere, "r.example", "of another repository").await;
    let id = begin(&services, &repo, false).await;
    assert_eq!(logins_of(&claim_at(&services, id, 0).await.unwrap()), [("docker.io", "mill", "of the hub")]);
    let private = claim_at(&services, id, 1).await.unwrap();
    assert_eq!(logins_of(&private), [("r.example:5000/team", "mill", "of the team")]);
    // Images of two registries.
    set(&services, &repo, "r.example", "of the service").await;
    let both = claim_at(&services, begin(&services, &repo, false).await, 1).await.unwrap();
    let expected = [("r.example", "mill", "of the service"), ("r.example:5000/team", "mill", "of the team")];
    assert_eq!(logins_of(&both), expected);
    let removed = RemoveRegistryRequest { repo: repo.clone(), registry: "r.example".into() };
    assert!(services.registries.remove(removed).await.unwrap().removed);
    assert!(!format!("{private:?}").contains("of the team"), "the debug form must not show the password");
    let builds = claim_at(&services, id, 2).await.unwrap();
    assert_eq!(logins_of(&builds).len(), 5, "only its Dockerfile says which images it is built from");

    let listed = services.registries.list(&repo).await.unwrap().registries;
    let names: Vec<_> = listed.iter().map(|one| one.registry.as_str()).collect();
    assert_eq!(
        names,
        ["docker.io", "r.example.org", "r.example:5000", "r.example:5000/tea", "r.example:5000/team"]
    );
    let registry = "r.example:5000/team".to_owned();
    let request = RemoveRegistryRequest { repo: repo.clone(), registry };
    assert!(services.registries.remove(request.clone()).await.unwrap().removed);
    assert!(!services.registries.remove(request).await.unwrap().removed);
    let again = begin(&services, &repo, false).await;
    let logins = claim_at(&services, again, 1).await.unwrap();
    assert_eq!(logins_of(&logins), [("r.example:5000", "mill", "of the registry")]);
}

/// Jobs of a fork get no logins, and run without.
pub async fn fork_gets_no_logins(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let repo = samples::repo();
    set(&services, &repo, "docker.io", "of the hub").await;
    let id = begin(&services, &repo, true).await;
    assert_eq!(logins_of(&claim_at(&services, id, 0).await.unwrap()), []);
}

/// A stored login does not contain its password.
pub async fn stored_login_is_sealed(subject: &StoresUnderTest) {
    let stores = subject.open().await;
    let services = services(stores.clone());
    let repo = samples::repo();
    set(&services, &repo, "r.example", "the value of the password").await;
    let prefix = tidemill_core::repository::canonical_name(&repo);
    let (stored, _) = stores.documents.list("registry", &prefix, None, 10).await.unwrap();
    let [one] = stored.as_slice() else { panic!("{stored:?}") };
    assert!(one.value.contains("r.example") && !one.value.contains("the value of the password"));
    assert_eq!(services.registries.rekey().await.unwrap().renewed, 0);
}

/// Invalid registries, names and passwords are rejected, and the number of logins is bounded.
pub async fn login_requires_registry_name_and_password(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let repo = samples::repo();
    let (long_name, long_password) = ("x".repeat(257), "x".repeat((16 << 10) + 1));
    for (repo, registry, username, password) in [
        ("", "r.example", "u", "p"),
        ("a\nb", "r.example", "u", "p"),
        (repo.as_str(), "", "u", "p"),
        (&repo, "r.example\nx", "u", "p"),
        (&repo, "user@r.example", "u", "p"),
        (&repo, "r.example", "", "p"),
        (&repo, "r.example", "a:b", "p"),
        (&repo, "r.example", &long_name, "p"),
        (&repo, "r.example", "u", ""),
        (&repo, "r.example", "u", "a\0b"),
        (&repo, "r.example", "u", &long_password),
    ] {
        let request = SetRegistryRequest {
            repo: repo.into(),
            registry: registry.into(),
            username: username.into(),
            password: password.into(),
        };
        let debug = format!("{request:?}");
        assert!(matches!(services.registries.set(request, "ann").await, Err(Error::Invalid(_))), "{debug}");
    }
    for number in 0..50 {
        set(&services, &repo, &format!("r{number}.example"), "p").await;
    }
    set(&services, &repo, "r1.example", "replaced").await;
    let request = SetRegistryRequest {
        repo,
        registry: "r50.example".into(),
        username: "u".into(),
        password: "p".into(),
    };
    assert!(matches!(services.registries.set(request, "ann").await, Err(Error::Invalid(_))));
}
