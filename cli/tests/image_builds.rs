//! Jobs that build images: with secrets, from the cache, pushed to a private registry.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::missing_panics_doc, missing_docs)]

mod support;

use std::{
    fs,
    io::{BufRead, BufReader},
    net::{Ipv4Addr, TcpListener},
    process::{Command, Stdio},
};
use support::{TestEnv, failure_kind, finish, image, registry::Registry, signal, text, wait_until};

/// Writes a file of the repository.
fn write(env: &TestEnv, path: &str, content: &str) {
    let path = env.repo().join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// Runs the pipeline with this `DOCKER_CONFIG`; it must end with this exit code.
fn run(env: &TestEnv, config: &str, code: i32) -> String {
    let mut command = env.command(&["run"]);
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
  slow: {{ timeout: 3s, build: {{ dockerfile: Slow }} }}
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
        ("slow", "timed_out", "timeout of 3 s"),
        ("platform", "not_allowed", "linux/s390x"),
        ("absent", "script_failed", "no file `Absent`"),
        ("agent", "not_allowed", "ssh_agent ="),
        ("secret", "", ""),
        ("script", "", ""),
        ("unpushed", "", ""),
    ] {
        assert_eq!(failure_kind(&view, name), kind, "{name}: {view:#}");
        let reason = support::job(&view, name)["failure_reason"]["message"].as_str().unwrap_or_default();
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
