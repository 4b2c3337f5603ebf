//! Private repositories: the credential that comes with a job, for git, submodules and Git LFS, over a real HTTP server.

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
    time::Duration,
};
use tidemill_core::execution::{assignment::Preparation, discovery::Discovery};
use tidemill_core::repository::{
    AddressPolicy,
    credential::{RepositoryCredential, SourceCredential},
};
use tidemill_worker::source::{HostPolicy, Limits, SourceCache, SourceSettings, Tree};
use tidemill_worker::workspace::FileOwner;

const TOKEN: &str = "token-of-the-test";

fn git(dir: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(dir)
        .args(["-c", "user.name=T", "-c", "user.email=t@example.invalid", "-c", "protocol.file.allow=always"])
        .args(["-c", "filter.lfs.clean=cat", "-c", "filter.lfs.smudge=cat"])
        .args(args)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Creates `NAME.git` in `root`, served as files, from a working tree with `files`; returns its commit.
fn repository(root: &Path, name: &str, files: &[(&str, &[u8])], modules: &[(&str, &str)]) -> String {
    let work = root.join(format!("{name}.work"));
    git(root, &["init", "-q", "-b", "main", &format!("{name}.work")]);
    for (path, content) in files {
        fs::write(work.join(path), content).unwrap();
    }
    for (path, url) in modules {
        git(&work, &["submodule", "add", "-q", &root.join(format!("{path}.git")).to_string_lossy(), path]);
        git(&work, &["config", "-f", ".gitmodules", &format!("submodule.{path}.url"), url]);
    }
    git(&work, &["add", "-A"]);
    git(&work, &["commit", "-q", "-m", "one"]);
    git(root, &["clone", "-q", "--bare", &format!("{name}.work"), &format!("{name}.git")]);
    git(&root.join(format!("{name}.git")), &["update-server-info"]);
    git(&work, &["rev-parse", "HEAD"])
}

/// How the server answers a download of Git LFS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lfs {
    Content,
    Redirect,
    OtherBytes,
    Short,
    Empty,
    Endless,
    Silent,
    Missing,
    UnknownObject,
    NoAction,
    NoJson,
    HugeReply,
    Forbidden,
}

/// A server of repositories and of Git LFS, all of which require the token.
struct Host {
    root: PathBuf,
    content: Vec<u8>,
    lfs: Mutex<Lfs>,
    requests: Mutex<Vec<String>>,
}

impl Host {
    /// Starts the server; returns it and its port.
    async fn start(root: &Path, content: &[u8]) -> (Arc<Self>, u16) {
        let host = Arc::new(Self {
            root: root.to_owned(),
            content: content.to_owned(),
            lfs: Mutex::new(Lfs::Content),
            requests: Mutex::default(),
        });
        let router = Router::new().fallback(answer).with_state(host.clone());
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move { axum::serve(listener, router).await });
        (host, port)
    }
}

async fn answer(
    State(host): State<Arc<Host>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let path = uri.path().to_owned();
    let authorization = headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned());
    host.requests
        .lock()
        .unwrap()
        .push(format!("{method} {path} {}", authorization.as_deref().unwrap_or("-")));
    let lfs = *host.lfs.lock().unwrap();
    if path == "/elsewhere" {
        return host.content.clone().into_response();
    }
    if authorization != Some(format!("Basic {}", STANDARD.encode(format!("ci:{TOKEN}")))) {
        let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"git\"")];
        return (StatusCode::UNAUTHORIZED, challenge, "").into_response();
    }
    let port = headers[header::HOST].to_str().unwrap().rsplit_once(':').unwrap().1.to_owned();
    if path.ends_with("/info/lfs/objects/batch") {
        let request: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(request["operation"], "download");
        let object = &request["objects"][0];
        let href = format!("http://127.0.0.1:{port}/lfs/{}", object["oid"].as_str().unwrap());
        let mut reply = json!({ "oid": object["oid"], "size": object["size"] });
        match lfs {
            Lfs::UnknownObject => reply["error"] = json!({ "code": 404, "message": "object is gone" }),
            Lfs::NoAction => {}
            _ => reply["actions"] = json!({ "download": { "href": href } }),
        }
        return match lfs {
            Lfs::NoJson => "<html>".into_response(),
            Lfs::HugeReply => vec![b' '; 5 << 20].into_response(),
            Lfs::Forbidden => StatusCode::FORBIDDEN.into_response(),
            _ => json!({ "transfer": "basic", "objects": [reply] }).to_string().into_response(),
        };
    }
    if path.starts_with("/lfs/") {
        let endless = || {
            futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 4096])))
        };
        return match lfs {
            Lfs::Redirect => {
                // Another origin, as `localhost` is not `127.0.0.1`.
                let target = format!("http://localhost:{port}/elsewhere");
                (StatusCode::FOUND, [(header::LOCATION, target)]).into_response()
            }
            Lfs::OtherBytes => vec![b'?'; host.content.len()].into_response(),
            Lfs::Short => host.content[1..].to_vec().into_response(),
            Lfs::Empty => "".into_response(),
            Lfs::Endless => Body::from_stream(endless()).into_response(),
            Lfs::Silent => {
                Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>())
                    .into_response()
            }
            Lfs::Missing => StatusCode::NOT_FOUND.into_response(),
            _ => host.content.clone().into_response(),
        };
    }
    match fs::read(host.root.join(path.trim_start_matches('/'))) {
        Ok(bytes) => bytes.into_response(),
        Err(_) => StatusCode::NOT_FOUND.into_response(),
    }
}

