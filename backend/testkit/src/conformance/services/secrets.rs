//! Checks of secrets, over the adapters.

use crate::conformance::{StoresUnderTest, claims::claim_at, samples};
use tidemill_core::execution::{
    assignment::Assignment,
    facts::{Facts, PullRequest},
    failure::FailureKind,
    status::JobStatus,
};
use tidemill_core::{
    api::{ExecuteRequest, RemoveSecretRequest, SetSecretRequest},
    ids::ExecutionId,
};
use tidemill_services::Error;
use tidemill_services::Stores;
use tidemill_services::ports::{DocumentKey, Key, KeyStore, Keys};
use tidemill_services::{Services, Settings};
use tokio_util::sync::CancellationToken;

const PIPELINE: &str = "
name: check
defaults: { image: i }
jobs:
  plain: { script: x }
  uses: { script: x, secrets: [TOKEN, { name: KEY, variable: KEY_FILE, file: true }] }
  deploys: { script: x, environment: production, secrets: [TOKEN] }
";

fn services(stores: Stores) -> Services {
    Services::new(stores, Settings::default(), CancellationToken::new())
}

async fn set(services: &Services, repo: &str, environment: Option<&str>, name: &str, value: &str) {
    let (repo, environment) = (repo.to_owned(), environment.map(str::to_owned));
    let request =
        SetSecretRequest { repo, environment, name: name.into(), value: value.into(), variable: None };
    services.secrets.set(request, "ann").await.unwrap();
}

async fn begin(services: &Services, repo: &str) -> ExecutionId {
    let pipeline = PIPELINE.to_owned();
    let request = ExecuteRequest { pipeline, repo: repo.into(), force: true, ..ExecuteRequest::default() };
    services.pipelines.execute(request, None, None).await.unwrap().execution_id
}

fn secrets_of(assignment: &Assignment) -> Vec<(&str, &str, bool)> {
    let secrets = assignment.extras.secrets.iter();
    secrets.map(|secret| (secret.variable.as_str(), secret.value.as_str(), secret.file)).collect()
}

/// A job gets exactly the secrets that it names, for any form of its repository's address; those of its environment take
/// precedence.
pub async fn job_gets_only_secrets_that_it_names(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let repo = samples::repo();
    let elsewhere = samples::repo();
    set(&services, &format!("{repo}.git"), None, "TOKEN", "first").await;
    set(&services, &repo, None, "TOKEN", "the repository's").await;
    set(&services, &repo, None, "KEY", "line 1\nline 2\n").await;
    set(&services, &repo, Some("production"), "TOKEN", "production's").await;
    set(&services, &elsewhere, None, "TOKEN", "another repository's").await;
    let id = begin(&services, &repo).await;
    assert_eq!(secrets_of(&claim_at(&services, id, 0).await.unwrap()), []);
    let uses = claim_at(&services, id, 1).await.unwrap();
    assert_eq!(
        secrets_of(&uses),
        [("TOKEN", "the repository's", false), ("KEY_FILE", "line 1\nline 2\n", true)]
    );
    assert!(!format!("{uses:?}").contains("the repository's"), "the debug form must not show the secret");
    assert_eq!(secrets_of(&claim_at(&services, id, 2).await.unwrap()), [("TOKEN", "production's", false)]);

    let listed = services.secrets.list(&repo).await.unwrap().secrets;
    let names: Vec<_> = listed.iter().map(|one| (one.environment.as_deref(), one.name.as_str())).collect();
    assert_eq!(names, [(None, "KEY"), (None, "TOKEN"), (Some("production"), "TOKEN")]);
}

/// A missing or removed secret fails the job without a retry, with a message that says what to do.
pub async fn missing_secret_fails_job_without_retry(subject: &StoresUnderTest) {
    let stores = subject.open().await;
    let services = services(stores.clone());
    let repo = samples::repo();
    set(&services, &repo, None, "TOKEN", "value").await;
    set(&services, &repo, None, "KEY", "value").await;
    let request =
        RemoveSecretRequest { repo: repo.clone(), environment: None, name: "KEY".into(), is_variable: false };
    assert!(services.secrets.remove(request.clone()).await.unwrap().removed);
    assert!(!services.secrets.remove(request).await.unwrap().removed);
    let id = begin(&services, &repo).await;
    let error = claim_at(&services, id, 1).await.unwrap_err();
    assert!(error.contains("tidemill secret set KEY"), "{error}");
    let view = services.pipelines.view(id, None, 0).await.unwrap().view.unwrap();
    let failed = &view.jobs[1];
    assert_eq!((failed.status, failed.attempt), (JobStatus::Failed, 1));
    let reason = failed.failure_reason.as_ref().unwrap();
    assert_eq!(reason.kind, FailureKind::SecretUnavailable);
    let (log, _) = stores.logs.read(failed.id, 1, 0, 10_000).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&log), format!("{}\n", reason.message), "its log says why");
}

