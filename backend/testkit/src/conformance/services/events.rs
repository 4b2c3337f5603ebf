//! Checks of events that start pipelines, and of inputs, over the adapters.

use crate::conformance::{StoresUnderTest, claims::claim_at, samples};
use indexmap::IndexMap;
use serde_json::{Value, json};
use tidemill_core::api::{
    AttemptEnd, ExecuteRequest, ExecutionSummary, InputValue, JobReport, ListQuery, RetryRequest, Trigger,
};
use tidemill_core::execution::discovery::{DiscoveryReport, PipelineFile};
use tidemill_core::execution::facts::{CommitDetails, ComparedPaths};
use tidemill_core::ids::ExecutionId;
use tidemill_core::repository::{registration::WebhookReply, webhook::Provider, webhook::sign};
use tidemill_services::{Error, Services, Settings};
use tokio_util::sync::CancellationToken;

const SECRET: &str = "signs the webhooks";
const COMMIT: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const BUILD: &str = "name: build\non: { push: }\njobs: { a: { image: i, script: x } }\n";
const DEPLOY: &str =
    "name: deploy\non: { pipeline: { name: build } }\njobs: { a: { image: i, script: x } }\n";

async fn services(subject: &StoresUnderTest) -> Services {
    Services::new(subject.open().await, Settings::default(), CancellationToken::new())
}

async fn register(services: &Services, url: &str, provider: &str, more: Value) {
    let mut request = json!({ "url": url, "provider": provider, "webhook_secret": SECRET });
    request.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    services.repositories.put(serde_json::from_value(request).unwrap()).await.unwrap();
}

async fn deliver(services: &Services, provider: Provider, event: &str, body: &Value) -> WebhookReply {
    let body = body.to_string();
    let signature = sign(SECRET.as_bytes(), body.as_bytes());
    let prefixed = format!("sha256={signature}");
    let headers = |name: &str| match (provider, name) {
        (Provider::Github, "x-github-event") | (Provider::Gitea, "x-gitea-event") => Some(event),
        (Provider::Github, "x-hub-signature-256") => Some(prefixed.as_str()),
        (Provider::Gitea, "x-gitea-signature") => Some(signature.as_str()),
        _ => None,
    };
    services.webhooks.receive(provider, None, &headers, body.as_bytes()).await.unwrap()
}

/// Reports files at [`COMMIT`] for a discovery, and ends it.
async fn discover(services: &Services, id: ExecutionId, files: &[(&str, &str)]) -> Vec<String> {
    let claimed = claim_at(services, id, 0).await.unwrap();
    let file = |(path, text): &(&str, &str)| PipelineFile {
        path: (*path).into(),
        text: (*text).into(),
        includes: Vec::new(),
    };
    let report = DiscoveryReport {
        job_id: claimed.preparation.job_id,
        lease: claimed.lease.token,
        commit: COMMIT.into(),
        details: CommitDetails::default(),
        files: files.iter().map(file).collect(),
        changed: None,
        compared: ComparedPaths::new(),
        paths: None,
        skipped: false,
        incomplete: false,
    };
    let lines = services.discoveries.process_report(report.clone()).await.unwrap().lines;
    // The worker repeats a report whose reply was lost.
    services.discoveries.process_report(report).await.unwrap();
    finish(services, &claimed).await;
    lines
}

async fn finish(services: &Services, claimed: &tidemill_core::execution::assignment::Assignment) {
    let report = JobReport {
        job_id: claimed.preparation.job_id,
        lease: claimed.lease.token,
        log: None,
        phase: None,
        steps: Vec::new(),
        end: Some(AttemptEnd::default()),
    };
    services.jobs.report(report).await.unwrap();
}

/// Returns the executions of a repository, oldest first.
async fn executions(services: &Services, repo: &str) -> Vec<ExecutionSummary> {
    let query = ListQuery { repo: Some(repo.to_owned()), ..ListQuery::default() };
    let mut all = services.pipelines.list(query).await.unwrap().executions;
    all.reverse();
    all
}

