//! Every example of docs/pipeline-reference.md runs, in real containers, to the end that its text says. Its images and the tools in
//! them are stood in for, as no test may need a registry.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[path = "../../../core/tests/reference/mod.rs"]
mod reference;
#[path = "../support/mod.rs"]
mod support;

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::Mutex,
};
use support::{Place, image, is_over, kind, text};

/// What the examples find in their sources.
const SOURCES: [(&str, &str); 10] = [
    ("Cargo.lock", "version = 4\n"),
    ("app/main.txt", "an application\n"),
    ("ci/base.yml", "variables: { FROM: base }\n"),
    ("ci/rust.yml", "jobs:\n  more: { image: \"rust:1.95\", script: cargo test }\n"),
    ("dist/app", "built before\n"),
    ("docs/index.md", "# Words\n"),
    ("mkdocs.yml", "site_name: words\n"),
    (
        "reports/unit.xml",
        "<testsuite name=\"unit\" tests=\"1\"><testcase name=\"adds\" time=\"0.1\"/></testsuite>\n",
    ),
    ("server.log", "stopped\n"),
    ("services/api/main.txt", "a service\n"),
];

/// The images of the examples: one image, made of the demo image, by all of their names.
struct Images {
    name: String,
}

impl Images {
    const NAMES: [&str; 7] =
        ["busybox:latest", "nginx:1", "postgres:17", "python:3.12", "python:3.13", "redis:7", "rust:1.95"];

    fn build() -> Self {
        // Of a registry that nobody runs, so that what pulls them anyway asks nobody.
        let images = Self { name: format!("127.0.0.1:1/tidemill-reference-{}", std::process::id()) };
        let context = tempfile::tempdir().unwrap();
        let tools = ["cargo", "make", "docker-entrypoint.sh", "postgres", "pg_isready"];
        let copies: String = tools.iter().flat_map(|tool| ["COPY stand_in.sh /bin/", tool, "\n"]).collect();
        let from = format!("FROM {}\nLABEL tidemill.test=reference\n", image());
        let recipe = from + &copies + "CMD [\"httpd\", \"-f\", \"-p\", \"80\"]\n";
        fs::write(context.path().join("Dockerfile"), recipe).unwrap();
        let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/stand_in.sh");
        fs::copy(here, context.path().join("stand_in.sh")).unwrap();
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

    /// The example with these images in place of its own.
    fn into(&self, example: &str) -> String {
        let mut text = example.replace("busybox", &format!("{}/busybox", self.name));
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

/// How an example ends where not all of its jobs succeed.
fn end_of(example: &str) -> (i32, &'static str, &'static str) {
    if example.contains("\n    when: on_failure\n") {
        // It waits for a job that succeeds.
        (0, "SKIPPED", "not_needed")
    } else if example.contains("\n    pull_policy: always\n") {
        // Its registry does not answer.
        (1, "FAILED", "image_pull_failed")
    } else {
        (0, "SUCCESS", "")
    }
}

fn runs(name: &str, example: &str, images: &Images) {
    let place = Place::new(&images.into(example));
    for (path, content) in SOURCES {
        let path = place.repo().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, images.into(content)).unwrap();
    }
    let value = place.dir.path().join("value");
    fs::write(&value, "kept from the log").unwrap();
    let secrets = ["REGISTRY_TOKEN", "deploy-key"].map(|name| format!("{name}=@{}", value.display()));
    let arch = if example.contains("arch: arm64") { "arch=arm64" } else { "arch=amd64" };
    let run = place.spawn(&[
        "run",
        "--secret",
        &secrets[0],
        "--secret",
        &secrets[1],
        "--label",
        "gpu=true",
        "--label",
        arch,
    ]);
    let run = std::thread::scope(|scope| {
        let run = scope.spawn(move || support::finish(run));
        while example.contains("when: manual") && !run.is_finished() {
            let waits = |job: &serde_json::Value| job["approval"] == "awaited";
            let view = place.latest();
            if view["jobs"].as_array().is_some_and(|jobs| jobs.iter().any(waits)) {
                place.of_latest(&["approve"]);
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        run.join().unwrap()
    });
    let view = place.latest();
    let shown = || format!("{name}:\n{example}\n{}\n{}\n{view:#}", text(&run.stdout), text(&run.stderr));
    assert!(is_over(&view), "{}", shown());
    let (code, status, reason) = end_of(example);
    assert_eq!(run.status.code(), Some(code), "{}", shown());
    for job in view["jobs"].as_array().unwrap() {
        let job_name = job["job_name"].as_str().unwrap();
        let expected = if job_name.starts_with("example") { status } else { "SUCCESS" };
        assert_eq!(job["status"], expected, "{}", shown());
        assert!(expected == "SUCCESS" || kind(&view, job_name).starts_with(reason), "{}", shown());
    }
}

#[test]
fn every_reference_example_runs_as_documented() {
    let images = Images::build();
    let examples = reference::examples();
    assert!(examples.len() >= 35, "only {} examples were found", examples.len());
    let left = Mutex::new(examples.iter());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let Some((name, example)) = left.lock().unwrap().next() else { break };
                    let begun = std::time::Instant::now();
                    runs(name, example, &images);
                    println!("{name} took {:?}", begun.elapsed());
                }
            });
        }
    });
}