/// A stored secret does not contain its value, and cannot be opened under another repository's name.
pub async fn sealed_value_opens_only_under_its_name(subject: &StoresUnderTest) {
    let stores = subject.open().await;
    let services = services(stores.clone());
    let (repo, other) = (samples::repo(), samples::repo());
    for repo in [&repo, &other] {
        set(&services, repo, None, "TOKEN", "the value of the secret").await;
        set(&services, repo, None, "KEY", "k").await;
    }
    let (stored, _) = stores.documents.list("secret", "", None, 10_000).await.unwrap();
    let of = |repo: &str| {
        let name = format!("{}\n\nTOKEN", tidemill_core::repository::canonical_name(repo));
        stored.iter().find(|one| one.key == DocumentKey::new("secret", name.clone())).unwrap()
    };
    let (mine, theirs) = (of(&repo), of(&other));
    assert!(!mine.value.contains("the value of the secret"));
    let copy = tidemill_services::ports::NewDocument {
        key: mine.key.clone(),
        value: theirs.value.clone(),
        due_at: None,
        expires_at: None,
    };
    assert!(stores.documents.put(copy, Some(mine.version)).await.unwrap());
    let id = begin(&services, &repo).await;
    let error = claim_at(&services, id, 1).await.unwrap_err();
    assert!(error.contains("`TOKEN`") && error.contains("set it again"), "{error}");
    let view = services.pipelines.view(id, None, 0).await.unwrap().view.unwrap();
    assert_eq!(view.jobs[1].status, JobStatus::Failed, "a retry would fail, too");
}

/// Jobs of a fork get no secrets; jobs that name none can run.
pub async fn fork_gets_no_secrets(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let repo = samples::repo();
    set(&services, &repo, None, "TOKEN", "value").await;
    set(&services, &repo, None, "KEY", "value").await;
    let request = ExecuteRequest { pipeline: PIPELINE.to_owned(), repo, force: true, ..Default::default() };
    let pull_request = Some(PullRequest { from_fork: true, ..PullRequest::default() });
    let start = tidemill_services::InternalStart {
        facts: Facts { pull_request, ..Facts::default() },
        ..Default::default()
    };
    let id = services.pipelines.start(request, start, None, None).await.unwrap().execution_id;
    assert_eq!(secrets_of(&claim_at(&services, id, 0).await.unwrap()), []);
    for job in [1, 2] {
        let error = claim_at(&services, id, job).await.unwrap_err();
        assert!(error.contains("comes from a fork"), "{error}");
    }
}

/// Invalid names and values, and values that are too large, are rejected.
pub async fn secret_requires_name_and_value(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let repo = samples::repo();
    let large = "x".repeat(64 << 10);
    set(&services, &repo, Some("production"), "_a1", &large).await;
    let too_large = format!("{large}x");
    for (repo, environment, name, value) in [
        (repo.as_str(), None, ".A", "v"),
        (&repo, None, "-A", "v"),
        (&repo, None, "", "v"),
        (&repo, None, "A", ""),
        (&repo, None, "A", "a\0b"),
        (&repo, None, "A", &too_large),
        (&repo, Some(""), "A", "v"),
        (&repo, Some("a\nb"), "A", "v"),
        ("", None, "A", "v"),
        ("a\nb", None, "A", "v"),
    ] {
        let (repo, environment) = (repo.to_owned(), environment.map(str::to_owned));
        let request =
            SetSecretRequest { repo, environment, name: name.into(), value: value.into(), variable: None };
        let debug = format!("{request:?}");
        assert!(!debug.contains(value) || value.len() < 2, "{debug}");
        assert!(matches!(services.secrets.set(request, "ann").await, Err(Error::Invalid(_))), "{debug}");
    }
    let listed = services.secrets.list(&repo).await.unwrap().secrets;
    let [one] = listed.as_slice() else { panic!("{listed:?}") };
    assert_eq!((one.name.as_str(), one.environment.as_deref()), ("_a1", Some("production")));
    assert_eq!(one.updated_by, "ann");
}

