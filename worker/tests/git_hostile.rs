//! The worker runs no program that a repository configures, whether it is read in place or fetched.

use crate::support::git_server::{GitServer, job_with, output, source};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use tidemill_core::execution::{assignment::Source, discovery::Discovery};
use tidemill_core::repository::AddressPolicy;
use tidemill_worker::source::{HostPolicy, Revision, SourceCache, SourceSettings, resolve};

/// Sets every setting for which git runs a program, in the repository at `git_dir`, to a program that creates a file. Returns
/// the path of that file.
fn arm(git_dir: &Path, directory: &Path) -> PathBuf {
    let mark = directory.join("something-ran");
    let program = directory.join("program");
    let exec_path = output(git_dir, &["--exec-path"]);
    // The program does what it replaces, so that git does not stop before it runs the others.
    let script = format!(
        "#!/bin/sh\necho \"$0 $*\" >> {}\ncase \"$*\" in *upload-pack*) shift; exec {exec_path}/git-upload-pack \"$@\";; esac\ncat\n",
        mark.display()
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let program = program.display();
    let hooks = directory.join("hooks");
    fs::create_dir_all(&hooks).unwrap();
    for directory in [hooks.clone(), git_dir.join("hooks")] {
        fs::create_dir_all(&directory).unwrap();
        for hook in [
            "post-checkout",
            "post-index-change",
            "reference-transaction",
            "pre-auto-gc",
            "fsmonitor-watchman",
            "post-merge",
            "pre-receive",
            "post-update",
            "proc-receive",
            "query-watchman",
        ] {
            let hook = directory.join(hook);
            fs::write(&hook, format!("#!/bin/sh\necho hook {} >> {}\n", hook.display(), mark.display()))
                .unwrap();
            fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }
    let config = format!(
        r#"
[core]
    fsmonitor = {program}
    hooksPath = {hooks}
    sshCommand = {program}
    askPass = {program}
    pager = {program}
    editor = {program}
    gitProxy = {program}
    alternateRefsCommand = {program}
    attributesFile = {git_dir}/info/attributes
[extensions]
    partialClone = evil
[remote "evil"]
    url = file://{git_dir}
    promisor = true
    uploadpack = {program} upload-pack
    receivepack = {program}
[remote "origin"]
    url = ext::{program}
    uploadpack = {program} upload-pack
[uploadpack]
    packObjectsHook = {program}
    allowAnySHA1InWant = true
[protocol]
    allow = always
[credential]
    helper = {program}
[filter "evil"]
    clean = {program}
    smudge = {program}
    process = {program}
    required = true
[diff "evil"]
    command = {program}
    textconv = {program}
[merge "evil"]
    driver = {program}
[diff]
    external = {program}
[gpg]
    program = {program}
[alias]
    fetch = !{program}
    ls-tree = !{program}
[trace2]
    eventTarget = {mark}
"#,
        hooks = hooks.display(),
        git_dir = git_dir.display(),
        mark = mark.display(),
    );
    let file = git_dir.join("config");
    let before = fs::read_to_string(&file)
        .unwrap()
        .replace("repositoryformatversion = 0", "repositoryformatversion = 1");
    fs::write(&file, before + &config).unwrap();
    fs::create_dir_all(git_dir.join("info")).unwrap();
    fs::write(git_dir.join("info/attributes"), "* filter=evil diff=evil merge=evil\n").unwrap();
    mark
}

fn unrestricted() -> HostPolicy {
    HostPolicy::new(AddressPolicy::unrestricted())
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_repository_runs_nothing() {
    let server = GitServer::start();
    let directory = tempfile::tempdir().unwrap();
    let work = server.dir.path().join("work");
    let before = output(&work, &["rev-parse", "HEAD"]);
    fs::write(work.join(".gitattributes"), "* filter=evil diff=evil merge=evil\n").unwrap();
    fs::write(work.join(".gitmodules"), "[submodule \"x\"]\n\tpath = x\n\turl = ../x\n\tupdate = none\n")
        .unwrap();
    fs::create_dir_all(work.join(".pipelines")).unwrap();
    fs::write(work.join(".pipelines/one.yml"), "name: one\njobs: { j: { image: i, script: x } }\n").unwrap();
    let commit = server.commit("armed");
    let bare = server.dir.path().join("mill.git");
    let mark = arm(&bare, directory.path());
    let missing = "12".repeat(20);
    let url = &server.url;
    {
        let cache = tempfile::tempdir().unwrap();
        let sources = SourceCache::new(cache.path().to_owned(), unrestricted(), SourceSettings::default());
        let request = Discovery {
            before: Some(before.clone()),
            fetch_ref: Some("refs/heads/main".into()),
            ..Discovery::default()
        };
        let result = sources.discover(&job_with(&source(url, &commit)), &request).await.unwrap();
        assert_eq!((result.files.len(), result.changed_paths.unwrap().len()), (1, 4), "{url}");
        let tree = sources.tree(&source(url, &commit)).await.unwrap().unwrap();
        assert_eq!(fs::read_to_string(tree.path.join("mill.txt")).unwrap(), "armed", "{url}");
        // Missing objects are not fetched from the remote that the repository configures.
        assert!(sources.tree(&source(url, &missing)).await.is_err(), "{url}");
        assert!(sources.discover(&job_with(&source(url, &missing)), &request).await.is_err(), "{url}");
        let at = Discovery { before: Some(missing.clone()), ..Discovery::default() };
        assert_eq!(
            sources.discover(&job_with(&source(url, &commit)), &at).await.unwrap().changed_paths,
            None,
            "{url}"
        );
        resolve(
            url,
            Revision { branch: Some("main"), ..Revision::default() },
            (cache.path(), &unrestricted()),
        )
        .unwrap();
        assert!(!mark.exists(), "{url}: {}", fs::read_to_string(&mark).unwrap_or_default());
    }
    // The user who runs Tidemill may use a directory of this machine; a request may not.
    for path in [bare.to_str().unwrap().to_owned(), format!("file://{}", bare.display())] {
        let cache = tempfile::tempdir().unwrap();
        let sources = SourceCache::new(cache.path().to_owned(), unrestricted(), SourceSettings::default());
        assert!(sources.tree(&source(&path, &commit)).await.is_err(), "{path}");
        let resolved = resolve(
            &path,
            Revision { branch: Some("main"), ..Revision::default() },
            (cache.path(), &unrestricted()),
        )
        .unwrap();
        let tree = sources.tree(&resolved.source).await.unwrap().unwrap();
        assert_eq!(fs::read_to_string(tree.path.join("mill.txt")).unwrap(), "armed", "{path}");
        assert!(!mark.exists(), "{path}: {}", fs::read_to_string(&mark).unwrap_or_default());
    }
    // The setup is effective: git with default settings runs the program.
    let mut plain = Command::new("git");
    plain.arg("--git-dir").arg(&bare).args(["-c", "protocol.allow=always", "cat-file", "-e", &missing]);
    let _ =
        plain.env("GIT_CONFIG_NOSYSTEM", "1").stdin(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert!(mark.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_of_other_protocols_are_rejected_before_anything_runs() {
    let directory = tempfile::tempdir().unwrap();
    let mark = directory.path().join("ran");
    let cache = tempfile::tempdir().unwrap();
    let sources = SourceCache::new(cache.path().to_owned(), unrestricted(), SourceSettings::default());
    let ext = format!("ext::touch {}", mark.display());
    for url in
        [ext.as_str(), "fd::1", "fd::0/x", "testgit::x", "../elsewhere", "--upload-pack=touch x:y", "x"]
    {
        let started = std::time::Instant::now();
        let error = sources.tree(&source(url, &"12".repeat(20))).await.unwrap_err();
        assert!(!error.to_string().contains("git:"), "git was started for {url}: {error}");
        assert!(started.elapsed().as_secs() < 30 && !mark.exists(), "{url}");
        assert!(
            resolve(url, Revision { branch: None, ..Revision::default() }, (cache.path(), &unrestricted()))
                .is_err(),
            "{url}"
        );
    }
    for branch in ["--upload-pack=touch x", "a:refs/heads/b", "*"] {
        let from = Source::Git {
            url: "git://127.0.0.1:1/x".into(),
            branch: Some(branch.into()),
            commit: "12".repeat(20),
            private_host: true,
            has_credential: false,
        };
        let error = sources.tree(&from).await.unwrap_err();
        assert!(error.to_string().contains("not a valid name of a branch"), "{branch}: {error}");
    }
}
