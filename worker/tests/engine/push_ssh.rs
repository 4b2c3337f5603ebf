//! Jobs that push commits back to their repository over SSH.

use super::{
    git::{image_with_git_and, with_credential},
    harness::{Bench, kind},
    push::own_address,
};
use crate::ssh::{SshServer, bare_repository};
use std::{path::Path, process::Command};
use tidemill_core::repository::credential::RepositoryCredential;

/// Returns the path of a program of this machine.
fn path_of(program: &str) -> String {
    let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output().unwrap();
    String::from_utf8(found.stdout).unwrap().trim().to_owned()
}

fn subjects(bare: &Path) -> String {
    let done = Command::new("git").arg("-C").arg(bare).args(["log", "--format=%s", "main"]).output().unwrap();
    String::from_utf8(done.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn job_with_the_right_pushes_a_commit_with_the_key_and_one_without_it_is_refused() {
    let server = SshServer::start(own_address().parse().unwrap());
    let bare = bare_repository(server.root(), "app", "echo 1 >a.txt");
    let url = server.url(&bare);
    let mut bench = Bench::start().await;
    let image = image_with_git_and(&[&path_of("ssh")]);
    let add_origin = format!("git remote add origin {url}");
    let push = [
        "git init -q -b main . && git config user.name a && git config user.email a@b",
        add_origin.as_str(),
        "git fetch -q origin main && git reset -q --hard origin/main",
        "git commit -q --allow-empty -m \"by a job\"",
        "git push origin HEAD:main",
    ];
    let RepositoryCredential::SshKey { key, .. } = server.credential() else { unreachable!() };
    let line = key.lines().nth(1).unwrap();
    let (end, log) = bench.run(with_credential(image.job(&push), server.credential(), &url)).await;
    assert_eq!(kind(&end), None, "{:?}\n{log}", end.failure);
    assert!(!log.contains(line), "{log}");
    assert_eq!(subjects(&bare), "by a job\nfirst\n");

    let mut without = with_credential(image.job(&push), server.credential(), &url);
    if let Some(credential) = &mut without.extras.credential {
        credential.may_push = false;
    }
    let (end, log) = bench.run(without).await;
    assert_eq!(end.exit_code, Some(128), "{log}");
    assert_eq!(subjects(&bare), "by a job\nfirst\n");
    bench.stop().await;
}
