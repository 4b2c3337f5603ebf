//! Git contacts and runs only what is permitted, whatever the repository's address, the resolver and the server return.

use crate::http_git::{HttpGit, ServerOptions};
use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::Command,
    sync::Arc,
};
use tidemill_core::execution::{assignment::Source, upload::UploadId};
use tidemill_core::repository::{AddressPolicy, RepositoryAddress};
use tidemill_worker::source::{
    HostPolicy, Resolver, Revision, SourceError, UploadPlan, materialize, plan_upload, resolve, snapshot,
};

fn git(dir: &Path, args: &[&str]) -> String {
    let identity = ["-c", "user.name=T", "-c", "user.email=t@example.invalid", "-c", "commit.gpgsign=false"];
    let output = Command::new("git").current_dir(dir).args(identity).args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Creates a directory with `mill.git`, which can be served as files; returns it and the commit.
fn repository() -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    git(dir.path(), &["init", "-q", "-b", "main", "work"]);
    fs::write(dir.path().join("work/mill.txt"), "from afar").unwrap();
    git(&dir.path().join("work"), &["add", "-A"]);
    git(&dir.path().join("work"), &["commit", "-q", "-m", "one"]);
    git(dir.path(), &["clone", "-q", "--bare", "work", "mill.git"]);
    git(&dir.path().join("mill.git"), &["update-server-info"]);
    let commit = git(&dir.path().join("work"), &["rev-parse", "HEAD"]);
    (dir, commit)
}

fn of(url: &str, commit: &str, private_host: bool) -> Source {
    let branch = Some("main".into());
    Source::Git { url: url.into(), branch, commit: commit.into(), private_host, has_credential: false }
}

/// Fetches the sources and returns the text of their file, or an error.
fn fetched(source: &Source, cache: &Path, reach: &HostPolicy) -> Result<String, String> {
    let none = |upload: &str| Err(SourceError::new(format!("no {upload}")));
    let tree = materialize(source, cache, reach, &none).map_err(|error| error.to_string())?;
    Ok(fs::read_to_string(tree.unwrap().path.join("mill.txt")).unwrap())
}

/// A resolver that returns the same address for every name.
#[derive(Debug)]
struct FixedResolver(Ipv4Addr);

impl Resolver for FixedResolver {
    fn resolve(&self, _name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(vec![SocketAddr::new(self.0.into(), port)])
    }
}

#[test]
fn registered_host_is_fetched_through_proxy_with_redirects() {
    let (dir, commit) = repository();
    let server = HttpGit::start(dir.path(), |port| ServerOptions {
        moved: vec![("/old.git".into(), format!("http://127.0.0.1:{port}/mill.git"))],
        ..ServerOptions::default()
    });
    for path in ["mill.git", "old.git"] {
        let cache = tempfile::tempdir().unwrap();
        let text = fetched(&of(&server.url(path), &commit, true), cache.path(), &HostPolicy::default());
        assert_eq!(text.as_deref(), Ok("from afar"), "{path}");
    }
    let cache = tempfile::tempdir().unwrap();
    let before = server.request_count();
    let error = fetched(&of(&server.url("mill.git"), &commit, false), cache.path(), &HostPolicy::default())
        .unwrap_err();
    assert!(error.contains("--allow-host"), "{error}");
    assert_eq!(server.request_count(), before, "no request was sent");
    // The operator's list of hosts also permits it.
    let hosts = vec![format!("127.0.0.1:{}", server.port).parse().unwrap()];
    let reach = HostPolicy::new(AddressPolicy { hosts, ..AddressPolicy::default() });
    let text = fetched(&of(&server.url("mill.git"), &commit, false), cache.path(), &reach);
    assert_eq!(text.as_deref(), Ok("from afar"));
}

#[test]
fn redirect_to_private_host_is_rejected_uniformly() {
    let (dir, commit) = repository();
    let inner = HttpGit::start(dir.path(), |_| ServerOptions::default());
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let mut refusals = Vec::new();
    for port in [inner.port, closed] {
        for host in ["127.0.0.1", "localhost"] {
            let outer = HttpGit::start(dir.path(), |_| ServerOptions {
                moved: vec![("/moved.git".into(), format!("http://{host}:{port}/mill.git"))],
                ..ServerOptions::default()
            });
            let cache = tempfile::tempdir().unwrap();
            let error =
                fetched(&of(&outer.url("moved.git"), &commit, true), cache.path(), &HostPolicy::default());
            refusals.push(error.unwrap_err());
            assert!(outer.request_count() > 0);
        }
    }
    refusals.dedup();
    assert!(refusals.len() == 1 && refusals[0].contains("private"), "{refusals:?}");
    assert_eq!(inner.request_count(), 0, "no request was sent");
}

