//! Git inside of jobs: the repository as in a clone, for any user of the image, and the right to push.

use super::{
    harness::{Bench, HELD, docker, job, kind},
    images::Image,
};
use std::{collections::BTreeSet, fs, path::Path, process::Command};
use tidemill_core::execution::assignment::{Assignment, CheckoutRefs};
use tidemill_core::repository::credential::{RepositoryCredential, SourceCredential};
use tidemill_worker::source::snapshot;

const TOKEN: &str = "token-of-the-repository";

/// Builds an image from the test image with the git of this machine and the libraries that it needs.
pub fn image_with_git() -> Image {
    image_with_git_and(&[])
}

/// Likewise, with other programs of this machine.
pub fn image_with_git_and(others: &[&str]) -> Image {
    let context = tempfile::tempdir().unwrap();
    let root = context.path().join("root");
    let output = |program: &str, args: &[&str]| {
        let done = Command::new(program).args(args).output().unwrap();
        assert!(done.status.success(), "{program} {args:?}: {done:?}");
        String::from_utf8(done.stdout).unwrap()
    };
    let programs = output("git", &["--exec-path"]).trim().to_owned();
    let git = output("sh", &["-c", "command -v git"]).trim().to_owned();
    let mut copied = BTreeSet::from([git.clone(), format!("{programs}/git-remote-http")]);
    copied.extend(others.iter().map(|path| (*path).to_owned()));
    for program in copied.clone() {
        let libraries = output("ldd", &[&program]);
        let path = |line: &str| line.split_whitespace().find(|word| word.starts_with('/')).map(str::to_owned);
        copied.extend(libraries.lines().filter_map(path));
    }
    for path in &copied {
        let target = root.join(path.trim_start_matches('/'));
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(path, target).unwrap();
    }
    let link = |name: &str, target: &str| {
        let path = root.join(programs.trim_start_matches('/')).join(name);
        std::os::unix::fs::symlink(target, path).unwrap();
    };
    link("git", &git);
    link("git-remote-https", "git-remote-http");
    let directory = Path::new(&git).parent().unwrap().display();
    Image::build_in(context.path(), &format!("FROM test\nCOPY root/ /\nENV PATH=/bin:/usr/bin:{directory}\n"))
}

/// Creates a repository with a tag two commits ago, on a branch one commit after that of `origin`, whose default branch is `main`.
fn repository(dir: &Path, origin: &str) {
    let script = format!(
        "git init -q -b main && echo 1 >a.txt && printf 'x\\r\\n' >crlf.txt && git add -A && git commit -q -m one && \
         git tag -a -m 'the first' v1.0 && echo 2 >a.txt && git commit -q -a -m two && git remote add origin {origin} && \
         git update-ref refs/remotes/origin/main HEAD && git symbolic-ref refs/remotes/origin/HEAD refs/remotes/origin/main && \
         git checkout -q -b topic && echo 3 >'new file' && chmod +x 'new file' && ln -s a.txt link && git add -A && git commit -q -m three"
    );
    let done = Command::new("sh")
        .args(["-c", &script])
        .current_dir(dir)
        .envs([("GIT_AUTHOR_NAME", "a"), ("GIT_AUTHOR_EMAIL", "a@b"), ("GIT_COMMITTER_NAME", "a")])
        .envs([("GIT_COMMITTER_EMAIL", "a@b"), ("GIT_CONFIG_GLOBAL", "/dev/null")])
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
}

pub fn with_credential(
    mut assignment: Assignment,
    credential: RepositoryCredential,
    url: &str,
) -> Assignment {
    let credential = SourceCredential { url: url.to_owned(), credential, may_push: true };
    assignment.extras.credential = Some(credential);
    assignment
}

