//! A push to a real git repository, told by its hook in a provider's words, through to a finished execution.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod support;
use serde_json::{Value, json};
use std::{
    fmt::Write as _,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::Command,
    sync::{Arc, Mutex},
};
use support::{Backend, Place, text, wait_until};
use tidemill_core::webhook::sign;

const PIPELINE: &str = r#"
name: pushed
on: { push: { branches: [main] } }
stages: [a]
jobs:
  show:
    stage: a
    image: "IMAGE"
    script: ['cat source.txt', 'echo "$TIDEMILL_BRANCH is at $TIDEMILL_COMMIT"']
  docs: { stage: a, image: "IMAGE", if: 'changed("docs/**")', script: ["true"] }
"#;

/// The status and the JSON of a reply.
fn call(server: &str, method: &str, path: &str, headers: &[(&str, String)], body: &[u8]) -> (u16, Value) {
    let rest = server.strip_prefix("http://").unwrap();
    let (host, prefix) =
        rest.split_once('/').map_or((rest, String::new()), |(host, prefix)| (host, format!("/{prefix}")));
    let mut stream = TcpStream::connect(host).unwrap();
    let mut head = format!(
        "{method} {}{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-type: application/json\r\n",
        prefix.trim_end_matches('/')
    );
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    write!(head, "content-length: {}\r\n\r\n", body.len()).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    let status = head.split_whitespace().nth(1).unwrap().parse().unwrap();
    let json = body
        .find('{')
        .zip(body.rfind('}'))
        .map_or(Value::Null, |(from, to)| serde_json::from_str(&body[from..=to]).unwrap());
    (status, json)
}

fn git(place: &Place, words: &[&str]) -> String {
    let identity = ["-c", "user.name=T", "-c", "user.email=t@example.invalid", "-c", "commit.gpgsign=false"];
    let done = Command::new("git").current_dir(place.repo()).args(identity).args(words).output().unwrap();
    assert!(done.status.success(), "{done:?}");
    text(&done.stdout).trim().to_owned()
}

fn a_push_runs_the_pipelines_that_it_starts(on: &Backend) {
    let place = on.place(PIPELINE);
    let deployment = place.deployment.clone().unwrap();
    let server = deployment.server.as_str();
    let url = place.repo().to_str().unwrap().to_owned();
    let bearer = [("authorization", format!("Bearer {}", deployment.token))];
    // A deployment in the cloud tells others once a minute, and from where it runs this machine may be out of reach.
    let provider = matches!(on, Backend::Server).then(Provider::start);
    let mut asked = json!({ "url": url, "provider": "github", "webhook_secret": "a secret of the hook" });
    if let Some(provider) = &provider {
        asked["status_token"] = json!("the-status-token");
        asked["api_url"] = json!(provider.url);
    }
    let (status, known) = call(server, "PUT", "/api/repository", &bearer, asked.to_string().as_bytes());
    assert_eq!(status, 200, "{known:#}");

    let before = git(&place, &["rev-parse", "HEAD"]);
    std::fs::write(place.repo().join("source.txt"), "pushed just now\n").unwrap();
    git(&place, &["commit", "-aqm", "second"]);
    let after = git(&place, &["rev-parse", "HEAD"]);
    // As GitHub writes it (docs.github.com, webhook events and payloads), with what nobody reads left out.
    let push = json!({
        "ref": "refs/heads/main", "before": before, "after": after, "created": false, "deleted": false, "forced": false,
        "repository": {
            "id": 1, "name": "repo", "full_name": "team/repo", "private": false, "default_branch": "main",
            "html_url": url, "clone_url": url, "ssh_url": url
        },
        "pusher": { "name": "someone", "email": "someone@example.invalid" },
        "head_commit": { "id": after, "message": "second" }
    });
    let body = push.to_string();
    let signature = format!("sha256={}", sign(b"a secret of the hook", body.as_bytes()));
    let delivery = format!("{after}-1");
    let headers = |signature: &str| {
        [
            ("x-github-event", "push".to_owned()),
            ("x-github-delivery", delivery.clone()),
            ("x-hub-signature-256", signature.to_owned()),
        ]
    };
    let post =
        |signature: &str| call(server, "POST", "/api/webhook/github", &headers(signature), body.as_bytes());
    let (status, refused) = post(&format!("sha256={}", "0".repeat(64)));
    assert_eq!(status, 401, "{refused:#}");
    let (status, taken) = post(&signature);
    assert!((200..300).contains(&status), "{status} {taken:#}");
    let (status, again) = post(&signature);
    assert!((200..300).contains(&status), "a redelivery is no mistake: {again:#}");

    let view = place.wait_for("the pushed commit's pipeline ends", support::is_over);
    assert_eq!(
        (&view["execution"]["status"], &view["execution"]["commit"]),
        (&"SUCCESS".into(), &after.as_str().into()),
        "{view:#}"
    );
    assert_eq!(view["execution"]["trigger"], "push");
    assert_eq!(view["jobs"].as_array().unwrap().len(), 1, "nothing below docs/ changed: {view:#}");
    let log = place.log("show");
    assert!(log.contains("pushed just now\n") && log.contains(&format!("main is at {after}\n")), "{log}");
    wait_until(|| place.executions().len() == 1).unwrap();
    let Some(provider) = provider else { return };
    let has_ended = || provider.heard().last().is_some_and(|(_, body)| body["state"] == "success");
    wait_until(has_ended).unwrap();
    let heard = provider.heard();
    for (head, body) in &heard {
        assert!(head.starts_with("POST /repos/") && head.contains(&format!("/statuses/{after} ")), "{head}");
        assert!(head.contains("authorization: Bearer the-status-token"), "{head}");
        // The test's pipelines have names of their own.
        assert!(body["context"].as_str().unwrap().starts_with("tidemill/pushed"), "{body}");
    }
    let last = heard.len() - 1;
    assert!(heard[..last].iter().all(|(_, body)| body["state"] == "pending"), "{heard:#?}");
}

/// A git provider's API, which takes commit statuses.
struct Provider {
    url: String,
    heard: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Provider {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let heard: Arc<Mutex<Vec<(String, Value)>>> = Arc::default();
        let all = heard.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let (mut text, mut part) = (String::new(), [0; 4096]);
                let whole = |text: &str| {
                    let (head, body) = text.split_once("\r\n\r\n")?;
                    let length =
                        head.to_lowercase().split_once("content-length: ")?.1.lines().next()?.parse().ok()?;
                    (body.len() >= length).then(|| (head.to_owned(), serde_json::from_str(body).unwrap()))
                };
                let request = loop {
                    if let Some(request) = whole(&text) {
                        break Some(request);
                    }
                    match stream.read(&mut part) {
                        Ok(0) | Err(_) => break None,
                        Ok(read) => text.push_str(std::str::from_utf8(&part[..read]).unwrap()),
                    }
                };
                all.lock().unwrap().extend(request);
                let reply = b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
                drop(stream.write_all(reply));
            }
        });
        Self { url, heard }
    }

    fn heard(&self) -> Vec<(String, Value)> {
        self.heard.lock().unwrap().clone()
    }
}

#[test]
fn a_push_runs_on_a_server() {
    a_push_runs_the_pipelines_that_it_starts(&Backend::Server);
}

#[test]
fn a_push_runs_in_the_cloud() {
    if let Some(cloud) = Backend::cloud() {
        a_push_runs_the_pipelines_that_it_starts(&cloud);
    }
}
