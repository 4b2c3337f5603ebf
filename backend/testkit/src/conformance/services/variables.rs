//! Checks of variables of repositories, over the adapters.

use crate::conformance::{StoresUnderTest, claims::claim_at, samples};
use std::collections::BTreeMap;
use tidemill_core::access::Scope;
use tidemill_core::api::{
    AttemptEnd, ExecuteRequest, JobReport, RemoveSecretRequest, SetRegistryRequest, SetSecretRequest,
    VariableOptions,
};
use tidemill_core::execution::{
    assignment::Assignment,
    facts::{Facts, PullRequest},
};
use tidemill_core::ids::{
    ExecutionId,
    job_token::{GITLAB_JOB_TOKEN, JOB_TOKEN, JobToken},
};
use tidemill_services::{Caller, CallerKey, Error, InternalStart, Services, Settings};
use tokio_util::sync::CancellationToken;

const PIPELINE: &str = "
name: check
defaults: { image: i }
variables: { MODE: slow }
jobs:
  plain: { script: x }
  fast: { script: x, if: 'env(\"MODE\") == \"fast\"' }
  deploys: { script: x, environment: production }
  all: { script: x, secrets: '*' }
";
const PLAIN: VariableOptions = VariableOptions { masked: false, protected: false, file: false, forks: false };
const MASKED: VariableOptions = VariableOptions { masked: true, ..PLAIN };

async fn services(subject: &StoresUnderTest) -> Services {
    Services::new(subject.open().await, Settings::default(), CancellationToken::new())
}

fn request(repo: &str, name: &str, value: &str, options: VariableOptions) -> SetSecretRequest {
    let (repo, name, value) = (repo.to_owned(), name.to_owned(), value.to_owned());
    SetSecretRequest { repo, environment: None, name, value, variable: Some(options) }
}

async fn set(services: &Services, repo: &str, name: &str, value: &str, options: VariableOptions) {
    services.secrets.set(request(repo, name, value, options), "ann").await.unwrap();
}

async fn start(services: &Services, repo: &str, facts: Facts) -> ExecutionId {
    let (pipeline, repo) = (PIPELINE.to_owned(), repo.to_owned());
    let request = ExecuteRequest { pipeline, repo, force: true, ..ExecuteRequest::default() };
    let start = InternalStart { facts, ..InternalStart::default() };
    services.pipelines.start(request, start, None, None).await.unwrap().execution_id
}

/// What a worker gets besides variables and the job's token: value, whether it is a file, and whether it is masked.
fn hidden(assignment: &Assignment) -> BTreeMap<&str, (&str, bool, bool)> {
    let is_token = |name: &str| [JOB_TOKEN, GITLAB_JOB_TOKEN].contains(&name);
    let secrets = assignment.extras.secrets.iter().filter(|one| !is_token(&one.variable));
    secrets.map(|one| (one.variable.as_str(), (one.value.as_str(), one.file, !one.unmasked))).collect()
}

/// A variable without options is a variable of every job, wins over the file's, and decides conditions.
pub async fn variables_reach_every_job_and_conditions(subject: &StoresUnderTest) {
    let services = services(subject).await;
    let repo = samples::repo();
    set(&services, &format!("{repo}.git"), "MODE", "fast", PLAIN).await;
    set(&services, &repo, "EMPTY", "", PLAIN).await;
    let id = start(&services, &repo, Facts::default()).await;
    for job in 0..4 {
        let assignment = claim_at(&services, id, job).await.unwrap();
        assert_eq!(
            (assignment.variables["MODE"].as_str(), assignment.variables["EMPTY"].as_str()),
            ("fast", "")
        );
        assert!(hidden(&assignment).is_empty());
    }
    let listed = services.secrets.list(&repo).await.unwrap().secrets;
    let values: Vec<_> = listed.iter().map(|one| (one.name.as_str(), one.value.as_deref())).collect();
    assert_eq!(values, [("EMPTY", Some("")), ("MODE", Some("fast"))]);
    let remove =
        RemoveSecretRequest { repo: repo.clone(), environment: None, name: "MODE".into(), is_variable: true };
    assert!(services.secrets.remove(remove).await.unwrap().removed);
    let facts = Facts {
        variables: [("EMPTY".to_owned(), "set".to_owned())].into_iter().collect(),
        ..Facts::default()
    };
    let id = start(&services, &repo, facts).await;
    assert_eq!(services.pipelines.view(id, None, 0).await.unwrap().view.unwrap().jobs.len(), 3);
    assert_eq!(claim_at(&services, id, 0).await.unwrap().variables["EMPTY"], "set", "a run's own wins");
}

