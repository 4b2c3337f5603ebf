//! How a shell on a server ends, other than by its user.

use super::{ServerFixture, shows, wait_for_line};
use crate::support::{GATED, job, serve, signal, stop, terminal::Terminal, text, wait_until};
use serde_json::Value;
use std::process::Stdio;

const HELD: &str = "name: hold\njobs:\n  unit: { image: \"IMAGE\", script: [\"sleep 8\", \"echo made > made\", \"false\"], artifacts: { paths: [made], when: always } }\n";

fn gated() -> ServerFixture {
    ServerFixture::new(&format!("name: ends\njobs:\n  unit: {{ image: \"IMAGE\", script: [\"{GATED}\"] }}\n"))
}

fn open(fixture: &ServerFixture, args: &[&str], introduction: &'static str) -> Terminal {
    let terminal = Terminal::run(&mut fixture.command(args), 100, 40, "");
    terminal.wait_for("the shell", shows(introduction));
    terminal.type_keys("echo rea\"dy\"\r");
    wait_for_line(&terminal, "ready");
    terminal
}

const BESIDE: &str = "a shell beside the running script";

#[test]
fn shell_ends_when_its_token_is_revoked() {
    let fixture = gated();
    let created =
        fixture.command(&["token", "create", "--name", "guest", "--scope", "admin"]).output().unwrap();
    let token = text(&created.stdout).trim().to_owned();
    let mut command = fixture.command(&["debug", "unit"]);
    let mut terminal = Terminal::run(command.env("TIDEMILL_TOKEN", &token), 100, 40, "");
    terminal.wait_for("the shell", shows(BESIDE));
    let revoked = fixture.output(&["token", "revoke", "guest"]);
    assert!(revoked.contains("revoked guest"), "{revoked} {created:?}");
    terminal.wait_for("the reason", shows("access was withdrawn"));
    assert_eq!(terminal.finish(), Some(3));
    assert!(!terminal.is_raw());
    let after = open(&fixture, &["debug", "unit"], BESIDE);
    after.type_keys("touch /tmp/go; exit\r");
    assert_eq!(fixture.finish("unit").0, Some(0));
}

#[test]
fn processes_of_a_shell_end_with_its_connection() {
    let fixture = gated();
    let terminal = open(&fixture, &["debug", "unit"], BESIDE);
    terminal.type_keys("sh -c 'trap : HUP; while true; do sleep 4242; done' & echo beg\"un\"; sleep 4243\r");
    wait_for_line(&terminal, "begun");
    signal(terminal.child(), "KILL");
    drop(terminal);
    let mut second = open(&fixture, &["debug", "unit"], BESIDE);
    second.type_keys(
        "while cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -q 'sleep 424[23]'; do sleep 0.2; done; echo go\"ne\"\r",
    );
    wait_for_line(&second, "gone");
    second.type_keys("touch /tmp/go; exit\r");
    assert_eq!(second.finish(), Some(0), "the script goes on");
    assert_eq!(fixture.finish("unit").0, Some(0));
}

#[test]
fn shell_that_never_opens_is_an_error() {
    let fixture =
        ServerFixture::new("name: ends\njobs:\n  unit: { image: \"IMAGE\", script: [\"sleep 8\"] }\n");
    let mut terminal = Terminal::run(&mut fixture.command(&["debug", "unit", "--on-failure"]), 100, 40, "");
    terminal.wait_for("the request", shows("waiting for a shell"));
    assert_eq!(terminal.finish(), Some(3));
    terminal.wait_for("the reason", shows("no shell was opened: the job has ended: SUCCESS"));
    assert_eq!(fixture.finish("unit").0, Some(0));
}

#[test]
fn lost_server_is_an_error_and_the_terminal_is_restored() {
    let mut fixture = gated();
    let mut terminal = open(&fixture, &["debug", "unit"], BESIDE);
    fixture.server.kill().unwrap();
    fixture.server.wait().unwrap();
    assert_eq!(terminal.finish(), Some(3));
    terminal.wait_for("the reason", shows("the connection to the server was lost"));
    assert!(!terminal.is_raw());
    fixture.run.kill().unwrap();
    fixture.run.wait().unwrap();
    // Its worker gives the containers of the last one back.
    let (server, _) = serve(&fixture.env, &fixture.env.dir.path().join("server"), "2");
    stop(server);
}

#[test]
fn job_that_is_held_after_its_script_keeps_its_result_when_the_worker_stops() {
    let mut fixture = ServerFixture::new(HELD);
    let mut terminal =
        open(&fixture, &["debug", "unit", "--on-failure"], "the script ended with exit code 1");
    signal(&fixture.server, "TERM");
    terminal.finish();
    assert!(!terminal.is_raw());
    drop(fixture.server.stdout.take());
    fixture.server.wait().unwrap();
    fixture.run.kill().unwrap();
    fixture.run.wait().unwrap();
    let (server, url) = serve(&fixture.env, &fixture.env.dir.path().join("server"), "2");
    fixture.url = url;
    let mut last = String::new();
    let ended = wait_until(|| {
        let listed = fixture.command(&["status", "--format", "json"]).stdin(Stdio::null()).output().unwrap();
        let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
        let id = listed[0]["id"].as_str().unwrap().to_owned();
        let view =
            fixture.command(&["status", "--format", "json", &id]).stdin(Stdio::null()).output().unwrap();
        let view: Value = serde_json::from_slice(&view.stdout).unwrap();
        last = job(&view, "unit").to_string();
        view["execution"]["status"] == "FAILED"
    });
    assert!(ended.is_ok(), "{last}");
    assert!(last.contains("\"attempt\":1"), "{last}");
    stop(server);
}

#[test]
fn cancel_ends_a_held_job_and_its_shell() {
    let fixture = ServerFixture::new(HELD);
    let mut terminal =
        open(&fixture, &["debug", "unit", "--on-failure"], "the script ended with exit code 1");
    terminal.type_keys("sleep 1000\r");
    let cancelled = fixture.output(&["cancel", "--yes"]);
    assert_eq!(terminal.finish(), Some(0), "{cancelled}");
    assert!(!terminal.is_raw());
    assert_eq!(fixture.finish("unit").0, Some(130), "{cancelled}");
}
