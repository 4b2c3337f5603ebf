//! `repo add` with `--public`, `--app-id` and `--notes`, `repo deliveries`, `repo schedules` and `repo run`.

use crate::{
    repositories::{ALPHA, BETA, RepositoriesFixture},
    support::{json as printed, text},
};
use serde_json::{Value, json};
use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
};
use tidemill_core::{api::path, repository::webhook::sign};

const SECRET: &str = "the secret of the webhook";
const COMMIT: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const FILE: &str = ".pipelines/nightly.yml";
const NIGHTLY: &str = "name: nightly\non: { schedule: [\"30 4 1 1 *\", \"45 5 1 1 *\"] }\n\
                       jobs: { a: { image: i, script: [x] } }\n";

/// Sends a request without a token, and returns the status of the reply.
fn status_without_token(fixture: &RepositoriesFixture, line: &str, headers: &str, body: &str) -> u16 {
    let mut stream = TcpStream::connect(fixture.url.trim_start_matches("http://")).unwrap();
    let request = format!(
        "{line} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).unwrap();
    let reply = text(&reply);
    reply.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{reply}"))
}

/// Delivers a push to [`ALPHA`] as GitHub does.
fn deliver_push(fixture: &RepositoriesFixture, secret: &str) -> u16 {
    let body = json!({
        "ref": "refs/heads/main", "before": "b".repeat(40), "after": COMMIT,
        "head_commit": { "id": COMMIT }, "pusher": { "name": "jo" },
        "repository": { "clone_url": ALPHA, "default_branch": "main" },
    })
    .to_string();
    let headers = format!(
        "content-type: application/json\r\nx-github-event: push\r\nx-github-delivery: d-1\r\n\
         x-hub-signature-256: sha256={}\r\n",
        sign(secret.as_bytes(), body.as_bytes())
    );
    status_without_token(fixture, "POST /api/webhook/github", &headers, &body)
}

/// Returns the discoveries of [`ALPHA`], newest first.
fn discoveries(fixture: &RepositoriesFixture) -> Vec<Value> {
    let args = ["status", "--all", "--format", "json", "--repo", ALPHA];
    printed(&fixture.tidemill("nowhere", &args)).as_array().unwrap().clone()
}

#[test]
fn repository_is_public_from_its_flag_on_until_it_is_withdrawn() {
    let fixture = RepositoriesFixture::new();
    let anyone = || status_without_token(&fixture, &format!("GET {}?repo={ALPHA}", path::EXECUTIONS), "", "");
    assert_eq!(anyone(), 401, "not registered");
    for (flags, is_public) in [
        (&[][..], false),
        (&["--public"], true),
        (&[], true),
        (&["--no-public"], false),
        (&[], false),
        (&["--no-public", "--public"], true),
        (&["--public", "--no-public"], false),
    ] {
        let add = [&["repo", "add", ALPHA, "--provider", "gitea"], flags].concat();
        fixture.succeed("nowhere", &add);
        let list = printed(&fixture.tidemill("nowhere", &["repo", "list", "--format", "json"]));
        assert_eq!(list[0]["public"] == true, is_public, "{flags:?}: {list}");
        let shown = fixture.succeed("nowhere", &["repo", "list"]);
        assert_eq!(shown.contains(", public"), is_public, "{flags:?}: {shown}");
        assert_eq!(anyone(), if is_public { 200 } else { 401 }, "{flags:?}");
    }
}

#[test]
fn app_and_notes_are_registered_and_the_key_is_not_shown() {
    let fixture = RepositoriesFixture::new();
    let key = concat!(env!("CARGO_MANIFEST_DIR"), "/../backend/services/tests/fixtures/reports/app-key.pem");
    let add = |flags: &[&str]| {
        fixture.succeed("nowhere", &[&["repo", "add", ALPHA, "--provider", "github"], flags].concat())
    };
    let shown = add(&["--app-id", "12345", "--app-installation", "67890", "--app-key-file", key, "--notes"]);
    assert!(shown.contains(" registered; App 12345 writes check runs\n"), "{shown}");
    let list = fixture.succeed("nowhere", &["repo", "list"]);
    assert!(list.contains(", check runs, notes, "), "{list}");
    let view = printed(&fixture.tidemill("nowhere", &["repo", "list", "--format", "json"]));
    assert_eq!(view[0]["app"], json!({ "app_id": 12345, "installation_id": 67890 }));
    assert!(!view.to_string().contains("PRIVATE KEY"), "{view}");
    add(&["--no-app", "--no-notes"]);
    let list = fixture.succeed("nowhere", &["repo", "list"]);
    assert!(list.contains(", no statuses, ") && !list.contains("notes"), "{list}");
    let incomplete =
        fixture.usage_error("nowhere", &["repo", "add", ALPHA, "--provider", "github", "--app-id", "1"]);
    assert!(incomplete.contains("--app-installation"), "{incomplete}");
}

#[test]
fn deliveries_are_listed_and_redelivered() {
    let fixture = RepositoriesFixture::new();
    let secret = fixture.dir("nowhere").join("secret");
    fs::write(&secret, SECRET).unwrap();
    let add = ["repo", "add", ALPHA, "--provider", "github", "--secret-file", secret.to_str().unwrap()];
    fixture.succeed("nowhere", &add);
    let list = || fixture.succeed("nowhere", &["repo", "deliveries", ALPHA]);
    assert_eq!(list(), "no deliveries within 7 days\n");

    assert_eq!(deliver_push(&fixture, "another secret"), 401);
    assert_eq!(deliver_push(&fixture, SECRET), 202);
    let shown = list();
    assert!(shown.contains("  push: started\n") && !shown.contains("redelivered"), "{shown}");
    assert!(shown.contains("1 without a valid signature, the last at "), "{shown}");
    let json_list =
        || printed(&fixture.tidemill("nowhere", &["repo", "deliveries", ALPHA, "--format", "json"]));
    let before = json_list();
    let id = before["deliveries"][0]["id"].as_str().unwrap();
    assert!(shown.starts_with(id), "{shown}");
    assert_eq!(discoveries(&fixture).len(), 1);

    let redelivered = fixture.succeed("nowhere", &["repo", "deliveries", ALPHA, "--redeliver", id]);
    assert!(redelivered.starts_with("started discovery "), "{redelivered}");
    assert_eq!(discoveries(&fixture).len(), 2);
    let after = json_list();
    assert_eq!(
        (after["deliveries"].as_array().unwrap().len(), &after["deliveries"][0]["redelivery_of"]),
        (2, &json!(id)),
        "{after}"
    );
    assert!(list().contains("  push: started, redelivered\n"), "{}", list());

    let unknown = fixture.tidemill("nowhere", &["repo", "deliveries", ALPHA, "--redeliver", "00"]);
    assert!(!unknown.status.success(), "{unknown:?}");
    assert!(text(&unknown.stderr).contains("by its id in the list of its deliveries"), "{unknown:?}");
    assert_eq!(discoveries(&fixture).len(), 2);
    let unregistered = fixture.tidemill("nowhere", &["repo", "deliveries", BETA]);
    assert!(!unregistered.status.success() && !unregistered.stderr.is_empty(), "{unregistered:?}");
}

/// Records the schedules of [`NIGHTLY`], as a worker does that reads the default branch.
fn record_schedules(fixture: &RepositoriesFixture) {
    let sync = fixture.discover(ALPHA);
    let post = |path: &str, body: Value| fixture.post(&fixture.api, path, &body).unwrap();
    let worker = json!({ "id": uuid::Uuid::now_v7(), "name": "w" });
    let claimed = post(path::JOB_EXECUTE, json!({ "worker": worker, "execution_id": sync.execution_id }));
    let assignment = &claimed["assignment"];
    let (job, lease) = (&assignment["preparation"]["job_id"], &assignment["lease"]["token"]);
    let files = json!([{ "path": FILE, "text": NIGHTLY }]);
    post(path::DISCOVERY_REPORT, json!({ "job_id": job, "lease": lease, "commit": COMMIT, "files": files }));
    post(path::JOB_STATUS, json!({ "job_id": job, "lease": lease, "end": { "exit_code": 0 } }));
}

#[test]
fn schedules_are_listed_and_started_now() {
    let fixture = RepositoriesFixture::new();
    assert_eq!(fixture.succeed("nowhere", &["repo", "schedules"]), "no schedules\n");
    record_schedules(&fixture);
    let shown = fixture.succeed("nowhere", &["repo", "schedules"]);
    for (index, cron) in [(0, "30 4 1 1 *"), (1, "45 5 1 1 *")] {
        let line = format!("git.example.org/team/alpha  {FILE} [{index}]  nightly  `{cron}` (UTC): next ");
        assert!(shown.contains(&line), "{shown}");
    }
    assert!(!shown.contains("last started"), "{shown}");
    assert_eq!(fixture.succeed("nowhere", &["repo", "schedules", BETA]), "no schedules\n");

    let run = |more: &[&str]| {
        let args = [&["repo", "schedules", ALPHA, "--run", FILE, "--format", "json"], more].concat();
        fixture.tidemill("nowhere", &args)
    };
    let started = printed(&run(&["--index", "1"]));
    let id = started["execution_id"].as_str().unwrap();
    assert_eq!(discoveries(&fixture)[0]["id"], id, "a discovery of the file starts");
    let list = printed(&fixture.tidemill("nowhere", &["repo", "schedules", ALPHA, "--format", "json"]));
    let of = |index: usize| &list["schedules"][index];
    assert_eq!((&of(0)["last_execution"], &of(1)["last_execution"]), (&Value::Null, &json!(id)), "{list}");
    assert_eq!(of(1)["next_times"].as_array().unwrap().len(), 3, "its times stay: {list}");
    let shown = fixture.succeed("nowhere", &["repo", "schedules", ALPHA]);
    assert!(shown.contains(&format!("    last started {id}\n")), "{shown}");

    let unknown = run(&["--index", "7"]);
    assert!(!unknown.status.success(), "{unknown:?}");
    assert!(text(&unknown.stderr).contains("has no schedule at position 7"), "{unknown:?}");
    let without_repository = fixture.usage_error("nowhere", &["repo", "schedules", "--run", FILE]);
    assert!(
        without_repository.contains("<URL>") || without_repository.contains("[URL]"),
        "{without_repository}"
    );
    assert_eq!(discoveries(&fixture).len(), 2, "the reading of the schedules, and one start");
}

#[test]
fn pipeline_of_a_branch_is_started_by_its_file() {
    let fixture = RepositoriesFixture::new();
    let unregistered = fixture.tidemill("nowhere", &["repo", "run", BETA, "-f", ".pipelines/ci.yml"]);
    assert_eq!(unregistered.status.code(), Some(2), "{unregistered:?}");
    assert!(text(&unregistered.stderr).contains("repo add"), "{unregistered:?}");
    fixture.succeed("nowhere", &["repo", "add", ALPHA, "--provider", "gitea"]);
    let run = |more: &[&str]| {
        let args = [&["repo", "run", ALPHA, "--file", ".pipelines/ci.yml"], more].concat();
        fixture.tidemill("nowhere", &args)
    };
    let shown = run(&["--branch", "topic", "--input", "level=2", "--input", "kind=a=b"]);
    let shown = text(&shown.stdout);
    assert!(shown.contains("reads .pipelines/ci.yml of topic and starts it"), "{shown}");
    let started = &discoveries(&fixture)[0];
    assert!(
        shown.contains(&format!("tidemill logs {} --follow", started["id"].as_str().unwrap())),
        "{shown}"
    );
    assert_eq!((&started["branch"], &started["trigger"]), (&json!("topic"), &json!("manual")));
    let reply = printed(&run(&["--format", "json"]));
    assert_eq!(
        (&reply["attached"], discoveries(&fixture).len()),
        (&json!(false), 2),
        "a command is a new request"
    );
    for (invalid, expected) in [
        (&["--input", "level"][..], "expected NAME=VALUE"),
        (&["--branch", "--upload-pack=x"], "--upload-pack"),
        (&["--branch=-x"], "branch"),
    ] {
        let rejected = run(invalid);
        assert_eq!(rejected.status.code(), Some(2), "{rejected:?}");
        assert!(text(&rejected.stderr).contains(expected), "{rejected:?}");
    }
    assert_eq!(discoveries(&fixture).len(), 2);
}
