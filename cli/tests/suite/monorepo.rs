//! The example in `examples/monorepo` as a whole, natively and in GitLab's format, on every backend.

use crate::http_git::{HttpGit, ServerOptions};
use crate::support::{Backend, TestEnv, git::git, image, job, json, text};
use serde_json::Value;
use std::{fs, path::Path};
use tidemill_core::time::Timestamp;

/// The server of the example.
const SERVER: &str = "http://127.0.0.1:8418";

pub fn example(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/monorepo").join(path)
}

/// Copies the files below `from` to `to`, with changed text.
fn copy(from: &Path, to: &Path, change: &dyn Fn(&str) -> String) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to, change);
        } else {
            fs::write(to, change(&fs::read_to_string(from).unwrap())).unwrap();
        }
    }
}

/// Puts a repository on the server of `site`.
fn publish(repository: &Path, site: &Path, name: &str) {
    let bare = site.join(name);
    git(repository, &["clone", "-q", "--bare", ".", &bare.to_string_lossy()]);
    git(&bare, &["update-server-info"]);
}

/// The example on a git server of its own, as repositories `group/app` and `ci/templates`.
struct Example {
    env: TestEnv,
    /// The address of the templates.
    templates: String,
    /// The newest commit of the templates, which is tagged.
    tagged: String,
    _server: HttpGit,
}

impl Example {
    fn new(on: &Backend) -> Self {
        let pipeline = fs::read_to_string(example("app/.pipelines/ci.yml")).unwrap();
        let env = on.test_env(&pipeline);
        let site = env.dir.path().join("site");
        fs::create_dir(&site).unwrap();
        let server = HttpGit::start(&site, |_| ServerOptions::default());
        let change = |text: &str| {
            let named = text.replace("name: monorepo", &format!("name: {}", env.pipeline));
            named.replace(SERVER, server.url("").trim_end_matches('/')).replace("busybox", &image())
        };
        let templates = env.dir.path().join("templates");
        copy(&example("templates"), &templates, &change);
        git(&templates, &["init", "-q", "-b", "main"]);
        git(&templates, &["add", "-A"]);
        git(&templates, &["commit", "-q", "-m", "templates"]);
        git(&templates, &["tag", "v1"]);
        publish(&templates, &site, "ci/templates.git");
        let repo = env.repo();
        copy(&example("app"), &repo, &change);
        git(&repo, &["add", "-A"]);
        git(&repo, &["commit", "-q", "-m", "services"]);
        publish(&repo, &site, "group/app.git");
        let url = server.url("group/app.git");
        git(&repo, &["remote", "add", "origin", &url]);
        git(&repo, &["fetch", "-q", "origin"]);
        if env.deployment.is_some() {
            // A deployment contacts a server with a private address only for registered repositories.
            let added = env.tidemill(&["repo", "add", &url, "--provider", "gitea"]);
            assert_eq!(added.status.code(), Some(0), "{added:?}");
        }
        let tagged = git(&templates, &["rev-parse", "--short=8", "HEAD"]);
        Self { env, templates: server.url("ci/templates.git"), tagged, _server: server }
    }

