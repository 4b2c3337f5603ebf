//! What users mistype, paste and interrupt, and what a repository or a server may contain: commands act on nothing else than they
//! were asked to, end in time, and say what is wrong.

mod server;

use crate::support::{TestEnv, finish, signal, text, wait_until};
use serde_json::{Value, json};
use server::{FakeServer, ID, Reply, execution, ok};
use std::{
    fs::{self, File},
    io::Read,
    os::unix::fs::symlink,
    process::{Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

const PLAIN: &str = "name: plain\njobs:\n  j: { image: \"IMAGE\", script: [\"true\"] }\n";
/// A job with two artifacts, and one with one.
const ARTIFACTS: &str = "name: made\ndefaults: { image: \"IMAGE\" }\njobs:\n  j: { script: [\"echo 1 > a\"], artifacts: { \
                         paths: [a] } }\n  k: { script: [\"echo 2 > a\"], artifacts: { paths: [a] } }\n";

/// Returns the exit code and both outputs of a command.
fn output(done: &Output) -> (i32, String, String) {
    (done.status.code().unwrap_or(-1), text(&done.stdout), text(&done.stderr))
}

/// Returns the exit code and both outputs of a command on a server.
fn on(server: &FakeServer, env: &TestEnv, args: &[&str]) -> (i32, String, String) {
    output(&finish(spawned(
        env.command(args).env("TIDEMILL_SERVER", &server.url).env("TIDEMILL_TOKEN", "secret"),
    )))
}

fn spawned(command: &mut Command) -> std::process::Child {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Interrupts `run` on a server `count` times while the server starts the execution. Returns exit code, standard error, and whether
/// the execution was canceled.
fn interrupted_while_starting(count: usize) -> (i32, String, bool) {
    let is_released = Arc::new(AtomicBool::new(false));
    let released = is_released.clone();
    let env = TestEnv::new(PLAIN);
    let repo = env.repo().to_string_lossy().into_owned();
    let is_canceled = AtomicBool::new(false);
    let server = FakeServer::start(move |request| -> Reply {
        let status = if is_canceled.load(Ordering::Relaxed) { "CANCELED" } else { "RUNNING" };
        match request.split('/').nth(3).and_then(|part| part.split('?').next()) {
            Some("execute") => {
                while !released.load(Ordering::Relaxed) {
                    std::thread::sleep(std::time::Duration::from_millis(10));
                }
                ok(&json!({
                    "execution_id": ID, "repo": repo, "run_number": 1, "pipeline_name": "ci", "status": "RUNNING",
                    "attached": false,
                }))
            }
            Some("cancel") => {
                is_canceled.store(true, Ordering::Relaxed);
                ok(&json!({ "canceled": true, "status": "CANCELED" }))
            }
            Some("upload") => ok(&json!({ "url": null })),
            _ => ok(&execution(status, status, &repo)),
        }
    });
    let mut child = spawned(
        env.command(&["run", "--upload-all"]).env("TIDEMILL_SERVER", &server.url).env("TIDEMILL_TOKEN", "t"),
    );
    wait_until(|| server.requests().iter().any(|head| head.contains("/execute"))).expect("a request");
    let mut stderr = child.stderr.take().unwrap();
    for number in 0..count {
        signal(&child, "INT");
        if number == 0 {
            // Its message shows that the first interrupt was received.
            let mut seen = Vec::new();
            while !text(&seen).contains("interrupt again") {
                let mut byte = [0];
                stderr.read_exact(&mut byte).expect("the process waits for the reply");
                seen.push(byte[0]);
            }
        }
    }
    // After the second one, the command does not wait for the reply.
    is_released.store(count == 1, Ordering::Relaxed);
    let done = finish(child);
    let mut rest = String::new();
    stderr.read_to_string(&mut rest).unwrap();
    let is_canceled =
        server.requests().iter().any(|head| head.starts_with(&format!("post /api/pipeline/cancel/{ID}")));
    (done.status.code().unwrap_or(-1), rest, is_canceled)
}

#[test]
fn interrupt_while_an_execution_starts_cancels_it() {
    let (code, shown, is_canceled) = interrupted_while_starting(1);
    assert!(code == 130 && is_canceled, "{code} {shown}");
}

#[test]
fn second_interrupt_while_an_execution_starts_exits_at_once() {
    let (code, shown, is_canceled) = interrupted_while_starting(2);
    assert!(code == 130 && !is_canceled, "{code} {shown}");
}

#[test]
fn endless_files_are_rejected() {
    let env = TestEnv::new(PLAIN);
    symlink("/dev/zero", env.repo().join(".pipelines/endless.yml")).unwrap();
    let zero = "/dev/zero";
    for args in [
        &["check", zero][..],
        &["check"],
        &["run", "-f", zero],
        &["import", zero],
        &["plan", "-f", ".pipelines/ci.yml", "--env-file", zero],
        &["secret", "set", "A", "--value-file", zero],
        &["secret", "set", "A"],
        &["run", "-f", ".pipelines/ci.yml", "--worker-config", zero],
        &["repo", "add", "https://example.org/a.git", "--provider", "github", "--secret-file", zero],
    ] {
        let mut command = env.command(args);
        command.stdin(File::open(zero).unwrap()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let (code, _, shown) = output(&finish(command.spawn().unwrap()));
        assert!(code == 2 && shown.contains("bytes, the maximum"), "{args:?}: {code} {shown}");
    }
    let config = spawned(env.command(&["status"]).env("TIDEMILL_CONFIG", zero));
    let (code, _, shown) = output(&finish(config));
    assert!(code == 2 && shown.contains("/dev/zero has more than"), "{code} {shown}");
}

#[test]
fn git_variables_of_a_hook_do_not_select_another_repository() {
    let (env, other) = (TestEnv::new(PLAIN), TestEnv::new(PLAIN));
    let pipeline = "name: facts\njobs:\n  j: { image: i, script: [x], rules: [{ if: branch == \"topic\" }] }\n  k: { image: i, script: [x] }\n";
    fs::write(env.repo().join(".pipelines/ci.yml"), pipeline).unwrap();
    let switched =
        Command::new("git").current_dir(other.repo()).args(["switch", "-q", "-c", "topic"]).status().unwrap();
    assert!(switched.success());
    let plan = |dir: Option<&TestEnv>| {
        let mut command = env.command(&["plan", "--format", "json"]);
        if let Some(other) = dir {
            command.env("GIT_DIR", other.repo().join(".git"));
        }
        let (code, shown, _) = output(&finish(spawned(&mut command)));
        assert_eq!(code, 0, "{shown}");
        shown
    };
    // The branch is `main`, so the plan leaves the job out.
    assert_eq!(plan(Some(&other)), plan(None));
}

#[test]
fn failure_of_a_command_with_json_is_one_document() {
    let env = TestEnv::new(PLAIN);
    for (args, exit, message) in [
        (&["status", "7", "--format", "json"][..], 2, "no run #7"),
        (&["logs", "nobody", "--format=json"], 2, "no matching execution"),
        (&["plan", "-f", "absent.yml", "--format", "json"], 2, "absent.yml cannot be read"),
        (&["check", "absent.yml", "--format", "json"], 2, "absent.yml cannot be read"),
        (&["run", "nobody", "--format", "json"], 2, "has no job `nobody`"),
        (&["artifacts", "1", "-o", "out", "--format", "json"], 2, "no run #1"),
        (&["open", "--format", "json"], 2, "have no page"),
        (&["token", "revoke", "nobody", "--format", "json"], 2, "no token has the name"),
        (&["dead-letters", "--retry", "--format", "json"], 2, "--retry needs a server"),
        (&["logout", "--format", "json"], 2, "no profiles"),
        (&["import", "absent.yml", "--format", "json"], 2, "absent.yml cannot be read"),
        (&["init", "-o", ".pipelines/ci.yml", "--format", "json"], 2, "already exists"),
        (&["status", "--bogus", "--format", "json"], 2, "unexpected argument '--bogus'"),
        (&["status", "--data-dir", "/dev/null", "--format", "json"], 3, "cannot be used"),
    ] {
        let (code, out, err) = output(&env.tidemill(args));
        let document: Value =
            serde_json::from_str(&out).unwrap_or_else(|error| panic!("{args:?}: {error}: {out}"));
        let error = &document["error"];
        assert_eq!((code, &error["exit_code"]), (exit, &json!(exit)), "{args:?}: {out}");
        assert!(
            error["message"].as_str().unwrap().contains(message) && err.contains(message),
            "{args:?}: {out}"
        );
    }
    // A document that is a result is the only one.
    fs::write(env.repo().join("bad.yml"), "name: x\n").unwrap();
    let (code, out, _) = output(&env.tidemill(&["check", "bad.yml", "--format", "json"]));
    assert!(code == 2 && serde_json::from_str::<Value>(&out).unwrap().is_array(), "{out}");
}

#[test]
fn commands_that_change_something_print_their_result_as_json() {
    let env = TestEnv::new(PLAIN);
    let server = FakeServer::start(|request| {
        let is_health = request.starts_with("get /api/health");
        let list = json!({ "executions": [], "next_cursor": null });
        let letters = json!({ "dead_letters": [], "next_cursor": null });
        match request {
            _ if is_health => ok(&json!({ "status": "ok", "version": "1", "problems": [] })),
            _ if request.starts_with("get /api/job/dead-letters") => ok(&letters),
            _ => ok(&list),
        }
    });
    fs::write(env.repo().join(".gitlab-ci.yml"), "j: { image: i, script: [x] }\n").unwrap();
    let json = |args: &[&str]| {
        let (code, out, err) = output(&env.tidemill(&[args, &["--format", "json"]].concat()));
        assert_eq!(code, 0, "{args:?}: {out}{err}");
        serde_json::from_str::<Value>(&out).unwrap_or_else(|error| panic!("{args:?}: {error}: {out}"))
    };
    let init = json(&["init", "-o", "new.yml"]);
    assert_eq!(init["created"], "new.yml");
    assert!(init["image"].is_string() && init["kind"].is_null(), "{init}");
    let import = json(&["import", "-o", "imported.yml"]);
    assert_eq!((&import["created"], &import["from"]), (&json!("imported.yml"), &json!(".gitlab-ci.yml")));
    let login = json(&["login", &server.url, "--token", "t", "--profile", "ci"]);
    assert_eq!(login, json!({ "server": server.url, "profile": "ci", "default": false }));
    let dismissed = json(&["dead-letters", "--dismiss", "--profile", "ci"]);
    assert_eq!(dismissed, json!([]));
    let retried = json(&["dead-letters", "--retry", "--profile", "ci"]);
    assert_eq!(retried, json!([]));
    let logout = json(&["logout", "--profile", "ci"]);
    assert_eq!(logout, json!({ "removed": "ci", "server": server.url, "revoked": false }));
}

#[test]
fn extracted_artifacts_are_printed_as_json_and_bad_directories_named() {
    let mut env = TestEnv::new(ARTIFACTS);
    let (code, out, err) = output(&env.tidemill(&["run", "--quiet"]));
    assert_eq!(code, 0, "{out}{err}");
    let listed = env.json(&["artifacts", "--output", "out", "--format", "json"]);
    let directories: Vec<&str> =
        listed["directories"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert!(directories.contains(&"out/j") && directories.contains(&"out/k"), "{listed}");
    assert_eq!(fs::read_to_string(env.repo().join("out/j/a")).unwrap(), "1\n");
    fs::write(env.repo().join("file"), "").unwrap();
    fs::create_dir(env.repo().join("links")).unwrap();
    symlink("/tmp", env.repo().join("links/j")).unwrap();
    for (directory, exit, reason) in [
        ("file", 2, "is not a directory"),
        ("file/x", 2, "is not a directory"),
        ("/proc/x", 3, "cannot be created"),
    ] {
        let (code, _, shown) = output(&env.tidemill(&["artifacts", "1", "j", "-o", directory]));
        assert!(
            code == exit && shown.contains(reason) && shown.contains(directory),
            "{directory}: {code} {shown}"
        );
    }
    env.wait_until_clean();
}

#[test]
fn redirect_is_named_and_the_token_stays() {
    let env = TestEnv::new(PLAIN);
    let other = FakeServer::start(|_| ok(&json!({ "executions": [] })));
    let location = other.url.clone();
    let server = FakeServer::start(move |_| (302, format!("location: {location}/x\r\n"), Vec::new()));
    for args in [&["status"][..], &["run", "--upload-all"], &["login", &server.url]] {
        let (code, _, shown) = on(&server, &env, args);
        assert!(
            code == 2 && shown.contains(&format!("redirects to {}/x", other.url)),
            "{args:?}: {code} {shown}"
        );
    }
    assert_eq!(other.requests(), Vec::<String>::new());
    // Not repeated: the redirect stays.
    assert_eq!(server.requests().len(), 3, "{:?}", server.requests());
}

#[test]
fn reply_of_another_kind_of_server_is_explained_and_long_ones_are_cut() {
    let env = TestEnv::new(PLAIN);
    let other = FakeServer::start(|_| (404, String::new(), b"<html>no such page</html>".to_vec()));
    let (code, _, shown) = on(&other, &env, &["status"]);
    assert!(code == 2 && shown.contains(&format!("check the address {}", other.url)), "{code} {shown}");
    let long = FakeServer::start(|_| {
        let problem = json!({ "detail": format!("long {}", "x".repeat(1 << 20)) });
        (400, String::new(), problem.to_string().into_bytes())
    });
    let (code, _, shown) = on(&long, &env, &["status"]);
    assert!(code == 2 && shown.contains("long xxx") && shown.len() < 10_000, "{code} {}", shown.len());
}

#[test]
fn addresses_tokens_and_profiles_are_checked_before_anything_is_sent() {
    let env = TestEnv::new(PLAIN);
    let server = FakeServer::start(|_| ok(&json!({ "status": "ok", "version": "1", "problems": [] })));
    let with_password = server.url.replace("http://", "http://user:pa55@");
    for (address, reason) in [
        ("", "`` is not a valid address"),
        ("ci", "`ci` is not a valid address"),
        (&with_password, "has a user name or a password"),
        (&format!("{}/?a=b", server.url), "has a query"),
    ] {
        for args in
            [&["status", "--token", "t", "--server", address][..], &["login", "--token", "t", address]]
        {
            let (code, out, err) = output(&env.tidemill(args));
            assert!(code == 2 && err.contains(reason), "{args:?}: {err}");
            assert!(!err.contains("pa55") && out.is_empty(), "{args:?}: {err}");
        }
    }
    let long = "x".repeat(300);
    for profile in ["", "a\nb", "a\u{1b}[2J", &long] {
        let (code, _, err) =
            output(&env.tidemill(&["login", &server.url, "--token", "t", "--profile", profile]));
        assert!(code == 2 && err.contains("profile"), "{profile:?}: {code} {err}");
    }
    assert_eq!(server.requests(), Vec::<String>::new());
    let (code, _, err) = output(&env.tidemill(&["status", "--server", &server.url, "--token", "a\nb"]));
    assert!(code == 2 && err.contains("the token has characters"), "{code} {err}");
}

#[test]
fn variables_have_names_that_a_shell_can_use() {
    let env = TestEnv::new(PLAIN);
    for arg in ["1A=secret", "A B=secret", "=secret", "export A=secret", "A-B=secret"] {
        let (code, _, shown) = output(&env.tidemill(&["plan", "-e", arg]));
        assert!(
            code == 2 && shown.contains("expected NAME=VALUE") && !shown.contains("secret"),
            "{arg}: {shown}"
        );
    }
    for (line, is_valid) in
        [("export A=secret", false), ("1=secret", false), ("A=se\0cret", false), (" A =x=y", true)]
    {
        fs::write(env.repo().join("env"), format!("\u{feff}FIRST=1\r\n# comment\n{line}\n")).unwrap();
        let (code, _, shown) = output(&env.tidemill(&["plan", "--env-file", "env"]));
        assert_eq!(code, if is_valid { 0 } else { 2 }, "{line}: {shown}");
        assert!(is_valid || shown.contains("env:3: ") && !shown.contains("secret"), "{line}: {shown}");
    }
}

#[test]
fn suggested_commands_are_quoted() {
    let env = TestEnv::new(PLAIN);
    fs::write(
        env.dir.path().join("config.toml"),
        "[profiles.\"a; b\"]\nserver = \"http://127.0.0.1:1\"\ntoken = \"t\"\n",
    )
    .unwrap();
    let config = env.dir.path().join("config.toml");
    let mode = |mode: &str| Command::new("chmod").arg(mode).arg(&config).status().unwrap();
    assert!(mode("600").success());
    let (_, _, shown) = output(&env.tidemill(&["run", "--secret", "A", "--profile", "a; b"]));
    assert!(shown.contains("tidemill secret set A --profile 'a; b'"), "{shown}");
    let (_, _, shown) = output(&env.tidemill(&["status", "--profile", "c; d"]));
    assert!(shown.contains("tidemill login URL --profile 'c; d'"), "{shown}");
    let (_, _, shown) = output(&env.tidemill(&["init", "-o", "my file.yml"]));
    let (_, out, _) = output(&env.tidemill(&["init", "-o", "my file.yml", "--force"]));
    assert!(out.contains("next: tidemill run -f 'my file.yml'"), "{out}{shown}");
    // A broken line of the file may have a token.
    fs::write(&config, "[profiles.a]\nserver = \"x\"\ntoken = \"unended secret\nx\n").unwrap();
    let (code, _, shown) = output(&env.tidemill(&["status"]));
    assert!(code == 2 && shown.contains("config.toml:") && !shown.contains("secret"), "{shown}");
}

#[test]
fn numbers_from_one_do_not_take_zero() {
    let env = TestEnv::new(PLAIN);
    for args in [&["logs", "--attempt", "0"][..], &["audit", "--limit", "0"], &["status", "--limit", "0"]] {
        let (code, _, shown) = output(&env.tidemill(args));
        assert!(code == 2 && shown.contains("0 is not in 1.."), "{args:?}: {shown}");
    }
}

#[test]
fn file_as_home_directory_has_no_profiles() {
    let env = TestEnv::new(PLAIN);
    let status = spawned(env.command(&["status"]).env("HOME", "/dev/null").env_remove("TIDEMILL_CONFIG"));
    let (code, out, err) = output(&finish(status));
    assert_eq!((code, out.as_str()), (0, "no executions; `tidemill run` starts one\n"), "{err}");
}

#[test]
fn file_that_is_named_twice_is_no_duplicate() {
    let (env, other) = (TestEnv::new(PLAIN), TestEnv::new(PLAIN));
    let elsewhere = other.repo().join(".pipelines/ci.yml");
    fs::copy(env.repo().join(".pipelines/ci.yml"), &elsewhere).unwrap();
    let (file, elsewhere) = (".pipelines/ci.yml", elsewhere.to_string_lossy());
    let (code, out, _) = output(&env.tidemill(&["check", file, file, &elsewhere]));
    assert_eq!(code, 0, "{out}");
    fs::copy(env.repo().join(file), env.repo().join(".pipelines/two.yml")).unwrap();
    let (code, out, _) = output(&env.tidemill(&["check", file, ".pipelines/two.yml"]));
    assert!(code == 2 && out.contains("duplicate-pipeline"), "{out}");
}

/// A small tmpfs mount; it is unmounted on drop.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(size: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", size, "tmpfs"]).arg(dir.path());
        assert!(
            mount.status().unwrap().success(),
            "this test mounts a small tmpfs: run it as root, as CI does"
        );
        Self(dir)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn disk_that_is_full_while_sources_are_stored_exits_with_3() {
    let env = TestEnv::new(PLAIN);
    // Git cannot compress it.
    let mut random = vec![0; 8 << 20];
    File::open("/dev/urandom").unwrap().read_exact(&mut random).unwrap();
    fs::write(env.repo().join("large"), random).unwrap();
    let disk = SmallDisk::mount("size=4m");
    let data = disk.0.path().join("data");
    let (code, _, shown) = output(&finish(spawned(env.command(&["run"]).env("TIDEMILL_DATA_DIR", &data))));
    assert!(code == 3 && shown.contains("the disk of ") && shown.contains(" left"), "{code} {shown}");
}
