//! Cases about the network of a company, and what jobs may ask for.

use crate::{
    cases::project::{Ended, Project},
    support::{engine_proxy::EngineProxy, finish, image, text},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};
use std::{fs, path::Path, process::Command};

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

#[test]
fn devices_and_gpus_that_a_worker_allows_reach_the_container() {
    let file = r#"
name: devices
jobs:
  device:
    image: "IMAGE"
    container: { devices: ["/dev/null", "/dev/zero:/dev/endless:r"] }
    script: head -c 3 /dev/endless | od -An -tx1
  all: { image: "IMAGE", container: { gpus: all }, script: ["true"] }
  two: { image: "IMAGE", container: { gpus: 2 }, script: ["true"] }
  named: { image: "IMAGE", container: { gpus: "device=0,GPU-1" }, script: ["true"] }
"#;
    let project =
        Project::new(&[("ci.yml", file), ("worker.toml", "[allow]\ndevices = [\"/dev/*\"]\ngpus = true\n")]);
    let ended = run(&project, &[], &["--force", "device"]);
    let log = project.log("device");
    assert!(ended.code == 0 && log.contains("\n 00 00 00\n"), "{ended:?}{log}");

    // An engine without such a runtime refuses the containers; what it is asked for is the same.
    let proxy = EngineProxy::start();
    for job in ["device", "all", "two", "named"] {
        run(&project, &[("DOCKER_HOST", proxy.address())], &["--force", job]);
    }
    let created = proxy.created_containers();
    let has = |key: &str, expected: &Value| {
        created.iter().any(|container| container["HostConfig"][key] == *expected)
    };
    let mapped = |host: &str, inside: &str, rights: &str| json!({ "PathOnHost": host, "PathInContainer": inside, "CgroupPermissions": rights });
    let devices = json!([mapped("/dev/null", "/dev/null", "rwm"), mapped("/dev/zero", "/dev/endless", "r")]);
    assert!(has("Devices", &devices), "{created:#?}");
    for request in [json!({ "Count": -1 }), json!({ "Count": 2 }), json!({ "DeviceIDs": ["0", "GPU-1"] })] {
        let mut request = request;
        request["Capabilities"] = json!([["gpu"]]);
        assert!(has("DeviceRequests", &json!([request])), "{request}: {created:#?}");
    }
    let plain = created.iter().filter(|container| container["HostConfig"]["DeviceRequests"].is_null());
    assert!(plain.count() > 0, "the job without GPUs asks for none: {created:#?}");
}

#[test]
fn settings_in_the_configuration_directory_of_the_user_apply_to_runs() {
    let file = "name: home\njobs: { a: { image: \"IMAGE\", script: ['echo \"site=$SITE\"'] } }\n";
    let settings = |site: &str| format!("[jobs]\nenvironment = {{ SITE = \"{site}\" }}\n");
    let project = Project::new(&[
        ("ci.yml", file),
        ("xdg/tidemill/worker.toml", &settings("xdg")),
        ("home/.config/tidemill/worker.toml", &settings("home")),
        ("other.toml", &settings("other")),
    ]);
    let path = |name: &str| project.repo().join(name);
    let site = |configure: &dyn Fn(&mut Command)| {
        let mut command = project.command(&["run", "-f", "ci.yml", "--force"]);
        command.env("HOME", path("home")).env_remove("XDG_CONFIG_HOME").env_remove("TIDEMILL_WORKER_CONFIG");
        configure(&mut command);
        let output = finish(command.spawn().unwrap());
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let log = project.log("a");
        log.lines().find_map(|line| line.strip_prefix("site=")).unwrap().to_owned()
    };
    assert_eq!(site(&|_| {}), "home");
    assert_eq!(site(&|command| _ = command.env("XDG_CONFIG_HOME", path("xdg"))), "xdg");
    let both = |command: &mut Command| {
        command.env("XDG_CONFIG_HOME", path("xdg")).env("TIDEMILL_WORKER_CONFIG", path("other.toml"));
    };
    assert_eq!(site(&both), "other");
}

/// Copies a program of this machine, with its libraries, below `root`.
fn copy_program(program: &str, root: &Path) {
    let listed = Command::new("ldd").arg(program).output().unwrap();
    let libraries = text(&listed.stdout);
    let files = libraries.split_ascii_whitespace().filter(|word| word.starts_with('/'));
    for file in files.chain([program]) {
        let target = root.join(&file[1..]);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(file, target).unwrap();
    }
}

#[test]
fn case_real_11_programs_of_a_job_trust_the_authority_of_the_company() {
    // An authority, and a certificate of its for a server.
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(rcgen::DnType::CommonName, "The company's authority");
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(["web.corp".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();

    let file = r#"
name: tls
jobs:
  get:
    image: TOOLS
    services:
      - image: TOOLS
        alias: web.corp
        entrypoint: [sh, -c]
        command: ["echo \"$CERTIFICATE\" >/server.pem; exec openssl s_server -quiet -WWW -accept 443 -cert /server.pem -key /server.pem"]
        variables: { CERTIFICATE: "PEM" }
        health: { port: 443 }
    script:
      # By the variables, as most programs find the authorities; then as those of the system.
      - curl -sS https://web.corp/etc/hosts | grep localhost
      - env -u SSL_CERT_FILE -u CURL_CA_BUNDLE curl -sS https://web.corp/etc/hosts | grep localhost
      - openssl s_client -verify_return_error -connect web.corp:443 </dev/null >/dev/null 2>&1 && echo verified
"#;
    let name = format!("tidemill-test-{}:1", uuid::Uuid::now_v7().simple());
    let context = tempfile::tempdir().unwrap();
    let root = context.path().join("root");
    for program in ["/usr/bin/curl", "/usr/bin/openssl"] {
        copy_program(program, &root);
    }
    // The system of this image has no authorities yet, and the file that it has them in.
    fs::create_dir_all(root.join("etc/ssl/certs")).unwrap();
    fs::write(root.join("etc/ssl/certs/ca-certificates.crt"), "").unwrap();
    fs::write(context.path().join("Dockerfile"), format!("FROM {}\nCOPY root/ /\n", image())).unwrap();
    docker(&["build", "-q", "-t", &name, context.path().to_str().unwrap()]);

    let pem = (key.serialize_pem() + &certificate.pem()).replace('\n', "\\n");
    let file = file.replace("TOOLS", &name).replace("PEM", &pem);
    let project = Project::new(&[("ci.yml", &file), ("ca.pem", &authority.pem()), ("worker.toml", "")]);
    let unknown = run(&project, &[], &["--force"]);
    let log = project.log("get");
    assert!(unknown.code == 1 && log.contains("certificate"), "{unknown:?}{log}");
    let worker = format!("jobs.ca_certificates={:?}", project.repo().join("ca.pem").display().to_string());
    let known = run(&project, &[], &["--force", "--worker-config", &worker]);
    let log = project.log("get");
    docker(&["rmi", "-f", &name]);
    assert_eq!(known.code, 0, "{known:?}{log}");
    assert!(log.contains("\nverified\n"), "{log}");
}

fn docker(args: &[&str]) {
    let output = Command::new("docker").args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {output:?}");
}