#[test]
fn name_that_resolves_to_a_private_address_is_rejected_on_connect() {
    let (dir, commit) = repository();
    let server = HttpGit::start(dir.path(), |_| ServerOptions::default());
    let reach =
        HostPolicy::with_resolver(AddressPolicy::default(), Arc::new(FixedResolver(Ipv4Addr::LOCALHOST)));
    for url in [
        format!("http://rebound.example.org:{}/mill.git", server.port),
        format!("https://rebound.example.org:{}/mill.git", server.port),
        format!("git://rebound.example.org:{}/mill.git", server.port),
        format!("ssh://git@rebound.example.org:{}/mill.git", server.port),
    ] {
        let cache = tempfile::tempdir().unwrap();
        let error = fetched(&of(&url, &commit, false), cache.path(), &reach).unwrap_err();
        assert!(error.contains("private"), "{url}: {error}");
    }
    assert_eq!(server.request_count(), 0);
    // For a registered repository, the same name is permitted.
    let cache = tempfile::tempdir().unwrap();
    let url = format!("http://rebound.example.org:{}/mill.git", server.port);
    assert_eq!(fetched(&of(&url, &commit, true), cache.path(), &reach).as_deref(), Ok("from afar"));
}

/// Creates a bare repository whose configuration runs `touch` if git reads it.
fn hostile(dir: &Path, marker: &Path) {
    git(dir, &["init", "-q", "--bare", "hostile.git"]);
    let run = format!("touch {}", marker.display());
    for (key, value) in [
        ("core.fsmonitor", run.as_str()),
        ("core.sshCommand", &run),
        ("uploadpack.packObjectsHook", &run),
        ("extensions.partialClone", "origin"),
        ("remote.origin.promisor", "true"),
        ("remote.origin.url", dir.to_str().unwrap()),
        ("remote.origin.uploadpack", &run),
    ] {
        git(&dir.join("hostile.git"), &["config", key, value]);
    }
}

#[test]
fn local_path_is_rejected_and_its_configuration_does_not_run() {
    let dir = tempfile::tempdir().unwrap();
    let marker = dir.path().join("ran");
    hostile(dir.path(), &marker);
    let path = dir.path().join("hostile.git");
    fs::create_dir_all(dir.path().join("x:/git.example.org/team")).unwrap();
    fs::rename(&path, dir.path().join("x:/git.example.org/team/app")).unwrap();
    let path = dir.path().display().to_string();
    for url in [
        format!("{path}/x://git.example.org/team/app"),
        format!("file://{path}/x:/git.example.org/team/app"),
        format!("{path}/x:/git.example.org/team/app"),
        "ext::touch ran".to_owned(),
        "fd::1".to_owned(),
        format!("--upload-pack=touch {}", marker.display()),
    ] {
        for private in [false, true] {
            let cache = tempfile::tempdir().unwrap();
            let error = fetched(
                &of(&url, &"12".repeat(20), private),
                cache.path(),
                &HostPolicy::new(AddressPolicy::unrestricted()),
            );
            assert!(error.unwrap_err().contains("address"), "{url}");
        }
    }
    let unknown = Source::Snapshot {
        snapshot: "a".repeat(64),
        repository: path,
        branch: None,
        commit: "12".repeat(20),
        tree: None,
    };
    let cache = tempfile::tempdir().unwrap();
    let error = fetched(&unknown, cache.path(), &HostPolicy::default()).unwrap_err();
    assert!(error.contains("no such snapshot"), "{error}");
    assert!(!marker.exists());
}