/// Masked variables, files and those of an environment are in the assignment only; secrets are if the job asks for all.
pub async fn hidden_variables_reach_only_workers(subject: &StoresUnderTest) {
    let services = services(subject).await;
    let repo = samples::repo();
    set(&services, &repo, "MODE", "fast", PLAIN).await;
    set(&services, &repo, "KEY", "hush", MASKED).await;
    set(&services, &repo, "CONFIG", "a\nb", VariableOptions { file: true, ..PLAIN }).await;
    let of_production =
        SetSecretRequest { environment: Some("production".into()), ..request(&repo, "KEY", "live", MASKED) };
    services.secrets.set(of_production, "ann").await.unwrap();
    let secret = SetSecretRequest { variable: None, ..request(&repo, "TOKEN", "secret", PLAIN) };
    services.secrets.set(secret, "ann").await.unwrap();
    let id = start(&services, &repo, Facts::default()).await;
    let first = claim_at(&services, id, 0).await.unwrap();
    assert!(!first.variables.contains_key("KEY"));
    let expected = BTreeMap::from([("KEY", ("hush", false, true)), ("CONFIG", ("a\nb", true, false))]);
    assert_eq!(hidden(&first), expected);
    assert_eq!(hidden(&claim_at(&services, id, 2).await.unwrap())["KEY"], ("live", false, true));
    assert_eq!(hidden(&claim_at(&services, id, 3).await.unwrap())["TOKEN"], ("secret", false, true));
    let listed = services.secrets.list(&repo).await.unwrap().secrets;
    assert!(
        listed.iter().filter(|one| one.name != "CONFIG" && one.name != "MODE").all(|one| one.value.is_none())
    );
    let external = services.variables.of_execution(&Facts { repo, ..Facts::default() }).await.unwrap();
    assert_eq!(external.values.keys().collect::<Vec<_>>(), ["MODE"]);
    assert_eq!(external.hidden.iter().collect::<Vec<_>>(), ["CONFIG", "KEY", "TOKEN"]);
}

/// Services of a job with all secrets get its variables below their own, and neither its token nor its files; those of other jobs
/// get nothing.
pub async fn services_get_the_variables_of_a_job_with_all_secrets(subject: &StoresUnderTest) {
    let services = services(subject).await;
    services.set_issuer_url("https://ci.example.org");
    let repo = samples::repo();
    set(&services, &repo, "MODE", "fast", PLAIN).await;
    set(&services, &repo, "KEY", "hush", MASKED).await;
    set(&services, &repo, "OTHER_KEY", "quiet", MASKED).await;
    set(&services, &repo, "CONFIG", "a\nb", VariableOptions { file: true, ..PLAIN }).await;
    let own = "variables: { JOB: one }, services: [{ image: db, variables: { OWN: two, KEY: own } }]";
    let pipeline = format!(
        "name: check\ndefaults: {{ image: i }}\njobs:\n  all: {{ script: x, secrets: '*', id_tokens: {{ ID: {{ aud: them }} }}, {own} }}\n  few: {{ script: x, {own} }}\n"
    );
    let request = ExecuteRequest { pipeline, repo, force: true, ..ExecuteRequest::default() };
    let id = services.pipelines.execute(request, None, None).await.unwrap().execution_id;
    let all = claim_at(&services, id, 0).await.unwrap();
    let of_service = &all.extras.services[0].variables;
    for (name, value) in [
        ("MODE", "fast"),
        ("KEY", "own"),
        ("OTHER_KEY", "quiet"),
        ("JOB", "one"),
        ("OWN", "two"),
        ("CI_JOB_NAME", "all"),
    ] {
        assert_eq!(of_service.get(name).map(String::as_str), Some(value), "{name}");
    }
    for name in ["CONFIG", JOB_TOKEN, GITLAB_JOB_TOKEN, "ID"] {
        assert!(hidden_names(&all).contains(&name) && !of_service.contains_key(name), "{name}");
    }
    let few = claim_at(&services, id, 1).await.unwrap();
    assert_eq!(few.extras.services[0].variables.keys().collect::<Vec<_>>(), ["OWN", "KEY"]);
}