/// A comment starts a discovery only if its author has rights, by the provider's word or by the list of the repository.
pub async fn comment_needs_rights(subject: &StoresUnderTest) {
    let services = services(subject).await;
    let comment = |repo: &str, author: &str, association: Option<&str>| {
        json!({ "action": "created", "repository": { "clone_url": repo, "default_branch": "main" },
            "is_pull": true, "sender": { "login": author }, "issue": { "number": 7, "pull_request": {} },
            "comment": { "body": "/deploy", "user": { "login": author }, "author_association": association } })
    };
    let opened = |repo: &str| {
        json!({ "action": "opened", "repository": { "clone_url": repo, "default_branch": "main" },
            "pull_request": { "number": 7, "title": "T", "head": { "ref": "t", "sha": COMMIT, "repo": { "id": 2 } },
                "base": { "ref": "main", "sha": COMMIT, "repo": { "id": 1 } } } })
    };
    for (provider, author, association, authors, starts) in [
        (Provider::Github, "ada", Some("OWNER"), json!(null), true),
        (Provider::Github, "eve", Some("CONTRIBUTOR"), json!(null), false),
        (Provider::Github, "eve", Some("MEMBER"), json!(["ada"]), false),
        (Provider::Github, "Ada", Some("NONE"), json!(["ada"]), true),
        (Provider::Gitea, "ada", None, json!(null), false),
        (Provider::Gitea, "ada", None, json!(["ada"]), true),
        (Provider::Gitea, "eve", None, json!(["ada"]), false),
        (Provider::Gitea, "", None, json!(["ada"]), false),
    ] {
        let repo = samples::repo();
        register(&services, &repo, provider.as_str(), json!({ "comment_authors": authors })).await;
        let body = comment(&repo, author, association);
        if starts {
            let early = deliver(&services, provider, "issue_comment", &body).await;
            assert!(early.lines[0].contains("pull request 7 is not known"), "{early:?}");
        }
        let of_request = deliver(&services, provider, "pull_request", &opened(&repo)).await;
        assert_eq!(of_request.executions.len(), 1);
        let reply = deliver(&services, provider, "issue_comment", &body).await;
        let case = format!("{provider} {author} {association:?} {authors}: {reply:?}");
        assert_eq!(reply.executions.len(), usize::from(starts), "{case}");
        let all = executions(&services, &repo).await;
        assert_eq!(all.len(), 1 + usize::from(starts), "{case}");
        if starts {
            let again = deliver(&services, provider, "issue_comment", &body).await;
            assert!(again.executions.is_empty() && again.lines[0].contains("delivered before"), "{again:?}");
            let comment = services.pipelines.view(reply.executions[0], None, 0).await.unwrap().view.unwrap();
            assert_eq!(
                (comment.execution.trigger, comment.execution.branch.as_deref()),
                (Trigger::Comment, Some("fork:t"))
            );
        } else {
            assert!(reply.lines[0].starts_with("nothing starts: "), "{case}");
        }
    }
}

/// The end of an execution starts the discovery of the pipelines that follow it once, however often and from where it is looked for,
/// and so does the end of its retry.
pub async fn pipeline_follows_another_once(subject: &StoresUnderTest) {
    let servers = [services(subject).await, services(subject).await];
    let services = &servers[0];
    let repo = samples::repo();
    register(services, &repo, "github", json!({})).await;
    let push = json!({ "ref": "refs/heads/main", "before": "b".repeat(40), "after": COMMIT, "head_commit": { "id": COMMIT },
        "pusher": { "name": "jo" }, "repository": { "clone_url": repo, "default_branch": "main" } });
    let first = deliver(services, Provider::Github, "push", &push).await.executions[0];
    let files = [("p/build.yml", BUILD), ("p/deploy.yml", DEPLOY)];
    let lines = discover(services, first, &files).await;
    assert!(lines[0].contains("started: build") && lines[1].contains("its `on` has no `push`"), "{lines:?}");
    let names = async || -> Vec<String> {
        let all = executions(services, &repo).await;
        all.into_iter().map(|execution| execution.pipeline_name).collect()
    };
    let build = executions(services, &repo).await[1].id;
    finish(services, &claim_at(services, build, 0).await.unwrap()).await;
    let (one, other) = tokio::join!(servers[0].follow_ups.run(), servers[1].follow_ups.run());
    one.unwrap();
    other.unwrap();
    servers[1].follow_ups.run().await.unwrap();
    assert_eq!(names().await, ["discover", "build", "discover"]);
    let follow = executions(services, &repo).await[2].clone();
    assert_eq!((follow.trigger, follow.commit.as_deref()), (Trigger::Pipeline, Some(COMMIT)));
    let lines = discover(services, follow.id, &files).await;
    assert!(
        lines[0].contains("its `on` has no `pipeline`") && lines[1].contains("started: deploy 1"),
        "{lines:?}"
    );
    // Nothing follows the deployment, and the retry of the build is followed as the build was.
    let deploy = executions(services, &repo).await[3].id;
    finish(services, &claim_at(services, deploy, 0).await.unwrap()).await;
    let all = RetryRequest { all: true, ..RetryRequest::default() };
    let retry = services.pipelines.retry(build, all, None).await.unwrap().execution_id;
    for _ in 0..2 {
        services.follow_ups.follow_retry(retry, build).await.unwrap();
    }
    finish(services, &claim_at(services, retry, 0).await.unwrap()).await;
    services.follow_ups.run().await.unwrap();
    services.follow_ups.run().await.unwrap();
    assert_eq!(names().await, ["discover", "build", "discover", "deploy", "build", "discover"]);
}

