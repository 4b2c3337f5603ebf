//! Images of private registries: logins, failures and pulls.

use crate::support::{
    Backend, TestEnv, failure_kind, finish, job,
    registry::{PASSWORD, Registry, USER, auths_of},
    signal, text, wait_until,
};
use serde_json::Value;
use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

/// A job in `image` with a service in it, too.
fn pipeline(image: &str) -> String {
    // The password itself is not in the file, which is stored.
    let (start, end) = PASSWORD.split_at(6);
    format!(
        r#"
name: private
jobs:
  uses:
    image: "{image}"
    services: [{{ image: "{image}", alias: side, entrypoint: [sleep], command: ["60"] }}]
    script: ["echo it runs", "printf %s {start}; echo {end}"]
"#
    )
}

/// Runs the pipeline with these environment variables; every other source of logins is empty.
fn run(env: &TestEnv, variables: &[(&str, &str)]) -> Output {
    let mut command = env.command(&["run"]);
    let home = env.dir.path().join("home");
    command.env("HOME", &home).env_remove("DOCKER_CONFIG").env_remove("DOCKER_AUTH_CONFIG");
    for (name, value) in variables {
        command.env(name, value);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    finish(command.stderr(Stdio::piped()).spawn().unwrap())
}

fn write_helper(directory: &Path, name: &str, script: &str) {
    fs::create_dir_all(directory).unwrap();
    let path = directory.join(format!("docker-credential-{name}"));
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn case_everyday_34_logins_of_docker_configurations_pull_images_of_jobs_and_services() {
    let registry = Registry::start();
    let image = registry.push("team/app:1");
    let env = TestEnv::new(&pipeline(&image));
    let (auths, login) = (registry.auths(USER, PASSWORD), registry.login());
    let home = env.dir.path().join("home");
    let helpers = env.dir.path().join("bin");
    let reply = format!(r#"{{"ServerURL":"x","Username":"{USER}","Secret":"{PASSWORD}"}}"#);
    write_helper(
        &helpers,
        "mill",
        &format!("[ \"$1\" = get ] && [ \"$(cat)\" = {} ] && echo '{reply}'", registry.host()),
    );
    write_helper(&helpers, "none", "cat >/dev/null; echo credentials not found in native keychain; exit 1");
    let path = format!("{}:{}", helpers.display(), std::env::var("PATH").unwrap());
    let of_helper =
        registry.write_config("helper", &format!(r#"{{"credHelpers":{{"{}":"mill"}}}}"#, registry.host()));
    let of_store = registry.write_config("store", r#"{"auths":{},"credsStore":"mill"}"#);
    let fallback = registry.write_config("fallback", &auths.replacen('{', r#"{"credsStore":"none","#, 1));
    let text_of = |path: &Path| path.to_str().unwrap().to_owned();
    let cases: [(&str, Vec<(&str, String)>); 5] = [
        ("DOCKER_CONFIG", vec![("DOCKER_CONFIG", text_of(&login))]),
        ("DOCKER_AUTH_CONFIG", vec![("DOCKER_AUTH_CONFIG", auths.clone())]),
        ("credHelpers", vec![("DOCKER_CONFIG", text_of(&of_helper)), ("PATH", path.clone())]),
        ("credsStore", vec![("DOCKER_CONFIG", text_of(&of_store)), ("PATH", path.clone())]),
        ("a store without the login", vec![("DOCKER_CONFIG", text_of(&fallback)), ("PATH", path)]),
    ];
    for (case, variables) in &cases {
        registry.forget_images();
        let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let ran = run(&env, &variables);
        assert_eq!(ran.status.code(), Some(0), "{case}: {ran:?}");
        let log = env.log("uses");
        assert!(log.contains(&format!("Pulling {image} as {USER} (")), "{case}: {log}");
        assert!(
            log.contains("Pulling from team/app\n") && log.contains("\nStatus: Downloaded"),
            "{case}: {log}"
        );
        assert!(!log.contains(PASSWORD) || case.starts_with("cred"), "{case}: {log}");
        let shown = text(&ran.stdout) + &text(&ran.stderr);
        assert!(!shown.contains(PASSWORD) || case.starts_with("cred"), "{case}: {shown}");
    }
    // The user's own `docker login`, without any variable.
    registry.forget_images();
    fs::create_dir_all(home.join(".docker")).unwrap();
    fs::copy(login.join("config.json"), home.join(".docker/config.json")).unwrap();
    let ran = run(&env, &[]);
    assert_eq!(ran.status.code(), Some(0), "{ran:?}");
    assert!(!env.log("uses").contains(PASSWORD));
}

#[test]
fn case_real_03_denied_access_names_registry_and_user_and_is_not_retried() {
    let registry = Registry::start();
    let image = registry.push("team/app:1");
    let env = TestEnv::new(&pipeline(&image));
    let host = registry.host();
    let helpers = env.dir.path().join("bin");
    write_helper(&helpers, "fails", "cat >/dev/null; echo no session of ECR; exit 3");
    write_helper(&helpers, "garbage", &format!("cat >/dev/null; echo '{{{PASSWORD}'"));
    write_helper(&helpers, "flood", "cat >/dev/null; exec cat /dev/zero");
    let path = format!("{}:{}", helpers.display(), std::env::var("PATH").unwrap());
    let helper = |name: &str| format!(r#"{{"credHelpers":{{"{host}":"{name}"}}}}"#);
    let hint = format!("docker login {host}");
    let cases = [
        ("nothing", "{}".to_owned(), vec!["without credentials", hint.as_str(), "tidemill registry add"]),
        ("wrong", registry.auths(USER, "wrong-password"), vec!["to the user `mill`", "config.json"]),
        ("broken", "{\"auths\": oops".to_owned(), vec!["without credentials", "not valid JSON: line 1"]),
        ("no-helper", helper("absent"), vec!["docker-credential-absent", "could not be started"]),
        ("failing", helper("fails"), vec!["exit code 3: no session of ECR"]),
        ("garbage", helper("garbage"), vec!["no JSON with `Username`"]),
        ("flood", helper("flood"), vec!["more than 64 KiB"]),
        ("path", helper("../../x"), vec!["is not a name"]),
    ];
    for (case, config, expected) in &cases {
        let directory = registry.write_config(case, config);
        let ran = run(&env, &[("DOCKER_CONFIG", directory.to_str().unwrap()), ("PATH", &path)]);
        assert_eq!(ran.status.code(), Some(1), "{case}: {ran:?}");
        let view = env.latest();
        assert_eq!(failure_kind(&view, "uses"), "registry_access_denied", "{case}: {view:#}");
        assert_eq!(job(&view, "uses")["attempt"], 1, "{case}");
        let message = job(&view, "uses")["failure_reason"]["message"].as_str().unwrap().to_owned();
        for part in expected.iter().chain(&[host.as_str(), image.as_str()]) {
            assert!(message.contains(part), "{case}: `{part}` is not in: {message}");
        }
        let shown = text(&ran.stdout) + &text(&ran.stderr) + &env.log("uses") + &message;
        assert!(!shown.contains(PASSWORD) && !shown.contains("wrong-password"), "{case}: {shown}");
    }
}

#[test]
fn case_real_03_login_of_the_job_precedes_that_of_the_worker() {
    let registry = Registry::start();
    let image = registry.push("team/app:1");
    let of_job = registry.auths(USER, PASSWORD).replace('"', "\\\"");
    let text = pipeline(&image).replace(
        "    script:",
        &format!("    variables: {{ DOCKER_AUTH_CONFIG: \"{of_job}\" }}\n    script:"),
    );
    let env = TestEnv::new(&text);
    let wrong = registry.write_config("wrong", &registry.auths(USER, "wrong-password"));
    let ran = run(&env, &[("DOCKER_CONFIG", wrong.to_str().unwrap())]);
    assert_eq!(ran.status.code(), Some(0), "{ran:?}");
    let log = env.log("uses");
    assert!(log.contains("(the job's DOCKER_AUTH_CONFIG)") && log.contains("[masked]"), "{log}");
    assert!(!log.contains(PASSWORD), "{log}");
}

#[test]
fn digests_and_always_pull_with_the_login() {
    let registry = Registry::start();
    let tagged = registry.push("team/app:1");
    let digest = registry.digest(&tagged);
    let by_digest = format!("{}@{digest}", tagged.trim_end_matches(":1"));
    let text = format!(
        "\nname: digests\njobs:\n  pinned: {{ image: \"{by_digest}\", script: ['true'] }}\n  fresh: {{ image: \"{tagged}\", \
         needs: [pinned], pull_policy: always, script: ['true'] }}\n"
    );
    let env = TestEnv::new(&text);
    for round in 0..2 {
        let ran = run(&env, &[("DOCKER_CONFIG", registry.login().to_str().unwrap())]);
        assert_eq!(ran.status.code(), Some(0), "{ran:?}");
        assert!(env.log("fresh").contains(&format!("Pulling {tagged} as mill")), "{}", env.log("fresh"));
        assert_eq!(
            env.log("pinned").contains("Pulling"),
            round == 0,
            "present by its digest: {}",
            env.log("pinned")
        );
    }
}

#[test]
fn case_real_11_mirror_has_the_images_of_another_registry_and_of_docker_hub() {
    let (registry, mirror) = (Registry::start(), Registry::start());
    let name = format!("mill-{}", uuid::Uuid::now_v7().simple());
    let own = registry.push(&format!("team/{name}:1"));
    let hub = format!("{name}:1");
    mirror.push(&format!("library/{hub}"));
    let pinned = format!("{}@{}", own.trim_end_matches(":1"), registry.digest(&own));
    let text = format!(
        "\nname: mirrors\njobs:\n  hub: {{ image: \"{hub}\", script: ['true'] }}\n  own: {{ image: \"{own}\", needs: [hub], \
         script: ['true'] }}\n  pinned: {{ image: \"{pinned}\", needs: [own], script: ['true'] }}\n"
    );
    let mut env = TestEnv::new(&text);
    let worker = env.dir.path().join("worker.toml");
    let host = mirror.host();
    let mirrors = format!(
        "[images]\npull_policy = \"always\"\nmirrors = {{ \"docker.io\" = [\"127.0.0.1:1\", \"{host}\"], \"{}\" = [\"{host}\"] }}\n",
        registry.host()
    );
    fs::write(&worker, mirrors).unwrap();
    // One configuration has the logins of both registries.
    let of_mirror = mirror.auths(USER, PASSWORD).replacen(r#"{"auths":{"#, ",", 1);
    let both = registry.auths(USER, PASSWORD).trim_end_matches("}}").to_owned() + &of_mirror;
    let variables =
        [("DOCKER_AUTH_CONFIG", both.as_str()), ("TIDEMILL_WORKER_CONFIG", worker.to_str().unwrap())];
    let ran = run(&env, &variables);
    assert_eq!(ran.status.code(), Some(0), "{ran:?}");
    let log = env.log("hub");
    assert!(log.contains(&format!("Pulling {hub} from {host}/library/{hub}\n")), "{log}");
    assert!(
        log.contains("127.0.0.1:1/library/") && log.contains("does not have it"),
        "a mirror that is down: {log}"
    );
    let log = env.log("own");
    assert!(log.contains(&format!("{host}/team/{name} does not have it")), "{log}");
    assert!(log.contains(&format!("Pulling {own} as {USER}")), "{log}");
    let log = env.log("pinned");
    assert!(log.contains(&format!("Pulling {pinned} as {USER}")) && !log.contains(&host), "{log}");

    // Once the mirror has it, the registry is not asked.
    mirror.push(&format!("team/{name}:1"));
    let asked = registry.log().len();
    let ran = run(&env, &variables);
    assert_eq!(ran.status.code(), Some(0), "{ran:?}");
    let log = env.log("own");
    assert!(log.contains(&format!("Pulling {own} from {host}/team/{name}:1\n")), "{log}");
    assert!(!registry.log()[asked..].contains(&format!("/team/{name}/manifests/1")), "{}", registry.log());
    env.wait_until_clean();
    mirror.docker(&["rmi", &hub]);
}

#[test]
fn server_error_of_a_registry_is_retried() {
    let registry = Registry::start();
    registry.push("team/app:1");
    let proxy = registry.failing_proxy(2);
    let image = format!("{proxy}/team/app:1");
    let env = TestEnv::new(&pipeline(&image));
    let auths = registry.auths(USER, PASSWORD).replace(&registry.host(), &proxy);
    let ran = run(&env, &[("DOCKER_AUTH_CONFIG", &auths)]);
    assert_eq!(ran.status.code(), Some(0), "{ran:?}");
    assert!(job(&env.latest(), "uses")["attempt"].as_u64().unwrap() > 1, "{}", env.log("uses"));
    registry.docker(&["rmi", &image]);
}

#[test]
fn case_everyday_34_login_stored_on_a_server_reaches_the_workers_of_its_repository_only() {
    let registry = Registry::start();
    let image = registry.push("team/app:1");
    let mut env = Backend::Server.test_env_with_logs(&pipeline(&image));
    let host = registry.host();
    let denied = env.tidemill(&["run"]);
    assert_eq!(denied.status.code(), Some(1), "{denied:?}");
    assert_eq!(failure_kind(&env.latest(), "uses"), "registry_access_denied");

    let add = ["registry", "add", &host, "--username", USER, "--password-stdin"];
    let mut add = env.command(&add);
    let mut add = add.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    writeln!(add.stdin.take().unwrap(), "{PASSWORD}").unwrap();
    let added = finish(add);
    assert_eq!(added.status.code(), Some(0), "{added:?}");
    let listed = text(&env.tidemill(&["registry", "list"]).stdout);
    assert!(listed.starts_with(&format!("{host}  {USER}  set ")) && !listed.contains(PASSWORD), "{listed}");

    let ran = env.tidemill(&["run", "--force"]);
    assert_eq!(ran.status.code(), Some(0), "{ran:?}");
    let log = env.log("uses");
    assert!(log.contains("(`tidemill registry`)") && log.contains("[masked]"), "{log}");
    let shown = text(&ran.stdout) + &text(&ran.stderr) + &log + &env.latest().to_string();
    assert!(!shown.contains(PASSWORD), "{shown}");

    let removed = env.tidemill(&["registry", "remove", &host]);
    assert_eq!(removed.status.code(), Some(0), "{removed:?}");
    let again = env.tidemill(&["registry", "remove", &host]);
    assert_eq!(again.status.code(), Some(2), "{again:?}");
    env.wait_until_clean();
    // Records, logs, queue and the processes' own logs are all in the directory.
    let found = Command::new("grep")
        .args(["-rlaF", PASSWORD])
        .arg(env.dir.path())
        .args(["--exclude=ci.yml", "--exclude-dir=.git"])
        .output()
        .unwrap();
    assert_eq!(text(&found.stdout), "", "the password is in these files");
}

/// Returns what `docker inspect` shows of the containers of an environment, once `count` of them run in this image.
fn inspected(env: &TestEnv, image: &str, count: usize) -> String {
    let mut shown = String::new();
    wait_until(|| {
        let mut command = Command::new("docker");
        shown = text(&command.arg("inspect").args(env.containers()).output().unwrap().stdout);
        let all: Vec<Value> = serde_json::from_str(&shown).unwrap_or_default();
        let is_one = |one: &&Value| one["Config"]["Image"] == image && one["State"]["Running"] == true;
        all.iter().filter(is_one).count() >= count
    })
    .unwrap_or_else(|()| panic!("not {count} containers: {shown}"));
    shown
}

#[test]
fn case_everyday_34_login_is_no_part_of_the_containers_of_jobs_and_services() {
    let registry = Registry::start();
    let image = registry.push("team/app:1");
    let text_of = format!(
        "name: kept\njobs:\n  uses:\n    image: \"{image}\"\n    services: [{{ image: \"{image}\", alias: side, entrypoint: \
         [sleep], command: [\"600\"] }}]\n    script: [sleep 600]\n"
    );
    for is_stored in [false, true] {
        let mut env = if is_stored { Backend::Server.test_env(&text_of) } else { TestEnv::new(&text_of) };
        let mut command = env.command(&["run", "--force"]);
        command.env_remove("DOCKER_CONFIG").env("HOME", env.dir.path());
        if is_stored {
            let args = ["registry", "add", &registry.host(), "--username", USER, "--password-stdin"];
            let mut add = env.command(&args).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
            writeln!(add.stdin.take().unwrap(), "{PASSWORD}").unwrap();
            assert!(add.wait().unwrap().success());
        } else {
            command.env("DOCKER_AUTH_CONFIG", registry.auths(USER, PASSWORD));
        }
        let run = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let shown = inspected(&env, &image, 2);
        let auths = registry.auths(USER, PASSWORD);
        // It is in base64 in such a file.
        let encoded = auths.rsplit('"').nth(1).unwrap();
        for secret in [PASSWORD, encoded] {
            assert!(!shown.contains(secret), "{secret}: {shown}");
        }
        signal(&run, "INT");
        finish(run);
        env.wait_until_clean();
        registry.forget_images();
    }
}

/// Passes connections to a server, and its replies slowly.
fn slow_proxy(server: &str, bytes_per_second: usize) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = server.to_owned();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let upstream = TcpStream::connect(&server).unwrap();
            let (mut from, mut to) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
            thread::spawn(move || drop(std::io::copy(&mut from, &mut to)));
            thread::spawn(move || {
                let (mut upstream, mut client) = (upstream, client);
                let mut buffer = vec![0; bytes_per_second / 20];
                while let Ok(length @ 1..) = upstream.read(&mut buffer) {
                    if client.write_all(&buffer[..length]).is_err() {
                        return;
                    }
                    thread::sleep(Duration::from_millis(50));
                }
                let _ = client.shutdown(Shutdown::Both);
            });
        }
    });
    address
}

#[test]
fn progress_of_a_pull_is_shown_in_bytes() {
    let registry = Registry::start();
    // Random bytes, which no compression makes smaller.
    let image = registry.push_with_layer("team/large:1", 8 << 20);
    let address = slow_proxy(&registry.host(), 2 << 20);
    let image = image.replace(&registry.host(), &address);
    let env =
        TestEnv::new(&format!("name: large\njobs:\n  uses: {{ image: \"{image}\", script: [\"true\"] }}\n"));
    let run = run(&env, &[("DOCKER_AUTH_CONFIG", &auths_of(&address, USER, PASSWORD)), ("CI", "true")]);
    let shown = text(&run.stdout);
    registry.forget(&image);
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    let progress =
        regex::Regex::new(r"job uses is pulling image \((\d+\.\d) of (\d+\.\d) MiB\): (\S+)").unwrap();
    let said: Vec<_> = progress.captures_iter(&shown).collect();
    assert_eq!(said.len(), 1, "{shown}");
    let number = |index: usize| said[0][index].parse::<f64>().unwrap();
    assert!(number(1) <= number(2) && (7.9..8.2).contains(&number(2)), "{shown}");
    assert_eq!(&said[0][3], image);
}