/// The names of what a worker gets besides variables.
fn hidden_names(assignment: &Assignment) -> Vec<&str> {
    assignment.extras.secrets.iter().map(|one| one.variable.as_str()).collect()
}

/// A protected variable reaches executions of the default branch only, and a fork gets what says so.
pub async fn protected_variables_and_forks_are_kept_apart(subject: &StoresUnderTest) {
    let services = services(subject).await;
    let repo = samples::repo();
    set(&services, &repo, "LIVE", "1", VariableOptions { protected: true, ..PLAIN }).await;
    set(&services, &repo, "LIVE_KEY", "hush", VariableOptions { protected: true, ..MASKED }).await;
    set(&services, &repo, "OPEN", "1", VariableOptions { forks: true, ..PLAIN }).await;
    set(&services, &repo, "OWN", "1", PLAIN).await;
    let secret = SetSecretRequest { variable: None, ..request(&repo, "TOKEN", "secret", PLAIN) };
    services.secrets.set(secret, "ann").await.unwrap();
    let on = |branch: &str| {
        let (branch, default_branch) = (Some(branch.to_owned()), Some("main".to_owned()));
        Facts { branch, default_branch, ..Facts::default() }
    };
    let pull_request = Some(PullRequest { from_fork: true, ..PullRequest::default() });
    for (facts, names) in [
        (on("main"), vec!["LIVE", "LIVE_KEY", "OPEN", "OWN", "TOKEN"]),
        (on("topic"), vec!["OPEN", "OWN", "TOKEN"]),
        (Facts { pull_request, ..on("main") }, vec!["OPEN"]),
    ] {
        let id = start(&services, &repo, facts).await;
        let all = claim_at(&services, id, 2).await.unwrap();
        let mut found: Vec<&str> = hidden(&all).into_keys().collect();
        let plain = ["LIVE", "OPEN", "OWN"].into_iter().filter(|name| all.variables.contains_key(*name));
        found.extend(plain);
        found.sort_unstable();
        assert_eq!(found, names);
    }
    // A job that names it as a secret gets it in no other way.
    let by_name = "name: check\njobs:\n  j: { image: i, script: x, secrets: [LIVE_KEY] }\n";
    for (branch, is_given) in [("main", true), ("topic", false)] {
        let (pipeline, repo) = (by_name.to_owned(), repo.clone());
        let request = ExecuteRequest { pipeline, repo, force: true, ..ExecuteRequest::default() };
        let start = InternalStart { facts: on(branch), ..InternalStart::default() };
        let id = services.pipelines.start(request, start, None, None).await.unwrap().execution_id;
        let assignment = claim_at(&services, id, 0).await;
        assert_eq!(assignment.is_ok_and(|of_job| hidden(&of_job).contains_key("LIVE_KEY")), is_given);
    }
}

/// A request is the same one if the variables of its repository changed before it was repeated.
pub async fn repeated_request_is_the_same_after_a_change_of_variables(subject: &StoresUnderTest) {
    let services = services(subject).await;
    let repo = samples::repo();
    let mut ids = Vec::new();
    for value in ["fast", "slow"] {
        set(&services, &repo, "MODE", value, PLAIN).await;
        let key = CallerKey::new(&Caller::internal("check"), "key").unwrap();
        let (pipeline, repo) = (PIPELINE.to_owned(), repo.clone());
        let request = ExecuteRequest { pipeline, repo, ..ExecuteRequest::default() };
        ids.push(services.pipelines.execute(request, Some(key), None).await.unwrap().execution_id);
    }
    assert_eq!(ids[0], ids[1]);
}

/// A variable does not silently replace a secret, nor the other way round; invalid ones are rejected.
pub async fn variable_of_a_secrets_name_is_a_conflict(subject: &StoresUnderTest) {
    let services = services(subject).await;
    let repo = samples::repo();
    let secret = SetSecretRequest { variable: None, ..request(&repo, "TOKEN", "secret", PLAIN) };
    services.secrets.set(secret, "ann").await.unwrap();
    let error = services.secrets.set(request(&repo, "TOKEN", "x", PLAIN), "ann").await.unwrap_err();
    assert!(
        matches!(&error, Error::Conflict(why) if why.contains("tidemill secret remove TOKEN")),
        "{error}"
    );
    let remove = RemoveSecretRequest {
        repo: repo.clone(),
        environment: None,
        name: "TOKEN".into(),
        is_variable: true,
    };
    assert!(!services.secrets.remove(remove).await.unwrap().removed);
    let large = "x".repeat((8 << 10) + 1);
    for (name, value, options) in
        [("a-b", "x", PLAIN), ("A", large.as_str(), PLAIN), ("A", "", MASKED), ("A", "a\0b", PLAIN)]
    {
        let invalid = services.secrets.set(request(&repo, name, value, options), "ann").await;
        assert!(matches!(invalid, Err(Error::Invalid(_))), "{name}");
    }
    for number in 0..8 {
        set(&services, &repo, &format!("V{number}"), &"x".repeat(8 << 10), PLAIN).await;
    }
    let full = services.secrets.set(request(&repo, "V8", "x", PLAIN), "ann").await.unwrap_err();
    assert!(full.to_string().contains("tidemill variable remove"), "{full}");
}

