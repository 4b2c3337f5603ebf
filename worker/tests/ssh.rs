//! Repositories over SSH, from a real server: clones by the worker with the repository's key, and pushes by jobs.

use std::{
    fs,
    net::{IpAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tidemill_core::execution::assignment::{CheckoutRefs, Preparation};
use tidemill_core::repository::{
    AddressPolicy,
    credential::{RepositoryCredential, SourceCredential},
};
use tidemill_worker::{
    source::{HostPolicy, SourceCache, SourceSettings},
    workspace::FileOwner,
};

/// How long the server may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(30);

fn run(program: &str, args: &[&str]) -> String {
    let done = Command::new(program).args(args).output().unwrap();
    assert!(done.status.success(), "{program} {args:?}: {done:?}");
    String::from_utf8(done.stdout).unwrap()
}

/// Dropbear, for the user of the tests, whose home is a directory of the server. It ends with this.
pub struct SshServer {
    server: Child,
    directory: TempDir,
    address: String,
    host_key: String,
}

impl SshServer {
    /// Starts it at a free port of an address of this machine.
    pub fn start(ip: IpAddr) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
        let keys = directory.path().join("home/.ssh");
        fs::create_dir_all(&keys).unwrap();
        for private in [directory.path().join("home"), keys.clone()] {
            fs::set_permissions(private, fs::Permissions::from_mode(0o700)).unwrap();
        }
        run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", &path("key")]);
        fs::copy(path("key.pub"), keys.join("authorized_keys")).unwrap();
        let shown = run("dropbearkey", &["-t", "ed25519", "-f", &path("host-key")]);
        let host_key = shown.lines().find(|line| line.starts_with("ssh-ed25519 ")).unwrap();
        let host_key = host_key.split(' ').take(2).collect::<Vec<_>>().join(" ");
        // The port that is free may be taken before the server has it.
        let (server, address) = (0..5).find_map(|_| Self::try_start(ip, &directory)).unwrap();
        Self { server, directory, address, host_key }
    }

    fn try_start(ip: IpAddr, directory: &TempDir) -> Option<(Child, String)> {
        let address = TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap().to_string();
        // The home of the user is another one in the server's own mount namespace.
        let script = "mount --bind \"$1/home\" \"$(getent passwd \"$(id -u)\" | cut -d : -f 6)\" && \
                      exec dropbear -F -E -s -r \"$1/host-key\" -P \"$1/pid\" -p \"$2\"";
        let mut server = Command::new("unshare")
            .args(["--mount", "sh", "-c", script, "sh"])
            .arg(directory.path())
            .arg(&address)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let started = Instant::now();
        while started.elapsed() < START_TIMEOUT && server.try_wait().unwrap().is_none() {
            if TcpStream::connect(&address).is_ok() {
                return Some((server, address));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = server.kill();
        let _ = server.wait();
        None
    }

    /// The directory in which repositories may be.
    pub fn root(&self) -> &Path {
        self.directory.path()
    }

    /// The address of the repository at a path.
    pub fn url(&self, path: &Path) -> String {
        format!("ssh://root@{}{}", self.address, path.display())
    }

    /// The key that the server accepts, and the server's own.
    pub fn credential(&self) -> RepositoryCredential {
        let known_hosts = self.known_hosts(&self.host_key);
        RepositoryCredential::SshKey {
            key: fs::read_to_string(self.root().join("key")).unwrap(),
            known_hosts,
        }
    }

    fn known_hosts(&self, key: &str) -> String {
        let (ip, port) = self.address.rsplit_once(':').unwrap();
        format!("[{ip}]:{port} {key}\n")
    }
}

impl Drop for SshServer {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Creates the bare repository `NAME.git` in `root` from commands in a working tree.
pub fn bare_repository(root: &Path, name: &str, script: &str) -> PathBuf {
    let work = root.join(format!("{name}.work"));
    let git = "git -c protocol.file.allow=always";
    let all = format!(
        "{git} init -q -b main \"$1\" && cd \"$1\" && {script} && git add -A && git commit -q --allow-empty -m first && \
         git clone -q --bare . \"$2\""
    );
    let bare = root.join(format!("{name}.git"));
    let done = Command::new("sh")
        .args(["-ec", &all, "sh"])
        .args([&work, &bare])
        .envs([("GIT_AUTHOR_NAME", "a"), ("GIT_AUTHOR_EMAIL", "a@b"), ("GIT_COMMITTER_NAME", "a")])
        .envs([("GIT_COMMITTER_EMAIL", "a@b"), ("GIT_CONFIG_GLOBAL", "/dev/null")])
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    bare
}

fn job(url: &str, commit: &str, credential: Option<RepositoryCredential>) -> Preparation {
    let source = serde_json::json!({ "kind": "git", "url": url, "branch": "main", "commit": commit,
        "private_host": true, "has_credential": credential.is_some() });
    let id = || uuid::Uuid::now_v7().to_string();
    let job = serde_json::json!({ "job_id": id(), "execution_id": id(), "image": "i", "source": source });
    let credential =
        credential.map(|credential| SourceCredential { url: url.into(), credential, may_push: false }.into());
    Preparation { credential, ..serde_json::from_value(job).unwrap() }
}

#[tokio::test(flavor = "multi_thread")]
async fn private_repository_and_its_submodule_are_cloned_with_the_key_from_the_known_host_only() {
    let server = SshServer::start(IpAddr::from([127, 0, 0, 1]));
    let lib = bare_repository(server.root(), "lib", "echo lib >lib.txt");
    let add = format!(
        "echo app >app.txt && git -c protocol.file.allow=always submodule add -q {} lib && \
         git config -f .gitmodules submodule.lib.url ../lib.git",
        lib.display()
    );
    let app = bare_repository(server.root(), "app", &add);
    let commit = run("git", &["-C", &app.to_string_lossy(), "rev-parse", "main"]).trim().to_owned();
    let url = server.url(&app);
    let cache = tempfile::tempdir().unwrap();
    let sources = SourceCache::new(
        cache.path().to_owned(),
        HostPolicy::new(AddressPolicy::default()),
        SourceSettings::default(),
    );
    let RepositoryCredential::SshKey { key, known_hosts } = server.credential() else { unreachable!() };
    let other = tempfile::tempdir().unwrap();
    let other = other.path().join("key").to_string_lossy().into_owned();
    run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", &other]);
    let other_key = fs::read_to_string(&other).unwrap();
    let other_host = server.known_hosts(&fs::read_to_string(format!("{other}.pub")).unwrap());
    for (case, key, known_hosts) in [
        ("a key that the server does not know", &other_key, &known_hosts),
        ("a host with another key", &key, &other_host),
        ("a host that is not known", &key, &String::new()),
    ] {
        let credential = RepositoryCredential::SshKey { key: key.clone(), known_hosts: known_hosts.clone() };
        let failed = sources.checkout(&job(&url, &commit, Some(credential)), FileOwner::Worker).await;
        let error = failed.unwrap_err().to_string();
        assert!(!error.contains("PRIVATE KEY"), "{case}: {error}");
    }
    sources.checkout(&job(&url, &commit, None), FileOwner::Worker).await.unwrap_err();

    let job = job(&url, &commit, Some(server.credential()));
    let tree = sources.checkout(&job, FileOwner::Worker).await.unwrap().unwrap().path.clone();
    for (path, text) in [("app.txt", "app\n"), ("lib/lib.txt", "lib\n")] {
        assert_eq!(fs::read_to_string(tree.join(path)).unwrap(), text, "{path}");
    }
    let line = key.lines().nth(1).unwrap();
    let found = Command::new("grep").args(["-rlaF", line]).arg(cache.path()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "", "the key is stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn job_of_a_pull_request_has_the_branch_that_it_is_for_and_the_default_branch() {
    let server = SshServer::start(IpAddr::from([127, 0, 0, 1]));
    let branches = "commit() { echo x >$1 && git add -A && git commit -q -m $1; } && commit first && \
                    git checkout -q -b unrelated && commit unrelated && \
                    git checkout -q -b stable main && commit stable && \
                    git checkout -q -b topic stable && commit topic && git checkout -q main";
    let bare = bare_repository(server.root(), "app", branches);
    let git = |args: &[&str]| run("git", &[&["-C", &*bare.to_string_lossy()], args].concat());
    let commit = git(&["rev-parse", "topic"]).trim().to_owned();
    let cache = tempfile::tempdir().unwrap();
    let sources = SourceCache::new(
        cache.path().to_owned(),
        HostPolicy::new(AddressPolicy::default()),
        SourceSettings::default(),
    );
    // A target branch that was removed meanwhile is no reason to fail, or to lack the default branch.
    for (target, remote_branches, changed) in
        [("stable", "origin/main origin/stable", "topic\n"), ("gone", "origin/main", "stable\ntopic\n")]
    {
        let mut job = job(&server.url(&bare), &commit, Some(server.credential()));
        job.refs = CheckoutRefs {
            default_branch: Some("main".to_owned()),
            target_branch: Some(target.to_owned()),
            ..CheckoutRefs::default()
        };
        let tree = sources.checkout(&job, FileOwner::Worker).await.unwrap().unwrap();
        let git = |args: &[&str]| run("git", &[&["-C", &*tree.path.to_string_lossy()], args].concat());
        let names = git(&["for-each-ref", "--format=%(refname:lstrip=2)", "refs/remotes/origin"]);
        for name in remote_branches.split(' ') {
            assert!(names.lines().any(|line| line == name), "{target}: {name} is not in {names}");
        }
        assert!(!names.contains("unrelated"), "{names}");
        let base = remote_branches.rsplit(' ').next().unwrap();
        assert_eq!(git(&["diff", "--name-only", &format!("{base}...HEAD")]), changed);
    }
}
