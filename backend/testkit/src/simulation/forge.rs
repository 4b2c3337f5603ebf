//! A git server, and the provider that posts its webhooks.

use super::{clients::insist, cluster::Cluster, pipelines, world::TaskOwner};
use futures_util::FutureExt;
use serde_json::json;
use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};
use tidemill_core::execution::discovery::PipelineFile;
use tidemill_core::repository::{
    registration::{Approval, RepositoryRequest},
    webhook::{Provider, sign},
};
use tidemill_core::time::Timestamp;

const URL: &str = "https://git.example.org/team/app.git";
const SECRET: &str = "the secret of the webhooks";
/// How long after it became quiet the last schedule is taken away, in milliseconds.
const LAST_PUSH_DELAY_MS: i64 = 150_000;
/// By so much a schedule may come late when it is quiet, in milliseconds.
const MAX_SCHEDULE_DELAY_MS: i64 = 60_000;

/// Files at commits, and which of these the default branch is at.
#[derive(Default)]
pub struct GitProvider {
    commits: Mutex<Vec<Commit>>,
    busy: AtomicBool,
}

struct Commit {
    is_of_branch: bool,
    files: Vec<PipelineFile>,
    cron: Option<&'static str>,
}

/// What a worker finds.
pub struct Found {
    pub commit: String,
    pub files: Vec<PipelineFile>,
    /// The schedule in them.
    pub cron: Option<&'static str>,
}

fn name(commit: usize) -> String {
    format!("{:040x}", commit + 1)
}

impl GitProvider {
    fn commit(&self, commit: Commit) -> String {
        let mut commits = self.commits.lock().unwrap_or_else(PoisonError::into_inner);
        commits.push(commit);
        name(commits.len() - 1)
    }

    /// What is at a commit, or at the default branch's if it is not named.
    pub fn at(&self, commit: &str, only: &[String]) -> Found {
        let commits = self.commits.lock().unwrap_or_else(PoisonError::into_inner);
        let fits =
            |(ix, one): &(usize, &Commit)| name(*ix) == commit || (commit.is_empty() && one.is_of_branch);
        let Some((ix, at)) = commits.iter().enumerate().rev().find(fits) else {
            return Found { commit: commit.to_owned(), files: Vec::new(), cron: None };
        };
        let wanted = |file: &&PipelineFile| only.is_empty() || only.contains(&file.path);
        Found { commit: name(ix), files: at.files.iter().filter(wanted).cloned().collect(), cron: at.cron }
    }

    /// Whether something is still to be pushed.
    pub fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed)
    }
}

/// A pipeline file that something outside starts, of some group or none.
fn made(rng: &mut fastrand::Rng, name: &str, on: &str) -> String {
    let group = pipelines::group(rng).unwrap_or_default();
    pipelines::made(rng, name, &format!("{on}{group}"))
}

/// Makes a repository known, pushes to it, and asks for pulls from forks.
pub async fn provider(cluster: Arc<Cluster>, quiet_at: i64) {
    let world = cluster.world().clone();
    cluster.forge.busy.store(true, Ordering::Relaxed);
    let mut rng = fastrand::Rng::with_seed(world.below(u64::MAX));
    let request = RepositoryRequest {
        url: URL.into(),
        provider: Provider::Github,
        webhook_secret: Some(SECRET.into()),
        status_token: None,
        api_url: None,
        default_branch: Some("main".into()),
        approval: Some(Approval::Forks),
        notify: None,
    };
    let known = insist(&cluster, |server| {
        let request = request.clone();
        async move { server.repositories.put(request).await }.boxed()
    });
    known.await;
    for number in 0..rng.u32(0..3) {
        let file = made(&mut rng, "pull", "on: { pull_request: }\n");
        let (cluster, waits) = (cluster.clone(), rng.u64(..100_000));
        world.spawn(TaskOwner::Nobody, async move {
            cluster.world().pause(waits).await;
            pull(&cluster, number, file).await;
        });
    }
    if rng.bool() {
        for cron in ["* * * * *", "*/2 * * * *", "* * * * *"] {
            push(&cluster, &mut rng, Some(cron)).await;
            if rng.bool() {
                break;
            }
            let waits = rng.u64(..60_000);
            world.pause(waits).await;
        }
        world.pause(u64::try_from(quiet_at + LAST_PUSH_DELAY_MS - world.now()).unwrap_or(0)).await;
        on_time(&cluster).await;
        push(&cluster, &mut rng, None).await;
    }
    cluster.forge.busy.store(false, Ordering::Relaxed);
}

