//! Jobs in images as they are: with any user, entry point, volumes and directories. Each image is made from the test image.

use super::harness::{Bench, docker, job, kind};
use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
};
use tidemill_core::execution::{
    assignment::{ArtifactEncoding, ArtifactSource, Artifacts, ArtifactsWhen, Assignment, Source},
    failure::FailureKind,
};
use tidemill_core::{ids::ArtifactId, pipeline::Reports};
use tidemill_worker::source::snapshot;

/// An image of one test, removed at its end.
pub struct Image(pub String);

impl Image {
    /// Builds an image; `FROM test` stands for the test image.
    pub fn build(dockerfile: &str) -> Self {
        Self::build_in(tempfile::tempdir().unwrap().path(), dockerfile)
    }

    /// Builds an image with the files of `context`.
    pub fn build_in(context: &Path, dockerfile: &str) -> Self {
        let base = std::env::var("TIDEMILL_TEST_IMAGE").unwrap_or_else(|_| "tidemill-demo:1".into());
        let text = dockerfile
            .replace("FROM test", &format!("FROM {base}"))
            .replace("--from=test", &format!("--from={base}"));
        let name = format!("tidemill-test-{}:1", uuid::Uuid::now_v7().simple());
        let build = || {
            let mut build = Command::new("docker")
                .args(["build", "--quiet", "--tag", &name, "--file", "-"])
                .arg(context)
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            build.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
            build.wait_with_output().unwrap()
        };
        let mut output = build();
        // The end of another test may have removed a layer that this build reuses.
        for _ in 0..3 {
            if output.status.success() {
                break;
            }
            output = build();
        }
        assert!(output.status.success(), "{output:?}");
        Self(name)
    }

    pub fn job(&self, script: &[&str]) -> Assignment {
        let mut assignment = job(script);
        assignment.preparation.image.clone_from(&self.0);
        assignment
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["image", "rm", "--force", &self.0]).output();
    }
}

/// Creates a repository with a file, a program and a directory, and returns it as sources.
pub fn sources(cache: &Path) -> (tempfile::TempDir, Source) {
    let directory = tempfile::tempdir().unwrap();
    let git = |args: &[&str]| {
        let identity = ["-c", "user.name=a", "-c", "user.email=a@b"];
        let done =
            Command::new("git").current_dir(directory.path()).args(identity).args(args).output().unwrap();
        assert!(done.status.success(), "{done:?}");
    };
    std::fs::create_dir(directory.path().join("data")).unwrap();
    std::fs::write(directory.path().join("data/a.txt"), "tracked\n").unwrap();
    std::fs::write(directory.path().join("b.txt"), "tracked\n").unwrap();
    git(&["init", "--quiet", "--initial-branch=main"]);
    git(&["add", "."]);
    git(&["commit", "--quiet", "--message=a"]);
    let source = snapshot(directory.path(), cache).unwrap().source;
    (directory, source)
}

pub fn declared(paths: &[&str]) -> Artifacts {
    Artifacts {
        paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        when: ArtifactsWhen::OnSuccess,
        reports: Reports::default(),
        ..Artifacts::default()
    }
}

/// Returns the artifact that the last job stored.
pub fn stored(bench: &Bench) -> ArtifactSource {
    let bytes = bench.server.artifact.lock().unwrap().clone();
    let sha256 = data_encoding::HEXLOWER.encode(&<sha2::Sha256 as sha2::Digest>::digest(&bytes));
    ArtifactSource {
        artifact_id: ArtifactId(uuid::Uuid::nil()),
        from_job: "earlier".into(),
        url: "/bytes".into(),
        sha256,
        size: bytes.len() as u64,
        encoding: ArtifactEncoding::Identity,
        unpacked_size: 0,
        image: None,
    }
}

pub async fn succeeds(bench: &mut Bench, assignment: Assignment, context: &str) -> String {
    let (end, log) = bench.run(assignment).await;
    assert_eq!(kind(&end), None, "{context}: {:?}\n{log}", end.failure);
    log
}

