//! Cases about services.

use crate::{
    cases::project::Project,
    support::{engine_proxy::EngineProxy, finish, image},
};
use serde_json::Value;
use std::{
    io::Write,
    process::{Command, Stdio},
};

/// Builds an image that exposes `port`, and serves `text` there after `delay` seconds.
fn build_web_image(tag: &str, port: u16, delay: u32, text: &str) {
    let serve = format!("sleep {delay}; mkdir /w; echo {text} >/w/index.html; exec httpd -f -p {port} -h /w");
    let file = format!("FROM {}\nEXPOSE {port}\nCMD [\"sh\", \"-c\", \"{serve}\"]\n", image());
    let mut build = Command::new("docker")
        .args(["build", "-q", "-t", tag, "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    build.stdin.take().unwrap().write_all(file.as_bytes()).unwrap();
    assert!(build.wait().unwrap().success());
}

#[test]
fn case_everyday_29_services_of_one_image_share_a_port_and_an_exposed_port_is_awaited() {
    let file = r#"
talk:
  image: IMAGE
  services:
    - { name: "IMAGE", alias: one, command: [sh, -c, "mkdir /w; echo one >/w/index.html; exec httpd -f -p 8080 -h /w"] }
    - { name: "IMAGE", alias: "two,deux", command: [sh, -c, "mkdir /w; echo two >/w/index.html; exec httpd -f -p 8080 -h /w"] }
  script:
    - for i in $(seq 50); do wget -qO- http://one:8080/ && wget -qO- http://deux:8080/ && break; sleep 0.1; done
    - test "$(wget -qO- http://one:8080/)" = one
    - test "$(wget -qO- http://two:8080/)" = two
exposed:
  image: IMAGE
  services: [{ name: "tidemill-test-case-29:1", alias: web, pull_policy: never }]
  script:
    - test "$(wget -qO- http://web:8080/)" = exposed
    - test "$(wget -qO- http://tidemill-test-case-29:8080/)" = exposed
"#;
    build_web_image("tidemill-test-case-29:1", 8080, 2, "exposed");
    Project::new(&[(".gitlab-ci.yml", file)]).run(".gitlab-ci.yml", 0);
}

#[test]
fn case_everyday_29_health_port_of_a_slow_service_is_awaited() {
    let file = r#"
name: slow
jobs:
  talk:
    image: "IMAGE"
    services:
      - image: "IMAGE"
        alias: slow
        command: [sh, -c, "sleep 2; mkdir /w; echo slow >/w/index.html; exec httpd -f -p 8080 -h /w"]
        health: { port: 8080 }
    script: ['test "$(wget -qO- http://slow:8080/)" = slow']
"#;
    Project::new(&[("ci.yml", file)]).run("ci.yml", 0);
}

#[test]
fn case_real_09_services_are_awaited_know_each_other_and_keep_the_names_of_their_images() {
    let file = r#"
name: svc
defaults: { image: "IMAGE", pull_policy: never }
jobs:
  notready:
    services: ["tidemill-test-case-09:1"]
    script: ['test "$(wget -qO- http://tidemill-test-case-09:5432/)" = ready']
  between:
    services:
      - { image: "tidemill-test-case-09:1", alias: cache }
      - image: "IMAGE"
        alias: app
        command:
          - sh
          - -c
          - until wget -qO /tmp/index.html http://cache:5432/; do sleep 0.2; done; exec httpd -f -p 80 -h /tmp
        health: { port: 80 }
    script: ['test "$(wget -qO- http://app/)" = ready']
  names:
    services: [{ image: "tidemill-test-case-09:1", alias: cache }]
    script: ["wget -qO- http://cache:5432/", "wget -qO- http://tidemill-test-case-09:5432/"]
"#;
    build_web_image("tidemill-test-case-09:1", 5432, 2, "ready");
    Project::new(&[("ci.yml", file)]).run("ci.yml", 0);
}

#[test]
fn case_gitlab_11_service_that_ends_is_a_warning_with_its_log() {
    let file = r#"
job:
  image: IMAGE
  services: [{ name: "IMAGE", alias: init, command: [sh, -c, "echo prepared; exit 3"] }]
  script: [echo the job goes on]
"#;
    let project = Project::new(&[(".gitlab-ci.yml", file)]);
    project.run(".gitlab-ci.yml", 0);
    let log = project.log("job");
    let (warning, script) = log.split_once("prepared\n").unwrap();
    assert!(warning.contains("warning: the service `init` ended with exit code 3"), "{log}");
    assert!(script.contains("the job goes on\n"), "{log}");
    let native = r#"
name: required
jobs:
  job:
    image: "IMAGE"
    services: [{ image: "IMAGE", alias: init, command: [sh, -c, "echo prepared"], required: true }]
    script: [echo never]
"#;
    let project = Project::new(&[("ci.yml", native)]);
    project.run("ci.yml", 1);
    let log = project.log("job");
    assert!(log.contains("prepared\n") && !log.contains("never\n"), "{log}");
}

#[test]
fn case_gitlab_31_docker_engine_as_a_service_is_an_error_where_the_worker_allows_no_privileges() {
    let engine = format!("127.0.0.1:1/docker:dind-{}", std::process::id());
    let file = format!(
        r#"
job:
  image: IMAGE
  services:
    - name: "{engine}"
      command: [sh, -c, "mkdir /w; grep CapEff /proc/self/status > /w/caps; exec httpd -f -p 80 -h /w"]
  variables: {{ DOCKER_HOST: "tcp://docker:2375", DOCKER_TLS_CERTDIR: "" }}
  script: [wget -qO- http://docker/caps]
"#
    );
    let project = Project::new(&[(".gitlab-ci.yml", &file)]);
    let refused = project.tidemill(&["run"]);
    assert_eq!(refused.code, 2, "{refused:?}");
    let error = &refused.stderr;
    for part in [
        "error[not-allowed]: job `job`",
        "container: { privileged: true }` of the service",
        ".gitlab-ci.yml:4:",
        "`docker = \"sidecar\"` or `privileged = true`",
        "worker.toml",
    ] {
        assert!(error.contains(part), "{part:?} in {error}");
    }
    assert_ne!(project.tidemill(&["logs", "job"]).code, 0, "nothing ran");
    let checked = project.tidemill(&["check"]);
    assert!(checked.stdout.contains("privileged = true") && checked.stdout.contains(":5:"), "{checked:?}");
}

#[test]
fn case_gitlab_31_docker_engine_of_the_jobs_own_is_asked_for_where_the_worker_allows_it() {
    let engine = format!("tidemill-test-{}/docker:dind", std::process::id());
    docker(&["tag", &image(), &engine]);
    let file = format!(
        r#"
job:
  image: IMAGE
  services: [{{ name: "{engine}", alias: docker, command: [sleep, "60"] }}]
  variables: {{ DOCKER_HOST: "tcp://docker:2376", DOCKER_TLS_CERTDIR: /certs }}
  script: [echo "at $DOCKER_HOST"]
"#
    );
    let project = Project::new(&[(".gitlab-ci.yml", &file)]);
    let proxy = EngineProxy::start();
    let mut run = project.command(&["run", "--worker-config", "allow.docker=sidecar"]);
    let ended = finish(run.env("DOCKER_HOST", proxy.address()).spawn().unwrap());
    docker(&["rmi", &engine]);
    let log = project.log("job");
    // An engine that may not create privileged containers says so.
    let is_refused = log.contains("operation not permitted");
    assert_eq!(ended.status.code(), Some(if is_refused { 3 } else { 0 }), "{log}");
    assert!(is_refused || log.contains("\nat tcp://docker:2375\n"), "{log}");
    assert!(!log.contains("worker.toml"), "{log}");

    let created = proxy.created_containers();
    let (engines, jobs): (Vec<&Value>, Vec<&Value>) =
        created.iter().partition(|container| container["Image"] == engine.as_str());
    assert!(!engines.is_empty() && !jobs.is_empty(), "{created:#?}");
    for own in engines {
        let host = &own["HostConfig"];
        assert_eq!(host["Privileged"], true, "{own:#}");
        assert!(
            host["NetworkMode"].as_str().is_some_and(|name| !["host", "bridge"].contains(&name)),
            "{own:#}"
        );
        assert!(own["Env"].as_array().unwrap().contains(&"DOCKER_TLS_CERTDIR=".into()), "{own:#}");
        for key in ["Binds", "Mounts", "SecurityOpt"] {
            assert!(host[key].as_array().is_none_or(Vec::is_empty), "{key}: {own:#}");
        }
    }
    for job in jobs {
        assert_ne!(job["HostConfig"]["Privileged"], true, "{job:#}");
        assert!(!job["HostConfig"].to_string().contains("docker.sock"), "{job:#}");
    }
}

#[test]
fn pull_policies_of_a_gitlab_file_are_tried_in_their_order() {
    // The registry is down.
    let present = format!("127.0.0.1:1/tidemill-test-{}:1", uuid::Uuid::now_v7().simple());
    docker(&["tag", &image(), &present]);
    let missing = format!("127.0.0.1:1/tidemill-none-{}:1", uuid::Uuid::now_v7().simple());
    let file = format!(
        r#"
both: {{ image: {{ name: "{present}", pull_policy: [always, if-not-present] }}, script: [echo ran] }}
missing: {{ image: {{ name: "{missing}", pull_policy: [always, if-not-present] }}, script: [echo ran] }}
always: {{ image: {{ name: "{present}", pull_policy: [always] }}, script: [echo ran] }}
"#
    );
    let project = Project::new(&[(".gitlab-ci.yml", &file)]);
    let ran = project.tidemill(&["run"]);
    docker(&["rmi", &present]);
    let log = project.log("both");
    assert!(log.contains("\nran\n"), "{log} {ran:?}");
    assert!(log.contains(&format!("Pulling {present}\n")) && log.contains("warning: "), "{log}");
    assert!(log.contains("`pull_policy` allows the image that the engine has"), "{log}");
    for name in ["missing", "always"] {
        assert!(!project.log(name).contains("\nran\n"), "{name}: {}", project.log(name));
    }
}

fn docker(args: &[&str]) {
    let output = Command::new("docker").args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {output:?}");
}