/// Pushes to the default branch a pipeline with this schedule, and has the branch looked at.
async fn push(cluster: &Arc<Cluster>, rng: &mut fastrand::Rng, cron: Option<&'static str>) {
    let on = cron.map(|cron| format!("on: {{ schedule: '{cron}' }}\n")).unwrap_or_default();
    let text = made(rng, "nightly", &on);
    let files = vec![PipelineFile { path: "p/n.yml".into(), text }];
    let commit = cluster.forge.commit(Commit { is_of_branch: true, files, cron });
    cluster.world().event(format_args!("push of {commit}: {cron:?}"));
    if rng.bool() {
        let looks =
            |server: tidemill_services::Services| async move { server.discoveries.sync(URL, None).await };
        insist(cluster, |server| looks(server).boxed()).await;
    } else {
        let body = json!({ "ref": "refs/heads/main", "before": "b".repeat(40), "after": commit,
            "head_commit": { "id": commit }, "pusher": { "name": "jo" },
            "repository": { "clone_url": URL, "default_branch": "main" } });
        deliver(cluster, "push", &commit, body.to_string()).await;
    }
}

/// A pull request from a fork.
async fn pull(cluster: &Arc<Cluster>, number: u32, text: String) {
    let files = vec![PipelineFile { path: "p/p.yml".into(), text }];
    let commit = cluster.forge.commit(Commit { is_of_branch: false, files, cron: None });
    let body = json!({ "action": "opened", "sender": { "login": "jo" },
        "repository": { "clone_url": URL, "default_branch": "main" },
        "pull_request": { "number": number, "title": "Faster", "draft": false,
            "head": { "ref": "main", "sha": commit, "repo": { "id": 2, "owner": { "login": "eve" } } },
            "base": { "ref": "main", "sha": "b".repeat(40), "repo": { "id": 1 } } } });
    deliver(cluster, "pull_request", &commit, body.to_string()).await;
    cluster.auditor.delivered(&commit);
}

/// Posts until it is taken, and now and then once more.
async fn deliver(cluster: &Arc<Cluster>, event: &'static str, id: &str, body: String) {
    let signature = format!("sha256={}", sign(SECRET.as_bytes(), body.as_bytes()));
    let times = 1 + cluster.world().below(2);
    for _ in 0..times {
        let taken = insist(cluster, |server| {
            let (id, body, signature) = (id.to_owned(), body.clone(), signature.clone());
            async move {
                let headers = |name: &str| match name {
                    "content-type" => Some("application/json"),
                    "x-github-event" => Some(event),
                    "x-github-delivery" => Some(id.as_str()),
                    "x-hub-signature-256" => Some(signature.as_str()),
                    _ => None,
                };
                server.webhooks.take(Provider::Github, None, &headers, body.as_bytes()).await
            }
            .boxed()
        });
        taken.await;
    }
}

/// When it is quiet, no schedule waits for long, and each is the one that was told last.
async fn on_time(cluster: &Arc<Cluster>) {
    let until = Timestamp(cluster.world().now() - MAX_SCHEDULE_DELAY_MS);
    let documents = &cluster.truth.documents;
    let late = documents.due("schedule", until, 1).await.unwrap_or_default();
    if let Some(late) = late.first() {
        cluster.world().violation(format!("16: a schedule did not start: {late:?}"));
    }
    let (all, _) = documents.list("schedule", "", None, 10).await.unwrap_or_default();
    cluster.auditor.schedules(&all.iter().map(|one| one.value.as_str()).collect::<Vec<_>>());
}