#[tokio::test(flavor = "multi_thread")]
async fn case_gitlab_10_workspace_and_home_belong_to_the_images_user() {
    let mut bench = Bench::start().await;
    let (_repository, source) = sources(&bench.data.path().join("cache"));
    let add_user =
        "RUN echo mill:x:1234:1235::/home/mill:/bin/sh >>/etc/passwd && echo mill:x:1235: >>/etc/group";
    let named = Image::build(&format!("FROM test\n{add_user}"));
    let script = [
        "id -u",
        "mkdir build && echo x >build/out",
        "echo changed >data/a.txt && chmod 755 data/a.txt && touch -t 200001010000 data/a.txt",
        "rm b.txt && rm -r data && mkdir data",
        "[ -O /workspace ] && [ -O .git ] && [ -O .git/config ]",
        "echo x >\"$HOME/file\" && [ -d \"$HOME\" ]",
    ];
    for (user, expected) in [
        ("1000", 1000),
        ("1000:1000", 1000),
        ("mill", 1234),
        ("mill:root", 1234),
        ("4711", 4711),
        ("root", 0),
        ("0:5", 0),
    ] {
        let image = Image::build(&format!("FROM test\n{add_user}\nUSER {user}"));
        let own = image.job(&script);
        let mut asked = named.job(&script);
        asked.preparation.image_options.user = Some(user.to_owned());
        for mut assignment in [own, asked] {
            assignment.preparation.source = source.clone();
            let log = succeeds(&mut bench, assignment, user).await;
            assert!(log.contains(&format!("\n{expected}\n")), "{user}: {log}");
        }
        let mut unknown = named.job(&["true"]);
        unknown.preparation.image_options.user = Some("nobody-here".into());
        let (end, log) = bench.run(unknown).await;
        assert!(kind(&end) == Some(FailureKind::ImageUnavailable) && log.contains("has no user"), "{log}");
        let mut unknown = named.job(&["true"]);
        unknown.preparation.image_options.user = Some("1000:no-such-group".into());
        let (end, log) = bench.run(unknown).await;
        let expected = "has no group `no-such-group`";
        assert!(
            kind(&end) == Some(FailureKind::ImageUnavailable) && log.contains(expected),
            "{end:?}: {log}"
        );
        // Without sources, too.
        let mut empty = image.job(&["mkdir build && touch build/a b && [ -O /workspace ]"]);
        empty.preparation.working_dir = Some("made/for/it".into());
        succeeds(&mut bench, empty, user).await;
    }
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn home_that_is_missing_or_read_only_is_replaced() {
    let mut bench = Bench::start().await;
    for lines in [
        "ENV HOME=/nonexistent/home\nUSER 1000",
        "ENV HOME=/root\nUSER 1000",
        "RUN rm -r /tmp /root\nUSER 1000",
        "RUN rm -r /root",
        "RUN rm -r /root\nUSER 0:0\nENV HOME=/root",
    ] {
        let image = Image::build(&format!("FROM test\n{lines}"));
        let script = ["mkdir -p ~/.cache/deep && echo x >~/.cache/deep/file && [ -w \"$HOME\" ]"];
        succeeds(&mut bench, image.job(&script), lines).await;
    }
    let image =
        Image::build("FROM test\nRUN mkdir -m 700 /home && chown 1000 /home\nENV HOME=/home\nUSER 1000");
    let log = succeeds(&mut bench, image.job(&["echo at:$HOME:"]), "a home of its own").await;
    assert!(log.contains("\nat:/home:\n"), "{log}");
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_pass_between_root_and_other_users() {
    let mut bench = Bench::start().await;
    let users = [None, Some("1000:1000"), Some("4711"), None, Some("1000")];
    let mut artifact: Option<ArtifactSource> = None;
    for (round, user) in users.into_iter().enumerate() {
        let mut assignment = job(&[
            "umask 077; mkdir -p out/deep; date >>out/log; echo new >\"out/deep/$ROUND\"",
            // What the earlier job left can be changed, replaced and removed.
            "for f in out/deep/* out/private; do [ ! -e \"$f\" ] || { echo more >>\"$f\" && chmod 600 \"$f\"; }; done",
            "rm -f out/link out/private; ln -s deep out/link; echo secret >out/private; touch out/deep",
            "[ -O out ] && [ -O out/deep ] && [ -O out/log ]",
        ]);
        assignment.variables.insert("ROUND".into(), round.to_string());
        assignment.preparation.image_options.user = user.map(str::to_owned);
        assignment.needs_artifacts = artifact.take().into_iter().collect();
        assignment.artifacts = Some(declared(&["out"]));
        succeeds(&mut bench, assignment, &format!("{round}: {user:?}")).await;
        artifact = Some(stored(&bench));
    }
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn artifacts_of_equal_files_are_equal_whoever_made_them() {
    let mut bench = Bench::start().await;
    let mut hashes = Vec::new();
    for user in ["0", "1000"] {
        let mut assignment = job(&["mkdir out; echo x >out/a; touch -t 200001010000 out/a out"]);
        assignment.preparation.image_options.user = Some(user.into());
        assignment.artifacts = Some(declared(&["out"]));
        succeeds(&mut bench, assignment, user).await;
        hashes.push(stored(&bench).sha256);
    }
    assert_eq!(hashes[0], hashes[1]);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn entry_point_runs_before_the_script_if_it_starts_a_shell() {
    let mut bench = Bench::start().await;
    let wrapper = "RUN printf '#!/bin/sh\\nexport FROM_ENTRY=yes\\necho entering\\n\"$@\"\\n' >/wrap && chmod +x /wrap && \
                   sed 's/^\"/exec \"/' /wrap >/entry && chmod +x /entry";
    for (entrypoint, has_run) in [
        ("[\"/entry\"]", true),
        ("[\"/wrap\"]", true),
        // The shell is not a child of the first process.
        ("[\"/wrap\", \"/wrap\", \"/wrap\"]", true),
        ("[\"/bin/sh\", \"-c\"]", false),
        ("[\"/bin/sh\"]", false),
        ("[\"/bin/sh\", \"-c\", \"echo tool; exit 3\"]", false),
        ("[\"/bin/echo\", \"tool\"]", false),
        ("[\"/no/such/program\"]", false),
    ] {
        let image = Image::build(&format!("FROM test\n{wrapper}\nENTRYPOINT {entrypoint}\nCMD [\"never\"]"));
        for attempt in 0..2 {
            let log = succeeds(
                &mut bench,
                image.job(&["echo \"env:${FROM_ENTRY:-no}:\"", "(sleep 100 &)"]),
                entrypoint,
            )
            .await;
            let expected = if has_run { "\nenv:yes:\n" } else { "\nenv:no:\n" };
            assert!(log.contains(expected) && log.contains("entering\n") == has_run, "{entrypoint}: {log}");
            let is_noted = log.contains("did not start a shell");
            let is_tool =
                !has_run && !entrypoint.starts_with("[\"/bin/sh\"]") && !entrypoint.ends_with("\"-c\"]");
            assert_eq!(is_noted, is_tool && attempt == 0, "{entrypoint}: {log}");
        }
        // Without it, and with another one.
        let mut without = image.job(&["echo \"env:${FROM_ENTRY:-no}:\""]);
        without.preparation.image_options.entrypoint = Some(Vec::new());
        let log = succeeds(&mut bench, without, entrypoint).await;
        assert!(log.starts_with("$ echo") && log.contains("\nenv:no:\n"), "{entrypoint}: {log}");
        let mut other = image.job(&["echo \"env:${FROM_ENTRY:-no}:\"", "exit 7"]);
        other.preparation.image_options.entrypoint = Some(vec!["/entry".into()]);
        let (end, log) = bench.run(other).await;
        assert!(
            end.exit_code == Some(7) && log.contains("entering\n") && log.contains("\nenv:yes:\n"),
            "{end:?}: {log}"
        );
        let mut broken = image.job(&["echo never"]);
        broken.preparation.image_options.entrypoint = Some(vec!["/bin/echo".into(), "some tool".into()]);
        let (end, log) = bench.run(broken).await;
        assert_eq!(kind(&end), Some(FailureKind::ImageUnavailable), "{log}");
        assert!(log.contains("did not start the shell of the job") && !log.contains("$ echo never"), "{log}");
    }
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn canceled_job_behind_an_entry_point_ends() {
    let mut bench = Bench::start().await;
    let image = Image::build(
        "FROM test\nRUN printf '#!/bin/sh\\n\"$@\"\\n' >/wrap && chmod +x /wrap\nENTRYPOINT [\"/wrap\"]",
    );
    let mut slow = image.job(&["sleep 600"]);
    slow.timeout_s = 1;
    let started = std::time::Instant::now();
    let (end, _) = bench.run(slow).await;
    assert_eq!(kind(&end), Some(FailureKind::TimedOut));
    assert!(started.elapsed() < std::time::Duration::from_secs(30));
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_an_image_do_not_disturb_a_job() {
    let mut bench = Bench::start().await;
    let (_repository, source) = sources(&bench.data.path().join("cache"));
    let large = "x".repeat(30_000);
    let lines = [
        "HEALTHCHECK --interval=1s --retries=1 CMD touch /tmp/health; false".to_owned(),
        "STOPSIGNAL SIGQUIT".to_owned(),
        "ENV TZ=Asia/Tokyo LANG=xx_YY.UTF-8 LC_ALL=xx".to_owned(),
        "WORKDIR /does/not/matter".to_owned(),
        "ONBUILD RUN exit 1".to_owned(),
        "EXPOSE 80".to_owned(),
        "LABEL tidemill=0 tidemill.worker=other".to_owned(),
        format!("ENV A={large}\nENV B={large}\nENV C={large}\nENV D={large}"),
        "RUN mkdir -p /var/lib/data && chmod 500 /var/lib/data\nVOLUME /var/lib/data".to_owned(),
        "CMD [\"/no/such/program\"]".to_owned(),
    ];
    for line in &lines {
        let image = Image::build(&format!("FROM test\n{line}"));
        let mut assignment =
            image.job(&["pwd; cat data/a.txt", "sleep 1.5; [ ! -e /tmp/health ]", "echo out >out"]);
        assignment.preparation.source = source.clone();
        assignment.artifacts = Some(declared(&["out"]));
        let log = succeeds(&mut bench, assignment, line).await;
        assert!(log.contains("/workspace\ntracked\n"), "{line}: {log}");
    }
    // The engine removes anonymous volumes with their containers.
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_of_an_image_hide_no_part_of_the_workspace() {
    let mut bench = Bench::start().await;
    let (_repository, source) = sources(&bench.data.path().join("cache"));
    for (lines, user) in [
        ("VOLUME /workspace", "0"),
        ("VOLUME /workspace/data", "0"),
        ("VOLUME [\"/workspace/data\", \"/workspace/made/deep\", \"/workspace/b.txt\"]", "1000"),
        ("VOLUME /workspace/data\nENTRYPOINT [\"/bin/echo\"]", "0"),
    ] {
        let image = Image::build(&format!("FROM test\n{lines}\nUSER {user}"));
        let mut producer = image.job(&[
            "cat data/a.txt && mkdir -p made/deep && echo made >data/new && echo made >made/deep/new",
            "rm data/a.txt && [ -O data/new ]",
        ]);
        producer.preparation.source = source.clone();
        producer.artifacts = Some(declared(&["data/*", "made"]));
        let log = succeeds(&mut bench, producer, lines).await;
        assert!(log.contains("\ntracked\n") && !log.contains("no file matches"), "{lines}: {log}");
        let mut consumer = image.job(&["cat data/new made/deep/new", "echo more >>data/new"]);
        consumer.needs_artifacts = vec![stored(&bench)];
        let log = succeeds(&mut bench, consumer, lines).await;
        assert!(log.contains("\nmade\nmade\n"), "{lines}: {log}");
    }
    bench.until_none_exists().await;
    let label = bench.label();
    bench.stop().await;
    assert_eq!(docker(&["volume", "ls", "--quiet", "--filter", &label]), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn volume_over_a_link_of_the_sources_does_not_lead_out_of_the_workspace() {
    let mut bench = Bench::start().await;
    let outside = tempfile::tempdir().unwrap();
    let repository = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(outside.path(), repository.path().join("link")).unwrap();
    let source = snapshot(repository.path(), &bench.data.path().join("cache")).unwrap().source;
    let image = Image::build("FROM test\nVOLUME /workspace/link/deep");
    let mut assignment = image.job(&["echo x >link/deep/file; echo x >link/file"]);
    assignment.preparation.source = source;
    succeeds(&mut bench, assignment, "a link").await;
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_any_user_change_no_shared_sources() {
    let mut bench = Bench::start().await;
    let (_repository, source) = sources(&bench.data.path().join("cache"));
    let users = ["1000", "0", "1000", "4711"];
    for user in users {
        let mut assignment = job(&[
            "cat data/a.txt b.txt; [ \"$(cat data/a.txt b.txt)\" = \"$(printf 'tracked\\ntracked')\" ]",
            "echo bad >data/a.txt; ln b.txt hard; echo bad >hard; chmod 777 . data data/a.txt",
            "cp /bin/busybox data/set; chmod 6777 data/set; rm -rf .git",
        ]);
        assignment.preparation.source = source.clone();
        assignment.preparation.image_options.user = Some(user.into());
        succeeds(&mut bench, assignment, user).await;
    }
    let trees = bench.data.path().join("cache/trees");
    let trees: Vec<_> = std::fs::read_dir(trees)
        .unwrap()
        .map(|tree| tree.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    assert_eq!(trees.len(), 3, "one for each user: {trees:?}");
    for tree in trees {
        assert_eq!(std::fs::read(tree.join("data/a.txt")).unwrap(), b"tracked\n");
        assert!(tree.join(".git").is_dir() && !tree.join("data/set").exists() && !tree.join("hard").exists());
    }
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_of_an_image_that_cannot_be_written_do_not_disturb_a_job() {
    let mut bench = Bench::start().await;
    let (_repository, source) = sources(&bench.data.path().join("cache"));
    for (lines, user) in [
        ("RUN mkdir /workspace && chmod 555 /workspace", "1000"),
        ("RUN mkdir /workspace && chmod 000 /workspace", "0"),
        ("RUN mkdir -p /workspace/data && chown -R 7:7 /workspace && chmod -R 500 /workspace", "1000"),
        ("RUN touch /workspace.not && chmod 555 /tmp /root /var /etc /bin /", "1000"),
        ("RUN rm -rf /tmp /var /root", "1000:5"),
        ("RUN ln -s /proc /workspace-link && mkdir /w && ln -s w /workspace", "1000"),
    ] {
        let image = Image::build(&format!("FROM test\n{lines}\nUSER {user}"));
        let mut assignment = image.job(&[
            "cat data/a.txt && echo more >>data/a.txt && mkdir -p made/deep && echo out >out",
            "echo x >\"$HOME/file\" && [ -O . ]",
        ]);
        assignment.preparation.source = source.clone();
        assignment.artifacts = Some(declared(&["out", "made"]));
        let log = succeeds(&mut bench, assignment, lines).await;
        assert!(log.contains("\ntracked\n") && !log.contains("no file matches"), "{lines}: {log}");
    }
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn image_for_another_platform_is_not_used() {
    let mut bench = Bench::start().await;
    let own = docker(&["version", "--format", "{{.Server.Os}}/{{.Server.Arch}}"]).remove(0);
    let mut fits = job(&["echo fits"]);
    fits.preparation.image_options.platform = Some(own.clone());
    succeeds(&mut bench, fits, &own).await;
    let mut other = job(&["echo never"]);
    other.preparation.image_options.platform = Some("linux/s390x".into());
    let (end, log) = bench.run(other).await;
    assert_eq!(kind(&end), Some(FailureKind::ImageUnavailable), "{log}");
    assert!(log.contains(&format!("for `{own}`, not for `linux/s390x`")), "{log}");
    bench.stop().await;
}