#[tokio::test(flavor = "multi_thread")]
async fn git_in_the_image_accepts_the_repository_for_any_user() {
    let mut bench = Bench::start().await;
    let image = image_with_git();
    let dir = tempfile::tempdir().unwrap();
    // Nothing listens on this port.
    repository(dir.path(), "https://127.0.0.1:1/team/app.git");
    let source = snapshot(dir.path(), &bench.data.path().join("cache")).unwrap().source;
    let script = [
        "git status --porcelain | wc -l",
        "git describe --tags",
        "git diff --name-only origin/main...HEAD",
        "git log --oneline | wc -l && git rev-parse --abbrev-ref HEAD origin/HEAD",
        "git config user.name a && git config user.email a@b && git commit -q --allow-empty -m four && git describe",
        "! git push origin HEAD:refs/heads/x && echo the push failed",
    ];
    for user in ["", "1000:1000", "4711"] {
        let mut assignment = image.job(&script);
        assignment.preparation.source = source.clone();
        assignment.preparation.refs =
            CheckoutRefs { default_branch: Some("main".into()), ..CheckoutRefs::default() };
        assignment.preparation.image_options.user = Some(user.to_owned()).filter(|user| !user.is_empty());
        let (end, log) = bench.run(assignment).await;
        assert_eq!(kind(&end), None, "{user}: {:?}\n{log}", end.failure);
        for expected in
            ["\n0\n", "\nv1.0-2-g", "\nlink\nnew file\n", "\n3\ntopic\norigin/main\n", "\nv1.0-3-g"]
        {
            assert!(log.contains(expected), "{user}: {expected:?} is not in {log}");
        }
        assert!(
            log.contains("fatal: unable to access") && log.ends_with("the push failed\n"),
            "{user}: {log}"
        );
    }
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn job_that_may_push_has_the_credential_in_memory_and_for_its_host_only() {
    let mut bench = Bench::start().await;
    let image = image_with_git();
    let url = "https://git.example.org/team/app.git";
    let token = || RepositoryCredential::Token { user: "ci".into(), token: TOKEN.into() };
    let fill = "printf 'protocol=https\\nhost=%s\\n\\n' \"$1\" | GIT_TERMINAL_PROMPT=0 git credential fill";
    let ask = format!("ask() {{ {fill}; }}");
    for user in ["0", "1000"] {
        let mut assignment = image.job(&[
            &ask,
            "git init -q . && git config --list",
            "ask git.example.org | tee /tmp/answer",
            "sed -n s/^password=//p /tmp/answer | tr -d '\\n' | wc -c",
            "! ask other.example.org && ! ask git.example.org:8443 && echo nothing for others",
            "! grep -r password= .git && stat -c %a \"$TIDEMILL_GIT_CREDENTIAL\"",
        ]);
        assignment.preparation.image_options.user = Some(user.to_owned());
        let (end, log) = bench.run(with_credential(assignment, token(), url)).await;
        assert_eq!(kind(&end), None, "{user}: {:?}\n{log}", end.failure);
        for expected in ["\nusername=ci\n", "\npassword=[masked]\n", "\nnothing for others\n", "\n600\n"] {
            assert!(log.contains(expected), "{user}: {expected:?} is not in {log}");
        }
        assert!(log.contains(&format!("\n{}\n", TOKEN.len())) && !log.contains(TOKEN), "{user}: {log}");
    }
    // A job without the right gets nothing, although its worker has the credential.
    let mut without = with_credential(image.job(&[&ask, "! ask git.example.org && env"]), token(), url);
    if let Some(credential) = &mut without.extras.credential {
        credential.may_push = false;
    }
    let (end, log) = bench.run(without).await;
    assert!(kind(&end).is_none() && !log.contains("TIDEMILL_GIT"), "{:?}\n{log}", end.failure);

    let held = with_credential(image.job(&HELD), token(), url);
    let container = bench.hold(held).await;
    let shown = docker(&["inspect", &container]).join("\n")
        + &docker(&["top", &container, "-eo", "pid,args"]).join("\n");
    assert!(!shown.contains(TOKEN) && !shown.contains("GIT_CONFIG"), "{shown}");
    assert_eq!(bench.release(&container).await.exit_code, Some(0));

    let key =
        "-----BEGIN OPENSSH PRIVATE KEY-----\nbGluZSBvbmUgb2YgdGhlIGtleQ\n-----END OPENSSH PRIVATE KEY-----";
    let credential = RepositoryCredential::SshKey {
        key: key.into(),
        known_hosts: "git.example.org ssh-ed25519 AAAA".into(),
    };
    let script = [
        "stat -c %a \"$TIDEMILL_GIT_KEY\"",
        "cat \"$TIDEMILL_GIT_KEY\" \"$TIDEMILL_GIT_KNOWN_HOSTS\"",
        "echo $GIT_SSH_COMMAND",
    ];
    let (end, log) =
        bench.run(with_credential(job(&script), credential, "git@git.example.org:team/app.git")).await;
    assert_eq!(kind(&end), None, "{:?}\n{log}", end.failure);
    assert!(log.contains("\n600\n") && log.contains("\ngit.example.org ssh-ed25519 AAAA\n"), "{log}");
    assert!(log.contains("-oIdentityFile=/dev/shm/") && log.contains("StrictHostKeyChecking=yes"), "{log}");
    assert!(!log.contains("bGluZSBvbmUgb2YgdGhlIGtleQ"), "{log}");
    bench.stop().await;
}
