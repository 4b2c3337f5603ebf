//! Cases about the users of images.

use crate::{cases::project::Project, support::image};
use std::{
    io::Write,
    process::{Command, Stdio},
};

/// An image that is made for one test, and removed after it.
pub struct UserImage(pub String);

impl UserImage {
    /// Makes an image of the tests' image with these lines of a Dockerfile.
    pub fn new(lines: &str) -> Self {
        let name = format!("tidemill-case-{}:1", uuid::Uuid::now_v7().simple());
        let mut build = Command::new("docker")
            .args(["build", "--quiet", "--tag", &name, "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let text = format!("FROM {}\n{lines}\n", image());
        build.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = build.wait_with_output().unwrap();
        assert!(output.status.success(), "{output:?}");
        Self(name)
    }
}

impl Drop for UserImage {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["image", "rm", "--force", &self.0]).output();
    }
}

#[test]
fn case_everyday_05_jobs_of_several_users_share_artifacts_and_a_cache() {
    let file = r#"
name: users
stages: [make, change, root, plain]
defaults: { cache: { key: shared, paths: [kept] } }
jobs:
  make:
    stage: make
    image: IMAGE-OF-1000
    script:
      - '[ "$(id -u)" = 1000 ] && mkdir build && echo more >>tracked && chmod +x tracked'
      - mkdir -p kept/deep && echo "run of 1000" >>kept/log && date >kept/deep/last
      - echo x >~/home-file
      - date >build/out; umask 077; date >build/private
    artifacts: { paths: [build] }
  change:
    stage: change
    image: { name: IMAGE, user: "4711:4711" }
    script:
      - echo changed >>build/out; rm build/private; echo more >>tracked
      - echo "run of 4711" >>kept/log && rm -r kept/deep
    artifacts: { paths: [build] }
  root:
    stage: root
    image: IMAGE
    script: [echo root >>build/out, mkdir -m 700 build/closed, echo "run of root" >>kept/log]
    artifacts: { paths: [build] }
  plain:
    stage: plain
    image: IMAGE-OF-1000
    script: [grep changed build/out && echo end >>build/out && echo x >build/closed/file, cat kept/log]
"#;
    let image = UserImage::new("USER 1000:1000\nENV HOME=/home/nobody");
    let project =
        Project::new(&[("ci.yml", &file.replace("IMAGE-OF-1000", &image.0)), ("tracked", "tracked\n")]);
    // The second time, the cache of the last user is there.
    project.run("ci.yml", 0);
    project.run("ci.yml", 0);
    let log = project.log("plain");
    assert_eq!(log.matches("run of 1000\n").count(), 2, "{log}");
    assert_eq!((log.matches("run of 4711\n").count(), log.matches("run of root\n").count()), (2, 2), "{log}");
}

#[test]
fn case_real_04_user_of_an_image_becomes_root_only_where_the_worker_allows_it() {
    let file = r#"
name: rights
jobs:
  a: { image: IMAGE-OF-1000, script: ["echo x >out.txt"], artifacts: { paths: [out.txt] } }
  b: { image: IMAGE-OF-1000, script: [id -u, '/bin/su root -c "id -u" | sed s/^/as:/'] }
"#;
    // This `su` needs no password, as `sudo` does not where an image allows it.
    let image = UserImage::new(
        "RUN sed -i 's/^root:x:/root::/' /etc/passwd && rm -f /bin/su && cp /bin/busybox /bin/su && chmod 4755 /bin/su\nUSER 1000",
    );
    let project = Project::new(&[("ci.yml", &file.replace("IMAGE-OF-1000", &image.0))]);
    project.run("ci.yml", 1);
    let log = project.log("b");
    assert!(log.contains("\n1000\n") && !log.contains("\nas:0\n"), "{log}");
    let settings = project.repo().join("../worker.toml");
    std::fs::write(&settings, "no_new_privileges = false\n").unwrap();
    let run =
        project.command(&["run", "-f", "ci.yml"]).env("TIDEMILL_WORKER_CONFIG", &settings).status().unwrap();
    assert!(run.success());
    let log = project.log("b");
    assert!(log.contains("\nas:0\n"), "{log}");
}
