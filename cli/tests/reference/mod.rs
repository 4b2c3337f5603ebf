//! Runs every example of docs/pipeline-reference.md in containers and checks the documented outcome. Its images and their tools are
//! replaced by stubs, because tests must not need a registry.

use crate::support::{TestEnv, failure_kind, has_ended, image, text};
use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::Mutex,
};

/// Source files of the examples.
const SOURCES: [(&str, &str); 13] = [
    ("Cargo.lock", "version = 4\n"),
    ("app/Dockerfile", "FROM busybox AS release\nCOPY . /app\nRUN test -e /app/main.txt\n"),
    ("app/main.txt", "an application\n"),
    ("ci/base.yml", "variables: { FROM: base }\n"),
    ("ci/deploy.yml", "name: deploy\njobs: { deploy: { image: busybox, script: \"[ $REGION = eu ]\" } }\n"),
    ("ci/rust.yml", "jobs:\n  more: { image: \"rust:1.95\", script: cargo test }\n"),
    (
        "ci/service.yml",
        "spec:\n  inputs:\n    region:\n---\nhello: { image: busybox, script: '[ $[[ inputs.region ]] = eu ]' }\n",
    ),
    ("dist/app", "built before\n"),
    ("docs/index.md", "# Words\n"),
    ("mkdocs.yml", "site_name: mill\n"),
    (
        "reports/unit.xml",
        "<testsuite name=\"unit\" tests=\"1\"><testcase name=\"adds\" time=\"0.1\"/></testsuite>\n",
    ),
    ("server.log", "stopped\n"),
    ("services/api/main.txt", "a service\n"),
];

/// The images of the examples: one image, built from the demo image, tagged with all of their names.
struct Images {
    name: String,
}

impl Images {
    const NAMES: [&str; 7] =
        ["busybox:latest", "nginx:1", "postgres:17", "python:3.12", "python:3.13", "redis:7", "rust:1.95"];

    fn build() -> Self {
        // The registry does not exist, so that an accidental pull cannot reach a real one.
        let images = Self { name: format!("127.0.0.1:1/tidemill-reference-{}", std::process::id()) };
        let context = tempfile::tempdir().unwrap();
        let tools = ["cargo", "make", "docker-entrypoint.sh", "postgres", "pg_isready"];
        let copies: String = tools.iter().flat_map(|tool| ["COPY stub.sh /bin/", tool, "\n"]).collect();
        let from = format!("FROM {}\nLABEL tidemill.test=reference\n", image());
        let user = "RUN echo postgres:x:70:70::/:/bin/sh >>/etc/passwd && echo postgres:x:70: >>/etc/group\n";
        let recipe = from + &copies + user + "CMD [\"httpd\", \"-f\", \"-p\", \"80\"]\n";
        fs::write(context.path().join("Dockerfile"), recipe).unwrap();
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/stub.sh");
        fs::copy(here, context.path().join("stub.sh")).unwrap();
        let built = Command::new("docker")
            .args(["build", "--quiet"])
            .args(images.tagged().iter().flat_map(|name| ["--tag", name]))
            .arg(context.path())
            .output()
            .unwrap();
        assert!(built.status.success(), "{built:?}");
        images
    }

    fn tagged(&self) -> Vec<String> {
        Self::NAMES.iter().map(|name| format!("{}/{name}", self.name)).collect()
    }

    /// Replaces the image names in an example by these images.
    fn replace_in(&self, example: &str) -> String {
        let mut text = example.replace("busybox", &format!("{}/busybox", self.name));
        text = text.replace("linux/amd64", &format!("linux/{}", std::env::consts::ARCH));
        for repository in ["nginx:", "postgres:", "python:", "redis:", "rust:"] {
            for before in [' ', '"'] {
                let from = format!("{before}{repository}");
                text = text.replace(&from, &format!("{before}{}/{repository}", self.name));
            }
        }
        text
    }
}