    /// Runs the pipeline of `file`, and checks everything that a user sees of it.
    fn runs(&self, file: &str, services: &str) {
        let Self { env, templates, tagged, .. } = self;
        let plan = text(&env.tidemill(&["plan", "-f", file]).stdout);
        let line = |name: &str| {
            let found = plan.lines().find(|line| line.trim_start().starts_with(&format!("{name} ")));
            found.unwrap_or_else(|| panic!("{name}: {plan}")).to_owned()
        };
        assert!(plan.starts_with(&format!("{}: 6 job(s)\n", env.pipeline)), "{plan}");
        assert!(line("check").ends_with("  immediately"), "{plan}");
        assert!(line(services).ends_with("  starts services.yml  after stage(s) prepare"), "{plan}");
        assert!(line("look-again").ends_with("after stage(s) prepare, test, deploy, 3.0s later"), "{plan}");
        let elsewhere = text(&env.tidemill(&["plan", "-f", file, "--branch", "topic"]).stdout);
        assert!(
            elsewhere.contains("left out: 1 job(s)") && elsewhere.contains("\n  deploy  "),
            "{elsewhere}"
        );

        let run = env.tidemill(&["run", "-f", file]);
        assert_eq!(run.status.code(), Some(0), "{run:?}\n{}", env.log(services));
        let view = env.latest();
        let jobs: Vec<&str> =
            view["jobs"].as_array().unwrap().iter().map(|job| job["job_name"].as_str().unwrap()).collect();
        assert_eq!(jobs, ["version", "generate", "check", services, "deploy", "look-again"], "{view:#}");
        assert!(jobs.iter().all(|name| job(&view, name)["status"] == "SUCCESS"), "{view:#}");
        self.child_is_joined(&view, services);
        // Outputs are in a script, as the image, and in the address of the environment.
        assert!(env.log("deploy").contains("deploy 1.4 to staging\n"), "{}", env.log("deploy"));
        assert_eq!(job(&view, "deploy")["docker_image"], image().as_str(), "{view:#}");
        let listed = text(&env.tidemill(&["environments"]).stdout);
        let run_number = &view["execution"]["run_number"];
        let deployment = format!("{} #{run_number}", env.pipeline);
        assert!(listed.starts_with("staging  available  "), "{listed}");
        assert!(
            listed.contains(&deployment) && listed.contains("https://staging.example.org/1.4"),
            "{listed}"
        );
        let shown = env.json(&["environments", "show", "staging", "--format", "json"]);
        let current = &shown["current"];
        assert_eq!(current["execution_id"], view["execution"]["id"], "{shown:#}");
        assert_eq!((&current["status"], &current["job_name"]), (&"SUCCESS".into(), &"deploy".into()));
        // The delay begins at the end of what the job waits for.
        let time = |name: &str, key: &str| -> Timestamp {
            serde_json::from_value(job(&view, name)[key].clone()).unwrap()
        };
        let waited_ms = time("look-again", "start_time").since_ms(time("deploy", "end_time"));
        assert!(waited_ms >= 3_000, "{waited_ms} ms: {view:#}");
        assert!(env.log("look-again").contains("look at 1.4 again\n"), "{}", env.log("look-again"));

        let report = text(&env.on_latest(&["report"]).stdout);
        let included = format!("of {templates} (v1, commit {tagged})");
        assert!(report.contains(&included), "{included}: {report}");
        let started = format!("{services} started ");
        let line = report.lines().find(|line| line.starts_with(&started));
        assert!(line.is_some_and(|line| line.contains(" #1 success")), "{report}");
    }

    /// The pipeline that `generate` made ran with the templates, and is shown with the job that started it.
    fn child_is_joined(&self, view: &Value, services: &str) {
        let Self { env, templates, tagged, .. } = self;
        let child = &job(view, services)["child"];
        assert_eq!(child["status"], "SUCCESS", "{view:#}");
        let id = child["execution_id"].as_str().unwrap();
        let shown = json(&env.tidemill(&["status", "--format", "json", id]));
        assert_eq!(shown["execution"]["parent"]["job_name"], services, "{shown:#}");
        assert_eq!(shown["execution"]["parent"]["execution_id"], view["execution"]["id"], "{shown:#}");
        for service in ["api", "web"] {
            for name in [format!("build-{service}"), format!("test-{service}")] {
                assert_eq!(job(&shown, &name)["status"], "SUCCESS", "{shown:#}");
            }
            let log = text(&env.tidemill(&["logs", id, &format!("test-{service}")]).stdout);
            assert!(log.contains(&format!("{service} 1.4\n")), "{log}");
        }
        let report = text(&env.tidemill(&["report", id]).stdout);
        assert!(report.contains(&format!("of {templates} (v1, commit {tagged})")), "{report}");
    }
}

pub fn monorepo_example_runs(on: &Backend) {
    let mut example = Example::new(on);
    example.runs(".pipelines/ci.yml", "services");
    example.env.wait_until_clean();
}

pub fn monorepo_example_runs_as_gitlab_file(on: &Backend) {
    let mut example = Example::new(on);
    example.runs(".gitlab-ci.yml", "all-services");
    example.env.wait_until_clean();
}
