//! Cases about the network of a company, and what jobs may ask for.

use crate::{
    cases::project::{Ended, Project},
    support::{finish, text},
};

const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nAUTHORITY\n-----END CERTIFICATE-----\n";

/// Runs the pipeline of `ci.yml` with these variables in the environment.
fn run(project: &Project, variables: &[(&str, String)], args: &[&str]) -> Ended {
    let mut command = project.command(&[&["run", "-f", "ci.yml"], args].concat());
    for name in
        ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY", "DOCKER_CONFIG"]
    {
        command.env_remove(name);
    }
    command.env("TIDEMILL_WORKER_CONFIG", project.repo().join("worker.toml"));
    command.envs(variables.iter().map(|(name, value)| (*name, value.as_str())));
    let output = finish(command.spawn().unwrap());
    Ended {
        code: output.status.code().unwrap_or(-1),
        stdout: text(&output.stdout),
        stderr: text(&output.stderr),
    }
}

#[test]
fn case_real_11_jobs_get_proxy_hosts_mounts_and_authorities_of_worker_toml() {
    let file = r#"
name: net
jobs:
  a:
    image: "IMAGE"
    services: [{ image: "IMAGE", alias: web, command: [sh, -c, "mkdir /w; echo direct >/w/index.html; exec httpd -f -p 80 -h /w"], health: { port: 80 } }]
    container: { shm_size: 128m, extra_hosts: { host.docker.internal: host-gateway } }
    script:
      - echo "proxy=$https_proxy none=$no_proxy site=$SITE"
      - grep -E 'host.docker.internal|db.corp' /etc/hosts
      - grep ' /dev/shm ' /proc/mounts
      - grep -c AUTHORITY "$SSL_CERT_FILE" /etc/ssl/certs/ca-certificates.crt
      - cat /sdk/tool
      - test "$(wget -Y off -qO- http://web/)" = direct
"#;
    let project = Project::new(&[("ci.yml", file), ("sdk/tool", "a tool\n"), ("ca.pem", CERTIFICATE)]);
    let repo = project.repo().display().to_string();
    let worker = format!(
        "[jobs]\nproxy = {{ http = \"http://proxy.invalid:1\", https = \"http://proxy.invalid:2\", no_proxy = \".corp\" }}\n\
         environment = {{ SITE = \"lab\" }}\nca_certificates = \"{repo}/ca.pem\"\nmounts = [\"{repo}/sdk:/sdk\"]\n\
         extra_hosts = {{ \"db.corp\" = \"10.9.8.7\" }}\n"
    );
    project.write("worker.toml", worker.as_bytes());
    let ended = run(&project, &[], &[]);
    let log = project.log("a");
    assert_eq!(ended.code, 0, "{ended:?}{log}");
    assert!(log.contains("proxy=http://proxy.invalid:2 none=.corp,localhost,127.0.0.1,::1,web"), "{log}");
    assert!(log.contains("site=lab\n") && log.contains("10.9.8.7") && log.contains("a tool\n"), "{log}");
    assert!(log.contains("host.docker.internal") && log.contains("size=131072k"), "{log}");
}

#[test]
fn case_real_11_run_passes_on_the_proxy_of_its_user() {
    let file = "name: net\njobs: { a: { image: \"IMAGE\", script: ['echo \"proxy=$https_proxy $HTTPS_PROXY\"'] } }\n";
    let config = r#"{ "proxies": { "default": { "httpsProxy": "http://configured.invalid:1" } } }"#;
    let project = Project::new(&[("ci.yml", file), ("worker.toml", ""), ("docker/config.json", config)]);
    let proxy = || ("HTTPS_PROXY", "http://exported.invalid:1".to_owned());
    assert_eq!(run(&project, &[proxy()], &["--force"]).code, 0);
    let log = project.log("a");
    assert!(log.contains("proxy=http://exported.invalid:1 http://exported.invalid:1\n"), "{log}");
    let docker = ("DOCKER_CONFIG", project.repo().join("docker").display().to_string());
    assert_eq!(run(&project, &[proxy(), docker], &["--force"]).code, 0);
    let log = project.log("a");
    assert!(log.contains("proxy=http://configured.invalid:1 http://configured.invalid:1\n"), "{log}");
}

#[test]
fn case_real_11_job_that_asks_for_more_names_the_key_and_where_to_allow_it() {
    let file = "name: net\njobs: { a: { image: \"IMAGE\", container: { cap_add: NET_ADMIN }, retry: 2, script: [echo ran] } }\n";
    let project = Project::new(&[("ci.yml", file), ("worker.toml", "")]);
    let denied = run(&project, &[], &["--force"]);
    assert_eq!(denied.code, 1, "{denied:?}");
    let log = project.log("a");
    let expected = ["cap_add: [NET_ADMIN]", "cap_add = [\"NET_ADMIN\"]", "worker.toml", "[allow]"];
    assert!(expected.iter().all(|text| log.contains(text)) && !log.contains("\nran\n"), "{log}");
    let allowed = run(&project, &[], &["--force", "--worker-config", "allow.cap_add=[\"NET_ADMIN\"]"]);
    assert_eq!(allowed.code, 0, "{allowed:?}");
    assert!(project.log("a").contains("\nran\n"));
    let invalid = run(&project, &[], &["--worker-config", "allow.cap_ad=x"]);
    assert!(invalid.code == 2 && invalid.stderr.contains("cap_ad"), "{invalid:?}");
}