impl Drop for Images {
    fn drop(&mut self) {
        let _ = Command::new("docker")
            .args(["image", "rm", "--force"])
            .args(self.tagged())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}

/// Returns the expected exit code, job status and failure kind of an example.
fn expected_outcome(example: &str) -> (i32, &'static str, &'static str) {
    if example.contains("\n    when: on_failure\n") {
        // The job that it needs succeeds.
        (0, "SKIPPED", "not_needed")
    } else if example.contains("privileged: true") || example.contains("ssh: true") {
        // The worker of the test allows nothing.
        (1, "FAILED", "not_allowed")
    } else if example.contains("id_tokens:") {
        // Only a server signs them.
        (1, "FAILED", "secret_unavailable")
    } else if example.contains("\n    pull_policy: always\n") || example.contains("\n      pull: true\n") {
        // The registry does not exist: a failure of the network, not of the pipeline.
        (3, "FAILED", "image_pull_failed")
    } else {
        (0, "SUCCESS", "")
    }
}

fn check_example(name: &str, example: &str, images: &Images) {
    let env = TestEnv::new(&images.replace_in(example));
    for (path, content) in SOURCES {
        let path = env.repo().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, images.replace_in(content)).unwrap();
    }
    let value = env.dir.path().join("value");
    fs::write(&value, "kept from the log").unwrap();
    // A run rejects secrets that no job names.
    let named = ["REGISTRY_TOKEN", "deploy-key"].into_iter().filter(|name| example.contains(name));
    let secrets: Vec<_> = named.map(|name| format!("{name}=@{}", value.display())).collect();
    let arch = if example.contains("arch: arm64") { "arch=arm64" } else { "arch=amd64" };
    let mut args = vec!["run", "--label", "gpu=true", "--label", arch];
    args.extend(secrets.iter().flat_map(|secret| ["--secret", secret]));
    let run = env.spawn(&args);
    let run = std::thread::scope(|scope| {
        let run = scope.spawn(move || crate::support::finish(run));
        while example.contains("when: manual") && !run.is_finished() {
            let waits = |job: &serde_json::Value| job["approval"] == "awaited";
            let view = env.latest();
            if view["jobs"].as_array().is_some_and(|jobs| jobs.iter().any(waits)) {
                env.on_latest(&["approve"]);
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        run.join().unwrap()
    });
    if example.contains("image: none") {
        // Its tools would be those of this machine. A worker with an engine runs no such job.
        assert_eq!(run.status.code(), Some(2), "{name}: {}", text(&run.stderr));
        assert!(text(&run.stderr).contains("--executor process"), "{name}: {}", text(&run.stderr));
        return;
    }
    let mut view = env.latest();
    let is_unapproved = |job: &serde_json::Value| job["failure_reason"]["kind"] == "not_approved";
    if view["jobs"].as_array().unwrap().iter().any(is_unapproved) {
        // All other jobs ended first. An approval runs the job by a retry then.
        env.on_latest(&["approve"]);
        view = env.latest();
    }
    let shown = || format!("{name}:\n{example}\n{}\n{}\n{view:#}", text(&run.stdout), text(&run.stderr));
    assert!(has_ended(&view), "{}", shown());
    let (code, status, reason) = expected_outcome(example);
    assert_eq!(run.status.code(), Some(code), "{}", shown());
    for job in view["jobs"].as_array().unwrap() {
        let job_name = job["job_name"].as_str().unwrap();
        let expected = if job_name.starts_with("example") { status } else { "SUCCESS" };
        assert_eq!(job["status"], expected, "{}", shown());
        assert!(expected == "SUCCESS" || failure_kind(&view, job_name).starts_with(reason), "{}", shown());
    }
}

#[test]
fn every_reference_example_runs_as_documented() {
    let images = Images::build();
    let examples = crate::reference_page::examples();
    assert!(examples.len() >= 35, "only {} examples were found", examples.len());
    let remaining = Mutex::new(examples.iter());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let Some((name, example)) = remaining.lock().unwrap().next() else { break };
                    let start = std::time::Instant::now();
                    check_example(name, example, &images);
                    println!("{name} took {:?}", start.elapsed());
                }
            });
        }
    });
}