/// The values of inputs are checked, are variables of the jobs, are shown, and are the same in a retry.
pub async fn inputs_are_recorded_and_kept_by_a_retry(subject: &StoresUnderTest) {
    let services = services(subject).await;
    let repo = samples::repo();
    let pipeline = "name: ship\non: { manual: { inputs: { env: { type: choice, options: [dev, prod] }, count: { type: number, default: 2 } } } }\n\
                    jobs: { a: { image: 'app:${INPUT_ENV}', script: x } }\n";
    let request = |inputs: &[(&str, InputValue)]| ExecuteRequest {
        pipeline: pipeline.into(),
        repo: repo.clone(),
        inputs: inputs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
        variables: IndexMap::from([("INPUT_COUNT".to_owned(), "9".to_owned())]),
        ..ExecuteRequest::default()
    };
    let text = |text: &str| InputValue::Text(text.into());
    for (inputs, message) in [
        (vec![], "the input `env` (choice) has no default"),
        (vec![("env", text("prd"))], "takes one of `dev`, `prod`, not `prd`"),
        (
            vec![("env", text("dev")), ("count", InputValue::Boolean(true))],
            "`count` takes a number, not `true`",
        ),
        (vec![("env", text("dev")), ("cuont", text("1"))], "did you mean `count`?"),
    ] {
        let error = services.pipelines.execute(request(&inputs), None, None).await.unwrap_err();
        assert!(matches!(&error, Error::Invalid(why) if why.contains(message)), "{error}");
    }
    let inputs = [("env", text("prod")), ("count", InputValue::Number(7.into()))];
    let id = services.pipelines.execute(request(&inputs), None, None).await.unwrap().execution_id;
    let same = services.pipelines.execute(request(&inputs), None, None).await.unwrap();
    assert!(same.attached && same.execution_id == id);
    let other = services.pipelines.execute(request(&[("env", text("dev"))]), None, None).await.unwrap();
    assert_ne!(other.execution_id, id, "other inputs are another request");
    let claimed = claim_at(&services, id, 0).await.unwrap();
    assert_eq!(claimed.preparation.image, "app:prod");
    assert_eq!(
        (claimed.variables["INPUT_ENV"].as_str(), claimed.variables["INPUT_COUNT"].as_str()),
        ("prod", "7"),
        "a variable does not change an input"
    );
    finish(&services, &claimed).await;
    let all = RetryRequest { all: true, ..RetryRequest::default() };
    let retry = services.pipelines.retry(id, all, None).await.unwrap().execution_id;
    for id in [id, retry] {
        let shown = services.pipelines.view(id, None, 0).await.unwrap().view.unwrap().execution.inputs;
        let shown: Vec<(&str, &str)> = shown.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(shown, [("env", "prod"), ("count", "7")]);
    }
    assert_eq!(claim_at(&services, retry, 0).await.unwrap().variables["INPUT_COUNT"], "7");
}