/// The total size of a job's secrets is bounded.
pub async fn secrets_of_job_are_bounded(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let repo = samples::repo();
    let names: Vec<String> = (0..5).map(|number| format!("S{number}")).collect();
    for name in &names {
        set(&services, &repo, None, name, &"x".repeat(60 << 10)).await;
    }
    let pipeline = format!(
        "name: large\ndefaults: {{ image: i }}\njobs:\n  four: {{ script: x, secrets: [{}] }}\n  five: {{ script: x, secrets: \
         [{}] }}\n",
        names[..4].join(", "),
        names.join(", ")
    );
    let request = ExecuteRequest { pipeline, repo, force: true, ..ExecuteRequest::default() };
    let id = services.pipelines.execute(request, None, None).await.unwrap().execution_id;
    assert_eq!(claim_at(&services, id, 0).await.unwrap().extras.secrets.len(), 4);
    let error = claim_at(&services, id, 1).await.unwrap_err();
    assert!(error.contains("more than 262144 bytes"), "{error}");
}

/// Concurrent first reads of several processes return the same key.
pub async fn encryption_key_is_created_once(subject: &StoresUnderTest) {
    let keys = futures_util::future::join_all((0..8).map(|_| async {
        let stores = subject.open().await;
        stores.keys.keys().await.unwrap()
    }))
    .await;
    assert!(keys.iter().all(|one| *one == keys[0]));
}

/// A key store with fixed keys, each of one repeated byte.
pub(super) struct FixedKeys(pub(super) &'static [u8]);

#[async_trait::async_trait]
impl KeyStore for FixedKeys {
    async fn keys(&self) -> tidemill_services::Result<Keys> {
        let text: String = self.0.iter().map(|key| Keys::from(Key([*key; 32])).to_text()).collect();
        Ok(Keys::parse(&text).unwrap())
    }
}

/// `rekey` seals all secrets with the newest key, and lists those that no key opens.
pub async fn rekey_seals_secrets_with_newest_key(subject: &StoresUnderTest) {
    let stores = subject.open().await;
    let under = |keys: &'static [u8]| {
        services(Stores { keys: std::sync::Arc::new(FixedKeys(keys)), ..stores.clone() })
    };
    let repo = samples::repo();
    let before = under(&[1]);
    for name in ["TOKEN", "KEY"] {
        set(&before, &repo, None, name, "value").await;
    }
    let signed_with = "what webhooks are signed with";
    let known = serde_json::json!({ "url": repo, "provider": "gitea", "webhook_secret": signed_with });
    before.repositories.put(serde_json::from_value(known).unwrap()).await.unwrap();

    let lost = under(&[3]);
    let replies = [lost.secrets.rekey().await.unwrap(), lost.repositories.rekey().await.unwrap()];
    let unreadable = replies.map(|reply| reply.unreadable.join("\n")).join("\n");
    let name = tidemill_core::repository::canonical_name(&repo);
    for name in [format!("secret `KEY` of {name}"), format!("the secret of webhooks of {name}")] {
        assert!(unreadable.contains(&name), "{unreadable}");
    }

    let between = under(&[2, 1]);
    assert_eq!(between.secrets.rekey().await.unwrap().renewed, 2);
    assert_eq!(between.repositories.rekey().await.unwrap().renewed, 1);
    let again = [between.secrets.rekey().await.unwrap(), between.repositories.rekey().await.unwrap()];
    assert!(again.iter().all(|reply| reply.renewed == 0 && !reply.more), "{again:?}");

    let after = under(&[2]);
    let id = begin(&after, &repo).await;
    assert_eq!(claim_at(&after, id, 1).await.unwrap().extras.secrets.len(), 2);
    let known = after.repositories.get(&repo).await.unwrap();
    assert_eq!(after.repositories.webhook_secret(&known).await.unwrap(), signed_with.as_bytes());
}