/// The address of the only registry is known to all jobs, its login to those that get all secrets.
pub async fn login_of_the_only_registry_is_predefined(subject: &StoresUnderTest) {
    let services = services(subject).await;
    let repo = samples::repo();
    let login = |registry: &str| SetRegistryRequest {
        repo: repo.clone(),
        registry: registry.into(),
        username: "ci".into(),
        password: "hush".into(),
    };
    services.registries.set(login("registry.example.org"), "ann").await.unwrap();
    let id = start(&services, &repo, Facts::default()).await;
    let plain = claim_at(&services, id, 0).await.unwrap();
    assert_eq!(plain.variables["CI_REGISTRY"], "registry.example.org");
    assert!(plain.extras.secrets.is_empty());
    let all = claim_at(&services, id, 2).await.unwrap();
    let expected = BTreeMap::from([
        ("CI_REGISTRY_USER", ("ci", false, false)),
        ("CI_REGISTRY_PASSWORD", ("hush", false, true)),
    ]);
    assert_eq!(hidden(&all), expected);
    services.registries.set(login("other.example.org"), "ann").await.unwrap();
    let id = start(&services, &repo, Facts::default()).await;
    assert!(!claim_at(&services, id, 0).await.unwrap().variables.contains_key("CI_REGISTRY"));
}

/// A job that gets all secrets gets its token, which is masked, identifies its job to the server until the attempt ends, and is
/// for its repository. Other jobs and those of forks get none.
pub async fn job_token_reads_its_repository_until_attempt_ends(subject: &StoresUnderTest) {
    let services = services(subject).await;
    let repo = samples::repo();
    let id = start(&services, &repo, Facts::default()).await;
    assert!(claim_at(&services, id, 0).await.unwrap().extras.secrets.is_empty());
    let all = claim_at(&services, id, 2).await.unwrap();
    let secrets = all.extras.secrets.as_slice();
    let names: Vec<&str> = secrets.iter().map(|one| one.variable.as_str()).collect();
    assert_eq!(names, [JOB_TOKEN, GITLAB_JOB_TOKEN]);
    assert!(secrets.iter().all(|one| !one.file && !one.unmasked && one.value == secrets[0].value));
    let token = JobToken::parse(secrets[0].value.as_bytes()).unwrap();
    let caller = services.jobs.token_caller(&token).await.unwrap().unwrap();
    assert_eq!((caller.repo.as_deref(), &*caller.name), (Some(repo.as_str()), "job all"));
    assert!(caller.has_scope(Scope::Read) && caller.scopes.len() == 1);
    let guessed = JobToken::new(token.job(), all.lease.token.for_attempt(2));
    assert_eq!(services.jobs.token_caller(&guessed).await.unwrap(), None);

    let end = Some(AttemptEnd { exit_code: Some(0), ..AttemptEnd::default() });
    let (job_id, lease) = (all.preparation.job_id, all.lease.token);
    let report = JobReport { job_id, lease, log: None, phase: None, steps: Vec::new(), end };
    services.jobs.report(report).await.unwrap();
    assert_eq!(services.jobs.token_caller(&token).await.unwrap(), None, "the attempt has ended");

    let pull_request = Some(PullRequest { from_fork: true, ..PullRequest::default() });
    let id = start(&services, &repo, Facts { pull_request, ..Facts::default() }).await;
    let of_fork = claim_at(&services, id, 2).await.unwrap();
    assert!(of_fork.extras.secrets.is_empty());
    let derived = JobToken::new(of_fork.preparation.job_id, of_fork.lease.token);
    assert_eq!(services.jobs.token_caller(&derived).await.unwrap(), None);
}