#[test]
fn local_repository_is_passed_to_workers_of_the_same_data_directory() {
    let (dir, commit) = repository();
    let (cache, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let reach = HostPolicy::default();
    let bare = dir.path().join("mill.git");
    for text in [bare.display().to_string(), format!("file://{}", bare.display())] {
        let resolved =
            resolve(&text, Revision { branch: Some("main"), ..Revision::default() }, (cache.path(), &reach))
                .unwrap();
        assert_eq!((resolved.commit.as_str(), resolved.branch.as_deref()), (commit.as_str(), Some("main")));
        assert!(matches!(&resolved.source, Source::Snapshot { .. }), "{:?}", resolved.source);
        assert!(!format!("{:?}", resolved.source).contains("/cache"), "the source contains no path");
        assert_eq!(fetched(&resolved.source, cache.path(), &reach).as_deref(), Ok("from afar"));
        assert!(fetched(&resolved.source, other.path(), &reach).is_err(), "another data directory");
        let short = resolve(
            &text,
            Revision { commit: Some(&commit[..9]), ..Revision::default() },
            (cache.path(), &reach),
        )
        .unwrap();
        assert_eq!(short.commit, commit);
    }
    assert!(resolve("/nowhere/at/all", Revision::default(), (cache.path(), &reach)).is_err());
}

#[test]
fn upload_writes_only_into_its_own_repository() {
    let (dir, commit) = repository();
    let server = HttpGit::start(dir.path(), |_| ServerOptions::default());
    let (sender, worker) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let work = dir.path().join("work");
    git(&work, &["remote", "add", "origin", &server.url("mill.git")]);
    git(&work, &["update-ref", "refs/remotes/origin/main", &commit]);
    fs::write(work.join("mill.txt"), "mine").unwrap();
    let UploadPlan::Upload(pack) = plan_upload(&snapshot(&work, sender.path()).unwrap(), false).unwrap()
    else {
        panic!("there is something to upload")
    };
    let written = pack.write().unwrap();
    let sent = pack.source_for(&written.name);
    let Source::Uploaded { upload: name, url: Some(url), branch, base, commit, tree, .. } = sent else {
        panic!("{sent:?}")
    };
    assert!(name.parse::<UploadId>().unwrap().belongs_to(&url));
    assert!(RepositoryAddress::parse(&url).is_ok());
    let source = Source::Uploaded {
        upload: name,
        url: Some(url),
        private_host: true,
        has_credential: false,
        branch,
        base,
        commit,
        tree,
    };
    let tree_of_upload = materialize(&source, worker.path(), &HostPolicy::default(), &|_| {
        Ok(written.file.try_clone().unwrap())
    })
    .unwrap()
    .unwrap();
    assert_eq!(fs::read_to_string(tree_of_upload.path.join("mill.txt")).unwrap(), "mine");
    // The mirror contains only objects of the server, not the uploaded tree.
    let entries =
        |home: &str| fs::read_dir(worker.path().join(home)).unwrap().map(|entry| entry.unwrap().path());
    let repos = entries("repos").chain(entries("uploads"));
    let repos: Vec<_> = repos.filter(|path| path.extension().is_some_and(|suffix| suffix == "git")).collect();
    let is_mirror = |repo: &&std::path::PathBuf| !repo.join("objects/info/alternates").exists();
    let mirrors: Vec<_> = repos.iter().filter(is_mirror).collect();
    assert_eq!((repos.len(), mirrors.len()), (2, 1));
    let Source::Uploaded { tree: Some(tree), .. } = source else { panic!() };
    let has = Command::new("git")
        .arg("--git-dir")
        .arg(mirrors[0])
        .args(["cat-file", "-e", &tree])
        .output()
        .unwrap();
    assert!(!has.status.success(), "the mirror contains uploaded objects");
}

/// For each valid address of the fuzzer's corpus, git contacts the host and port of the address.
#[test]
fn git_contacts_the_host_and_port_of_the_address() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/repository_address");
    let dir = tempfile::tempdir().unwrap();
    let arguments = dir.path().join("said");
    // Git starts this program instead of a connection, with the host and port as arguments.
    let program = dir.path().join("say");
    fs::write(&program, format!("#!/bin/sh\necho \"$@\" > {}\nexit 1\n", arguments.display())).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&program, mode).unwrap();
    let mut tried = 0;
    for input in fs::read_dir(corpus).unwrap() {
        let text = fs::read_to_string(input.unwrap().path()).unwrap_or_default();
        let Ok(address) = RepositoryAddress::parse(&text) else { continue };
        let proxy = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let _ = fs::remove_file(&arguments);
        let proxied = format!("http://{}", proxy.local_addr().unwrap());
        let request_line = std::thread::spawn(move || {
            let (client, _) = proxy.accept().unwrap();
            let mut line = String::new();
            io::BufRead::read_line(&mut io::BufReader::new(client), &mut line).unwrap();
            line
        });
        let url = address.to_git_url();
        let is_http = url.starts_with("http");
        let mut command = Command::new("git");
        command
            .args(["-c", &format!("core.gitProxy={}", program.display()), "ls-remote", "--", &url])
            .current_dir(dir.path())
            .env("GIT_SSH", &program)
            .env("GIT_SSH_VARIANT", "ssh")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env_remove("GIT_SSH_COMMAND")
            .envs([("http_proxy", &proxied), ("https_proxy", &proxied)])
            .env("no_proxy", "");
        assert!(!command.output().unwrap().status.success(), "{url}");
        let (host, port) = (address.host().as_str(), address.port());
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if is_http {
            let line = request_line.join().unwrap();
            let contacted = if url.starts_with("https") {
                format!("CONNECT {host}:{port} ")
            } else if port == 80 {
                format!("GET http://{host}/")
            } else {
                format!("GET http://{host}:{port}/")
            };
            assert!(line.starts_with(&contacted), "{url}: {line}");
        } else {
            let arguments = fs::read_to_string(&arguments).unwrap_or_default();
            let words: Vec<&str> = arguments.split_whitespace().collect();
            if address.scheme() == tidemill_core::repository::Scheme::Git {
                assert_eq!(words, [bare, &port.to_string()], "{url}");
            } else {
                let contacted = words.iter().find(|word| word.rsplit('@').next() == Some(bare));
                assert!(contacted.is_some(), "{url}: {arguments}");
                assert_eq!(words.contains(&format!("{port}").as_str()), port != 22, "{url}: {arguments}");
            }
        }
        tried += 1;
    }
    assert!(tried >= 14, "{tried}");
}
