//! Pushes and pull requests, and the webhooks that announce them.

use super::{clients::call_until_ok, cluster::Cluster, git_server::Commit, pipelines, world::TaskOwner};
use futures_util::FutureExt;
use serde_json::json;
use std::sync::{Arc, atomic::Ordering};
use tidemill_core::execution::discovery::PipelineFile;
use tidemill_core::repository::{
    registration::{ApprovalPolicy, RepositoryRequest},
    webhook::{Provider, sign},
};
use tidemill_core::time::Timestamp;

const URL: &str = "https://git.example.org/team/app.git";
const SECRET: &str = "the webhook secret";
/// Time from the end of faults to the removal of the last schedule, in milliseconds.
const LAST_PUSH_DELAY_MS: i64 = 150_000;
/// Maximum delay of a schedule without faults, in milliseconds.
const MAX_SCHEDULE_DELAY_MS: i64 = 60_000;

/// Creates a pipeline file with a trigger, and with a group or none.
fn pipeline_file(rng: &mut fastrand::Rng, name: &str, on: &str) -> String {
    let group = pipelines::random_group(rng).unwrap_or_default();
    pipelines::random_pipeline(rng, name, &format!("{on}{group}"))
}

/// Registers a repository, pushes to it, and opens pull requests from forks.
pub async fn run_git_provider(cluster: Arc<Cluster>, quiet_at: i64) {
    let world = cluster.world().clone();
    cluster.git_server.busy.store(true, Ordering::Relaxed);
    let mut rng = fastrand::Rng::with_seed(world.random_below(u64::MAX));
    let request = RepositoryRequest {
        url: URL.into(),
        provider: Provider::Github,
        webhook_secret: Some(SECRET.into()),
        status_token: None,
        api_url: None,
        default_branch: Some("main".into()),
        approval: Some(ApprovalPolicy::Forks),
        notify: None,
        credential: None,
        allow_push: None,
        comment_authors: None,
        allow_trigger_from: None,
        public: None,
        app: None,
        notes: None,
    };
    let registered = call_until_ok(&cluster, |server| {
        let request = request.clone();
        async move { server.repositories.put(request).await }.boxed()
    });
    registered.await;
    for number in 0..rng.u32(0..3) {
        let file = pipeline_file(&mut rng, "pull", "on: { pull_request: }\n");
        let (cluster, wait_ms) = (cluster.clone(), rng.u64(..100_000));
        world.spawn(TaskOwner::Environment, async move {
            cluster.world().sleep(wait_ms).await;
            pull(&cluster, number, file).await;
        });
    }
    if rng.bool() {
        for cron in ["* * * * *", "*/2 * * * *", "* * * * *"] {
            push(&cluster, &mut rng, Some(cron)).await;
            if rng.bool() {
                break;
            }
            let wait_ms = rng.u64(..60_000);
            world.sleep(wait_ms).await;
        }
        world.sleep(u64::try_from(quiet_at + LAST_PUSH_DELAY_MS - world.now()).unwrap_or(0)).await;
        check_schedules(&cluster).await;
        push(&cluster, &mut rng, None).await;
    }
    cluster.git_server.busy.store(false, Ordering::Relaxed);
}

/// Pushes a pipeline with this schedule to the default branch, and starts discovery.
async fn push(cluster: &Arc<Cluster>, rng: &mut fastrand::Rng, cron: Option<&'static str>) {
    let on = cron.map(|cron| format!("on: {{ schedule: '{cron}' }}\n")).unwrap_or_default();
    let text = pipeline_file(rng, "nightly", &on);
    let files = vec![PipelineFile { path: "p/n.yml".into(), text, includes: Vec::new() }];
    let commit = cluster.git_server.add_commit(Commit { is_on_default_branch: true, files, cron });
    cluster.world().record_event(format_args!("push of {commit}: {cron:?}"));
    if rng.bool() {
        let sync =
            |server: tidemill_services::Services| async move { server.discoveries.sync(URL, None).await };
        call_until_ok(cluster, |server| sync(server).boxed()).await;
    } else {
        let body = json!({ "ref": "refs/heads/main", "before": "b".repeat(40), "after": commit,
            "head_commit": { "id": commit }, "pusher": { "name": "jo" },
            "repository": { "clone_url": URL, "default_branch": "main" } });
        deliver(cluster, "push", &commit, body.to_string()).await;
    }
}

/// Opens a pull request from a fork.
async fn pull(cluster: &Arc<Cluster>, number: u32, text: String) {
    let files = vec![PipelineFile { path: "p/p.yml".into(), text, includes: Vec::new() }];
    let commit = cluster.git_server.add_commit(Commit { is_on_default_branch: false, files, cron: None });
    let body = json!({ "action": "opened", "sender": { "login": "jo" },
        "repository": { "clone_url": URL, "default_branch": "main" },
        "pull_request": { "number": number, "title": "Faster", "draft": false,
            "head": { "ref": "main", "sha": commit, "repo": { "id": 2, "owner": { "login": "eve" } } },
            "base": { "ref": "main", "sha": "b".repeat(40), "repo": { "id": 1 } } } });
    deliver(cluster, "pull_request", &commit, body.to_string()).await;
    cluster.auditor.webhook_acknowledged(&commit);
}

/// Posts a webhook until it is acknowledged, and sometimes once more.
async fn deliver(cluster: &Arc<Cluster>, event: &'static str, id: &str, body: String) {
    let signature = format!("sha256={}", sign(SECRET.as_bytes(), body.as_bytes()));
    let times = 1 + cluster.world().random_below(2);
    for _ in 0..times {
        let acknowledged = call_until_ok(cluster, |server| {
            let (id, body, signature) = (id.to_owned(), body.clone(), signature.clone());
            async move {
                let headers = |name: &str| match name {
                    "content-type" => Some("application/json"),
                    "x-github-event" => Some(event),
                    "x-github-delivery" => Some(id.as_str()),
                    "x-hub-signature-256" => Some(signature.as_str()),
                    _ => None,
                };
                server.webhooks.receive(Provider::Github, None, &headers, body.as_bytes()).await
            }
            .boxed()
        });
        acknowledged.await;
    }
}

/// Checks that no schedule is late without faults, and that the stored schedules are the newest.
async fn check_schedules(cluster: &Arc<Cluster>) {
    let until = Timestamp(cluster.world().now() - MAX_SCHEDULE_DELAY_MS);
    let documents = &cluster.stores.documents;
    let overdue = documents.due("schedule", until, 1).await.unwrap_or_default();
    if let Some(overdue) = overdue.first() {
        cluster.world().record_violation(format!("16: a schedule did not start: {overdue:?}"));
    }
    let (schedules, _) = documents.list("schedule", "", None, 10).await.unwrap_or_default();
    cluster.auditor.check_schedules(&schedules.iter().map(|one| one.value.as_str()).collect::<Vec<_>>());
}
