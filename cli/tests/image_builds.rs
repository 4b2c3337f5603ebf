//! Jobs that build images: with secrets, from the cache, pushed to a private registry.

use crate::support::{
    Backend, TestEnv, failure_kind, finish, image, job, registry::Registry, signal, text, wait_until,
};
use std::{
    fs,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
};

/// Writes a file of the repository.
fn write(env: &TestEnv, path: &str, content: &str) {
    let path = env.repo().join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// Runs the pipeline with this `DOCKER_CONFIG`; it must end with this exit code.
fn run(env: &TestEnv, config: &str, code: i32) -> String {
    run_with(env, &[], config, code)
}

/// Runs the pipeline like [`run`], with further arguments.
fn run_with(env: &TestEnv, args: &[&str], config: &str, code: i32) -> String {
    let mut command = env.command(&["run"]);
    command.args(args);
    command.env("HOME", env.dir.path()).env_remove("DOCKER_AUTH_CONFIG").env("DOCKER_CONFIG", config);
    let ended =
        finish(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
    let shown = text(&ended.stdout) + &text(&ended.stderr);
    assert_eq!(ended.status.code(), Some(code), "{shown}");
    shown
}

/// Removes the names that built images have in the engine, whose jobs printed `log`.
fn forget(log: &str) {
    for line in log.lines() {
        if let Some(id) = line.strip_prefix("Built ") {
            let listed = Command::new("docker")
                .args([
                    "images",
                    "--no-trunc",
                    "--format",
                    "{{.ID}} {{.Repository}}:{{.Tag}}",
                    "tidemill/build",
                ])
                .output()
                .unwrap();
            for (_, name) in text(&listed.stdout)
                .lines()
                .filter_map(|line| line.split_once(' '))
                .filter(|(of, _)| *of == id)
            {
                drop(Command::new("docker").args(["rmi", name]).output());
            }
        }
    }
}

#[test]
fn case_real_10_image_is_built_pushed_with_a_login_and_run_by_its_digest() {
    let registry = Registry::start();
    let unique = uuid::Uuid::new_v4();
    let name = format!("{}/team/built:1", registry.host());
    let file = format!(
        r#"
name: images
jobs:
  files:
    stage: build
    image: "{image}"
    script: ["echo {unique} > made.txt"]
    artifacts: {{ paths: [made.txt] }}
  pack:
    stage: test
    build:
      context: .
      args: {{ WORD: "w-{unique}" }}
      labels: {{ org.example.word: mill }}
      target: release
      tags: ["{name}"]
      push: true
  use:
    stage: deploy
    image: "${{IMAGE_REFERENCE}}"
    script: [cat /made.txt /word.txt, "echo in $IMAGE_REFERENCE"]
"#,
        image = image()
    );
    let env = TestEnv::new(&file);
    write(&env, ".dockerignore", "ignored.txt\n");
    write(&env, "ignored.txt", "");
    let dockerfile = format!(
        "FROM {} AS base\nARG WORD\nRUN echo slow && echo $WORD > /word.txt\n\nFROM base AS release\nCOPY . /\n\
         RUN test ! -e /ignored.txt\nFROM base\nRUN false\n",
        image()
    );
    write(&env, "Dockerfile", &dockerfile);
    let login = registry.login().display().to_string();
    run(&env, &login, 0);
    let log = env.log("pack");
    assert!(log.contains("slow\n") && log.contains("[release 1/2] COPY . /"), "{log}");
    assert!(log.contains(&format!("Pushing {name} as mill (")), "{log}");
    let digest = registry.digest(&name);
    let by_digest = format!("{}/team/built@{digest}", registry.host());
    assert!(log.contains(&format!("Pushed {by_digest}\n")), "{log}");
    let used = env.log("use");
    assert!(used.contains(&format!("\n{unique}\nw-{unique}\n")), "{used}");
    assert!(used.contains(&format!("\nin {by_digest}\n")), "{used}");
    registry.forget_images();
    let labels = {
        registry.docker(&["pull", "-q", &by_digest]);
        registry.docker(&["inspect", "--format", "{{json .Config.Labels}}", &by_digest])
    };
    assert!(labels.contains(r#""org.example.word":"mill""#), "{labels}");
    forget(&log);

    // The layers are still on the worker.
    write(&env, "more.txt", "");
    run(&env, &login, 0);
    let second = env.log("pack");
    assert!(second.contains("RUN echo slow") && second.contains(" CACHED\n"), "{second}");
    assert!(!second.contains(" slow\n"), "{second}");
    forget(&second);

    // Without the login.
    let nothing = registry.write_config("nothing", "{}").display().to_string();
    let shown = run(&env, &nothing, 1);
    assert_eq!(failure_kind(&env.latest(), "pack"), "registry_access_denied", "{shown}");
    forget(&env.log("pack"));
}

#[test]
fn build_fails_with_its_line_and_gets_secrets_and_the_files_of_its_script() {
    let file = format!(
        r#"
name: builds
jobs:
  broken: {{ build: {{ dockerfile: Broken }} }}
  slow: {{ timeout: 12s, build: {{ dockerfile: Slow }} }}
  platform: {{ build: {{ platform: linux/s390x }} }}
  absent: {{ build: {{ dockerfile: Absent }} }}
  agent: {{ build: {{ ssh: true }} }}
  secret:
    secrets: [TOKEN]
    build: {{ secrets: [TOKEN], dockerfile: Secret }}
  script:
    image: "{image}"
    script: ["echo {unique} > made.txt"]
    build: {{ dockerfile: Script }}
  unpushed:
    needs: [script]
    image: "${{IMAGE_REFERENCE}}"
    script: ["test -e /made.txt"]
"#,
        image = image(),
        unique = uuid::Uuid::new_v4()
    );
    let env = TestEnv::new(&file);
    let from = format!("FROM {}\n", image());
    // Not from the cache of an earlier run.
    let unique = uuid::Uuid::new_v4();
    let secret = format!("RUN --mount=type=secret,id=TOKEN cat /run/secrets/TOKEN && echo # {unique}\n");
    for (name, lines) in [
        ("Dockerfile", "RUN true\n"),
        ("Broken", "\nRUN echo one && \\\n  exit 4\n"),
        ("Slow", "RUN echo begun; sleep 100\n"),
        ("Secret", secret.as_str()),
        ("Script", "COPY made.txt /\nRUN cat /made.txt\n"),
    ] {
        write(&env, name, &(from.clone() + lines));
    }
    let ended = finish(
        env.command(&["run", "--secret", "TOKEN"])
            .env("TOKEN", "grist-to-the-mill")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    let view = env.latest();
    for (name, kind, message) in [
        ("broken", "script_failed", "at line 3 of Broken"),
        ("slow", "timed_out", "timeout of 12 s"),
        ("platform", "not_allowed", "linux/s390x"),
        ("absent", "script_failed", "no file `Absent`"),
        ("agent", "not_allowed", "ssh_agent ="),
        ("secret", "", ""),
        ("script", "", ""),
        ("unpushed", "", ""),
    ] {
        assert_eq!(failure_kind(&view, name), kind, "{name}: {view:#}");
        let reason = job(&view, name)["failure_reason"]["message"].as_str().unwrap_or_default();
        assert!(reason.contains(message), "{name}: {reason}");
        forget(&env.log(name));
    }
    let log = env.log("secret");
    assert!(log.contains(" [masked]\n") && !log.contains("grist"), "{log}");
    assert!(env.log("slow").contains("begun"), "{}", env.log("slow"));
    let forbidden = env.tidemill(&["run", "script", "--worker-config", "allow.build=false"]);
    assert_eq!(forbidden.status.code(), Some(1), "{forbidden:?}");
    assert_eq!(failure_kind(&env.latest(), "script"), "not_allowed");
}

#[test]
fn canceled_push_leaves_no_image_under_the_name_of_a_tag() {
    // Accepts connections and never replies.
    let registry = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let name = format!("{}/team/never:1", registry.local_addr().unwrap());
    let env = TestEnv::new(&format!(
        "name: hangs\njobs:\n  pack: {{ build: {{ context: app, tags: [\"{name}\"], push: true }} }}\n"
    ));
    write(&env, "app/Dockerfile", &format!("FROM {}\nLABEL tidemill.test=never\n", image()));
    let inspect = || Command::new("docker").args(["image", "inspect", &name]).output().unwrap();
    let mut run = env.spawn(&["run", "--follow", "pack"]);
    let mut lines = BufReader::new(run.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.starts_with("Pushing ")));
    wait_until(|| inspect().status.success()).unwrap();
    signal(&run, "INT");
    assert_eq!(finish(run).status.code(), Some(130));
    wait_until(|| !inspect().status.success()).unwrap();
    forget(&env.log("pack"));
}

#[test]
fn image_that_is_not_pushed_reaches_a_job_whose_engine_does_not_have_it() {
    let unique = uuid::Uuid::new_v4();
    let env = Backend::Server.test_env(&format!(
        r#"
name: shared
stages: [build, use]
jobs:
  pack:
    stage: build
    image: "{image}"
    script: ["echo {unique} > made.txt"]
    artifacts: {{ paths: [made.txt] }}
    build: .
  check:
    stage: use
    when: manual
    image: "${{IMAGE_REFERENCE}}"
    services: [{{ image: "${{IMAGE_ID}}", alias: built, command: [sh, -c, "cat /made.txt; sleep 600"] }}]
    script: [cmp made.txt /made.txt, cat /made.txt]
"#,
        image = image()
    ));
    write(&env, "Dockerfile", &format!("FROM {}\nCOPY made.txt /\n", image()));
    let run = env.spawn(&["run", "--quiet"]);
    env.wait_for("the image is built", |view| job(view, "pack")["status"] == "SUCCESS");
    let packed = env.log("pack");
    let id = packed.lines().find_map(|line| line.strip_prefix("Built ")).unwrap();
    assert!(packed.contains(&format!("\nStored {id} for other workers (")), "{packed}");
    let inspect = || Command::new("docker").args(["image", "inspect", id]).output().unwrap();
    forget(&packed);
    wait_until(|| !inspect().status.success()).expect("the engine forgets the image");
    let approved = env.on_latest(&["approve"]);
    assert_eq!(approved.status.code(), Some(0), "{approved:?}");
    let ended = finish(run);
    let used = env.log("check");
    assert_eq!(ended.status.code(), Some(0), "{used}");
    assert!(used.contains(&format!("Loading {id}, which `pack` built (")), "{used}");
    assert!(used.contains(&format!("\n{unique}\n")), "{used}");
    // Only files are artifacts for users.
    let listed = env.on_latest(&["artifacts"]);
    assert!(
        text(&listed.stdout).contains("made.txt") && !text(&listed.stdout).contains("sha256:"),
        "{listed:?}"
    );
    forget(&packed);
}

/// An SSH agent with a new key; it ends on drop.
struct Agent {
    process: Child,
    dir: tempfile::TempDir,
}

impl Agent {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("agent.sock");
        let process =
            Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn().unwrap();
        let agent = Self { process, dir };
        wait_until(|| socket.exists()).unwrap();
        let key = agent.dir.path().join("key");
        agent.run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key));
        agent.run(Command::new("ssh-add").arg("-q").arg(&key));
        agent
    }

    fn socket(&self) -> String {
        self.dir.path().join("agent.sock").display().to_string()
    }

    /// Returns the line with which `ssh-add -l` lists the key.
    fn key(&self) -> String {
        self.run(Command::new("ssh-add").arg("-l")).trim().to_owned()
    }

    fn run(&self, command: &mut Command) -> String {
        let output = command.env("SSH_AUTH_SOCK", self.socket()).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        text(&output.stdout)
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Copies a program of this machine and its libraries below `root`, at their own paths.
fn copy_program(name: &str, root: &Path) {
    let found = Command::new("sh").args(["-c", &format!("command -v {name}")]).output().unwrap();
    let program = text(&found.stdout).trim().to_owned();
    let libraries = Command::new("ldd").arg(&program).output().unwrap();
    let libraries = text(&libraries.stdout);
    let paths = libraries.split_whitespace().filter(|word| word.starts_with('/'));
    for path in paths.chain([program.as_str()]) {
        let target = root.join(path.trim_start_matches('/'));
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(path, target).unwrap();
    }
}

#[test]
fn build_reaches_the_ssh_agent_that_the_worker_allows_only_where_it_is_mounted() {
    let agent = Agent::start();
    let env = TestEnv::new("name: keys\njobs:\n  pack: { build: { ssh: true } }\n");
    copy_program("ssh-add", &env.repo().join("root"));
    let unique = uuid::Uuid::new_v4();
    let dockerfile = format!(
        "FROM {}\nCOPY root /\nRUN --mount=type=ssh ssh-add -l && echo # {unique}\nRUN ! ssh-add -l && echo # {unique}\n",
        image()
    );
    write(&env, "Dockerfile", &dockerfile);
    let allowed = format!("allow.ssh_agent={}", agent.socket());
    let config = env.dir.path().display().to_string();
    let shown = run_with(&env, &["--worker-config", &allowed], &config, 0);
    let log = env.log("pack");
    assert_eq!(log.matches(&agent.key()).count(), 1, "{log}\n{shown}");
    forget(&log);
}

/// Removes the layers that a build whose steps contain `word` left in the engine's cache.
fn prune_cache(word: &str) {
    let listed =
        Command::new("docker").args(["system", "df", "-v", "--format", "{{json .BuildCache}}"]).output();
    let layers: Vec<serde_json::Value> = serde_json::from_slice(&listed.unwrap().stdout).unwrap();
    let of_build = layers.iter().filter(|layer| layer.to_string().contains(word));
    let ids: Vec<&str> = of_build.filter_map(|layer| layer["ID"].as_str()).collect();
    assert!(!ids.is_empty(), "no layer of {word} in {layers:#?}");
    for id in ids {
        let filter = format!("id={id}");
        let pruned = Command::new("docker").args(["builder", "prune", "-af", "--filter", &filter]).output();
        assert!(pruned.unwrap().status.success());
    }
}

#[test]
fn build_takes_layers_from_an_image_of_a_registry_that_the_engine_does_not_have() {
    let registry = Registry::start();
    let name = format!("{}/team/cached:1", registry.host());
    let env = TestEnv::new(&format!(
        r#"
name: cached
jobs:
  push: {{ build: {{ tags: ["{name}"], push: true, inline_cache: true }} }}
  again: {{ build: . }}
  reuse: {{ build: {{ cache_from: ["{name}"] }} }}
"#
    ));
    let unique = uuid::Uuid::new_v4();
    write(
        &env,
        "Dockerfile",
        &format!("FROM {}\nRUN echo ran-$((40 + 2))-{unique} | tee /word.txt\n", image()),
    );
    let login = registry.login().display().to_string();
    let printed = format!("ran-42-{unique}\n");
    for (job, is_run) in [("push", true), ("again", true), ("reuse", false)] {
        let shown = run_with(&env, &[job], &login, 0);
        let log = env.log(job);
        assert_eq!(log.contains(&printed), is_run, "{job}: {log}\n{shown}");
        // `#5 [2/2] RUN echo ..`, and `#5 CACHED` or `#5 DONE 1.1s`.
        let step = log.lines().find(|line| line.contains("] RUN echo ran-")).unwrap();
        let cached = format!("\n{} CACHED\n", step.split(' ').next().unwrap());
        assert_eq!(log.contains(&cached), !is_run, "{job}: {log}");
        // Neither the image nor its layers stay in the engine.
        forget(&log);
        registry.forget_images();
        if is_run {
            prune_cache(&unique.to_string());
        }
    }
    let log = env.log("reuse");
    assert!(log.contains(&format!("importing cache manifest from {name}")), "{log}");
}

#[test]
fn case_everyday_34_build_starts_from_a_private_image_that_the_engine_lacks() {
    let registry = Registry::start();
    let base = registry.push("team/base:1");
    let env = TestEnv::new("name: based\njobs:\n  pack: { build: . }\n");
    let unique = uuid::Uuid::new_v4();
    write(&env, "Dockerfile", &format!("FROM {base}\nRUN echo ran-$((40 + 2))-{unique}\n"));
    let nothing = registry.write_config("nothing", "{}").display().to_string();
    run(&env, &nothing, 1);
    let log = env.log("pack");
    assert!(!log.contains(&format!("ran-42-{unique}")) && log.contains(&base), "{log}");
    assert_eq!(failure_kind(&env.latest(), "pack"), "registry_access_denied", "{log}");
    run(&env, &registry.login().display().to_string(), 0);
    let log = env.log("pack");
    assert!(log.contains(&format!("ran-42-{unique}\n")), "{log}");
    forget(&log);
    prune_cache(&unique.to_string());
}