fn job(url: &str, commit: &str, credential: Option<SourceCredential>) -> Preparation {
    let source = json!({ "kind": "git", "url": url, "branch": "main", "commit": commit, "private_host": true,
        "has_credential": credential.is_some() });
    let id = || uuid::Uuid::now_v7().to_string();
    let job = json!({ "job_id": id(), "execution_id": id(), "image": "i", "source": source });
    Preparation { credential: credential.map(Arc::new), ..serde_json::from_value(job).unwrap() }
}

fn token_for(url: &str, token: &str) -> SourceCredential {
    let credential = RepositoryCredential::Token { user: "ci".into(), token: token.into() };
    SourceCredential { url: url.into(), credential, may_push: false }
}

fn sources(cache: &Path) -> SourceCache {
    sources_within(cache, AddressPolicy::default())
}

fn sources_within(cache: &Path, policy: AddressPolicy) -> SourceCache {
    let limits = Limits { silence: Duration::from_secs(2), ..Limits::default() };
    let settings = SourceSettings { limits, ..SourceSettings::default() };
    SourceCache::new(cache.to_owned(), HostPolicy::new(policy), settings)
}

async fn checkout(sources: &SourceCache, job: &Preparation) -> Result<Tree, String> {
    let tree = sources.checkout(job, FileOwner::Worker).await;
    tree.map(|tree| tree.unwrap()).map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn private_repository_and_its_submodules_are_fetched_with_the_credential_for_its_own_jobs_only() {
    let root = tempfile::tempdir().unwrap();
    repository(root.path(), "inner", &[("inner.txt", b"inner")], &[]);
    repository(root.path(), "lib", &[("lib.txt", b"lib")], &[("inner", "../inner.git")]);
    let commit = repository(root.path(), "app", &[("app.txt", b"app")], &[("lib", "../lib.git")]);
    let (host, port) = Host::start(root.path(), b"").await;
    let url = format!("http://127.0.0.1:{port}/app.git");
    let cache = tempfile::tempdir().unwrap();
    let sources = sources(cache.path());
    for (case, credential) in [
        ("none", None),
        ("wrong", Some(token_for(&url, "another-token"))),
        ("of another host", Some(token_for(&url.replace("127.0.0.1", "localhost"), TOKEN))),
        ("of another protocol", Some(token_for(&url.replace("http:", "https:"), TOKEN))),
    ] {
        let error = checkout(&sources, &job(&url, &commit, credential)).await.unwrap_err();
        assert!(!error.contains(TOKEN), "{case}: {error}");
    }
    let tree =
        checkout(&sources, &job(&url, &commit, Some(token_for(&url, TOKEN)))).await.unwrap().path.clone();
    for (path, text) in [("app.txt", "app"), ("lib/lib.txt", "lib"), ("lib/inner/inner.txt", "inner")] {
        assert_eq!(fs::read_to_string(tree.join(path)).unwrap(), text, "{path}");
    }
    assert_eq!(git(&tree, &["status", "--porcelain"]), "");
    assert_eq!(git(&tree, &["config", "remote.origin.url"]), url);
    let found = Command::new("grep").args(["-rlaF", TOKEN]).arg(cache.path()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "", "the token is stored");

    // The same commit is in the cache, and a job without the credential finds nothing of it.
    checkout(&sources, &job(&url, &commit, None)).await.unwrap_err();
    let other = format!("http://127.0.0.1:{port}/lib.git");
    let lib = git(&root.path().join("lib.work"), &["rev-parse", "HEAD"]);
    checkout(&sources, &job(&other, &lib, None)).await.unwrap_err();

    let asked = Discovery::default();
    sources.discover(&job(&url, &commit, Some(token_for(&url, TOKEN))), &asked).await.unwrap();
    sources.discover(&job(&url, &commit, None), &asked).await.unwrap_err();
    assert!(!host.requests.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn lfs_content_is_downloaded_and_wrong_content_is_an_error() {
    let content: Vec<u8> = (0..300_000_u32).map(|number| (number % 251) as u8).collect();
    let hash = data_encoding::HEXLOWER.encode(&Sha256::digest(&content));
    let pointer =
        format!("version https://git-lfs.github.com/spec/v1\noid sha256:{hash}\nsize {}\n", content.len());
    let attributes: (&str, &[u8]) = (".gitattributes", b"*.bin filter=lfs diff=lfs merge=lfs -text\n");
    let root = tempfile::tempdir().unwrap();
    repository(root.path(), "lib", &[attributes, ("lib.bin", pointer.as_bytes())], &[]);
    let files = [attributes, ("a.bin", pointer.as_bytes()), ("two words.bin", pointer.as_bytes())];
    let commit = repository(root.path(), "app", &files, &[("lib", "../lib.git")]);
    let (host, port) = Host::start(root.path(), &content).await;
    let url = format!("http://127.0.0.1:{port}/app.git");
    let failures = [
        (Lfs::OtherBytes, "other bytes"),
        (Lfs::Short, "other bytes"),
        (Lfs::Empty, "other bytes"),
        (Lfs::Endless, "other bytes"),
        (Lfs::Silent, "sent nothing"),
        (Lfs::Missing, "404"),
        (Lfs::UnknownObject, "object is gone"),
        (Lfs::NoAction, "no download"),
        (Lfs::NoJson, "unreadable"),
        (Lfs::HugeReply, "more than"),
        (Lfs::Forbidden, "403"),
    ];
    let cache = tempfile::tempdir().unwrap();
    let sources = sources(cache.path());
    let job = || job(&url, &commit, Some(token_for(&url, TOKEN)));
    for (kind, expected) in failures {
        *host.lfs.lock().unwrap() = kind;
        let error = checkout(&sources, &job()).await.unwrap_err();
        assert!(error.contains(expected) && error.contains("a.bin"), "{kind:?}: {error}");
        let trees = fs::read_dir(cache.path().join("trees")).unwrap().flatten();
        let left: Vec<_> = trees.filter(|entry| entry.path().is_dir()).collect();
        assert!(left.is_empty(), "{kind:?}: {left:?}");
    }
    for kind in [Lfs::Redirect, Lfs::Content] {
        *host.lfs.lock().unwrap() = kind;
        let cache = tempfile::tempdir().unwrap();
        // The server redirects to this host, which has a private address.
        let hosts = vec![format!("localhost:{port}").parse().unwrap()];
        let sources = sources_within(cache.path(), AddressPolicy { hosts, ..AddressPolicy::default() });
        let tree = checkout(&sources, &job()).await.unwrap().path.clone();
        for path in ["a.bin", "two words.bin", "lib/lib.bin"] {
            assert!(fs::read(tree.join(path)).unwrap() == content, "{kind:?}: {path}");
        }
        let lfs = [
            "-c",
            "filter.lfs.required=false",
            "-c",
            &format!("filter.lfs.clean=printf '{}'", pointer.replace('\n', "\\n")),
        ];
        assert_eq!(git(&tree, &[&lfs[..], &["status", "--porcelain"]].concat()), "", "{kind:?}");
    }
    let requests = host.requests.lock().unwrap().clone();
    let elsewhere: Vec<_> = requests.iter().filter(|line| line.contains("/elsewhere")).collect();
    assert!(!elsewhere.is_empty() && elsewhere.iter().all(|line| line.ends_with(" -")), "{elsewhere:?}");
}
