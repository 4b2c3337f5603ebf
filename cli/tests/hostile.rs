//! Text from a server, a repository or a job never controls the terminal. Every command runs against a server that sends hostile
//! text, in a pipe with forced colours and on a terminal.

use crate::support::TestEnv;
use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};
use serde_json::{Value, json};
use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
};

const PLAIN: &str = "name: plain\njobs:\n  j: { image: \"IMAGE\", script: [\"true\"] }\n";
/// Sets a title, clears the screen, uses a colour that Tidemill never uses, an 8-bit sequence and reversed text, and adds a line.
const HOSTILE: &str =
    "ev\u{1b}]0;PWNED\u{7}\u{1b}[2J\u{1b}[95mil\u{9b}31m\u{202e}\u{200b}\u{1b}P1$q\u{1b}\\\u{8}\r\nFAKED";
const LOG: &[u8] = b"\x1b[31mred\x1b[0m 10%\r20%\n\x1b]0;PWNED\x07\x1b[2J\x1b[5A\x1b[6n\xc2\x9b2J\x1b]8;;http://x\x1b\\link\n";
const ID: &str = "01980000-0000-7000-8000-000000000001";
const AT: &str = "2026-11-25T10:00:00Z";

/// Returns the server's status and reply for a path.
fn answer(path: &str) -> (u16, Value) {
    let h = HOSTILE;
    let execution = json!({
        "id": ID, "kind": "run_pipeline", "pipeline_name": h, "run_number": 1, "repo": h, "branch": h, "commit": h, "status": "FAILED",
        "trigger": "push", "requested_by": h, "created_at": AT, "start_time": AT, "end_time": AT,
    });
    let failure = json!({ "kind": "engine_failed", "message": h });
    let attempt = json!({
        "attempt": 1, "started_at": AT, "ended_at": AT, "exit_code": 1, "failure": failure, "worker": h,
    });
    let job = json!({
        "id": ID, "pipeline_execution_id": ID, "stage": h, "job_name": h, "docker_image": h, "status": "FAILED",
        "needs": [h], "allow_failure": false, "runs_on": { h: h }, "attempt": 2, "attempts": [attempt],
        "queued_at": AT, "start_time": AT, "end_time": AT, "exit_code": 1, "failure_reason": failure,
        "steps": [], "phase": h, "log_bytes": LOG.len(),
    });
    let mut waiting = job.clone();
    waiting["status"] = json!("PENDING");
    waiting["approval"] = json!("awaited");
    let case = json!({ "suite": h, "name": h, "file": h, "message": h });
    let counts =
        json!({ "tests": 2, "failures": 1, "errors": 0, "skipped": 0, "flaky": 1, "duration_ms": 5 });
    let report = json!({ "counts": counts, "failed": [case], "flaky": [case] });
    let token = json!({
        "id": ID, "name": h, "scopes": ["run"], "repo": h, "created_at": AT, "created_by": h,
    });
    let created = json!({
        "execution_id": ID, "repo": h, "run_number": 2, "pipeline_name": h, "status": "FAILED", "attached": true,
    });
    let reply = match path.split('/').take(4).collect::<Vec<_>>().join("/").as_str() {
        "/api/pipeline/executions" => json!({ "executions": [execution], "next_cursor": null }),
        "/api/pipeline/status" => json!({ "execution": execution, "stages": [h], "jobs": [job, waiting] }),
        "/api/pipeline/tests" => {
            json!({ "counts": counts, "jobs": [{ "job_id": ID, "job_name": h, "report": report }] })
        }
        "/api/pipeline/summary" => json!({
            "counts": { "failures": 1, "warnings": 0, "notices": 0, "left_out": 1 },
            "summaries": [{ "job_id": ID, "job_name": h, "size": 1, "shown": true }],
            "annotations": [{
                "job_id": ID, "job_name": h, "level": "failure", "path": h, "line": 1, "title": h, "message": h,
            }],
        }),
        "/api/job/summary" => json!(h),
        "/api/pipeline/cancel" => json!({ "canceled": false, "status": h }),
        "/api/pipeline/retry" | "/api/pipeline/execute" => created,
        "/api/job/dead-letters" => {
            json!({ "dead_letters": [{ "job": job, "execution": execution }], "next_cursor": null })
        }
        "/api/source/upload" => json!({ "url": null }),
        "/api/job/dismiss" => json!({ "dismissed": true }),
        "/api/artifact/list" => json!({ "artifacts": [{
            "id": ID, "job_execution_id": ID, "job_name": h, "file_path": h, "name": h, "expose_as": h,
            "uploaded_at": AT, "size": 1,
            "sha256": h, "encoding": h, "files": [{ "path": h, "size": 1 }], "expires_at": null,
        }] }),
        "/api/token" => json!({ "tokens": [token] }),
        "/api/audit" => json!({ "entries": [{
            "at": AT, "token": h, "who": h, "action": h, "target": h, "repo": h, "from": h, "outcome": h,
        }], "next_cursor": null }),
        "/api/repository" => json!({ "removed": true, "repositories": [{
            "name": h, "url": h, "provider": "github", "statuses": true, "default_branch": h, "approval": "forks",
            "trouble": h, "updated_at": AT,
        }] }),
        "/api/secret" => json!({ "secrets": [{
            "repo": h, "environment": h, "name": h, "updated_at": AT, "updated_by": h,
        }] }),
        // Approvals and all other requests: an error with hostile text.
        _ => {
            let problem = json!({ "type": "tidemill:conflict", "title": h, "status": 409, "detail": h, "diagnostics": [] });
            return (409, problem);
        }
    };
    (200, reply)
}

fn serve(mut stream: TcpStream) {
    let mut lines = BufReader::new(stream.try_clone().unwrap());
    loop {
        let mut head = String::new();
        if lines.read_line(&mut head).unwrap_or(0) == 0 {
            return;
        }
        let mut length = 0;
        loop {
            let mut line = String::new();
            if lines.read_line(&mut line).unwrap_or(0) == 0 || line == "\r\n" {
                break;
            }
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        lines.read_exact(&mut vec![0; length]).unwrap();
        let target = head.split(' ').nth(1).unwrap();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let (status, headers, body) = if path.starts_with("/api/job/logs/") {
            let offset = query.split('&').find_map(|part| part.strip_prefix("offset="));
            let offset: usize = offset.unwrap_or("0").parse().unwrap();
            let headers = format!("x-tidemill-log-next: {}\r\nx-tidemill-log-end: true\r\n", LOG.len());
            (200, headers, LOG[offset.min(LOG.len())..].to_vec())
        } else {
            let (status, reply) = answer(path);
            (status, "etag: \"1\"\r\n".to_owned(), reply.to_string().into_bytes())
        };
        let head = format!("HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n", body.len());
        if stream.write_all(&[head.as_bytes(), &body].concat()).is_err() {
            return;
        }
    }
}

/// A server that sends hostile text, and an environment for its clients.
struct HostileServer {
    env: TestEnv,
    url: String,
}

impl HostileServer {
    fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                std::thread::spawn(|| serve(stream.unwrap()));
            }
        });
        Self { env: TestEnv::new(PLAIN), url }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.env.command(args);
        command
            .env("TIDEMILL_SERVER", &self.url)
            .env("TIDEMILL_TOKEN", "token")
            .env("TERM", "xterm-256color");
        command.env_remove("NO_COLOR").env_remove("CI").stdin(Stdio::null());
        command
    }

    /// Returns exit code and output of a command that writes to pipes with forced colours.
    fn piped(&self, args: &[&str]) -> (i32, String) {
        let output = self.command(args).env("CLICOLOR_FORCE", "1").output().unwrap();
        let both = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(both).unwrap())
    }

    /// Returns the output of a command on a terminal.
    fn on_terminal(&self, args: &[&str]) -> String {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let size = Winsize { ws_row: 50, ws_col: 200, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&master, size).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let open = || Stdio::from(File::options().read(true).write(true).open(&name).unwrap());
        let mut child = self.command(args).stdout(open()).stderr(open()).spawn().unwrap();
        let mut bytes = Vec::new();
        // Reading fails once no process has the terminal open.
        let _ = File::from(master).read_to_end(&mut bytes);
        child.wait().unwrap();
        String::from_utf8(bytes).unwrap()
    }
}

/// Returns the control sequences in `text` other than colours and line ends. `cursor`: also ignores cursor movement of the live
/// view.
fn control_sequences(text: &str, cursor: bool) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c == '\u{1b}' {
            let body = rest.strip_prefix('[').unwrap_or_default();
            let parameters = body.chars().take_while(|c| c.is_ascii_digit() || *c == ';').count();
            let action = body[parameters..].chars().next().unwrap_or('?');
            if action == 'm' || cursor && matches!(action, 'A' | 'K') {
                rest = &body[parameters + 1..];
                continue;
            }
            // A frame is shown at once.
            if let Some(after) = body.strip_prefix("?2026h").or_else(|| body.strip_prefix("?2026l"))
                && cursor
            {
                rest = after;
                continue;
            }
        }
        let is_line_end = c == '\n' || c == '\r' && rest.starts_with('\n') || cursor && c == '\r';
        if !is_line_end && (tidemill_core::text::is_control(c) || tidemill_core::text::is_invisible(c)) {
            found.push(format!("{c:?} before {:?}", rest.chars().take(20).collect::<String>()));
        }
    }
    // A colour and a line from the server's text.
    found.extend(text.contains("\u{1b}[95m").then(|| "a colour".to_owned()));
    found.extend(text.lines().any(|line| line.starts_with("FAKED")).then(|| "a line".to_owned()));
    found
}

/// Returns every command that shows text from a server.
fn commands() -> Vec<Vec<&'static str>> {
    let repo = ["--repo", HOSTILE];
    let with_repo = |args: &[&'static str]| [args, &repo].concat();
    vec![
        with_repo(&["status"]),
        with_repo(&["status", "--format", "json"]),
        with_repo(&["status", "1"]),
        with_repo(&["status", "1", "--format", "json"]),
        vec!["status", "--all-repositories"],
        vec!["status", "1"],
        with_repo(&["report"]),
        with_repo(&["report", "--format", "json"]),
        with_repo(&["report", "--format", "junit"]),
        with_repo(&["report", "--cost"]),
        with_repo(&["artifacts"]),
        with_repo(&["artifacts", "--format", "json"]),
        with_repo(&["artifacts", "--output", "out"]),
        with_repo(&["cancel"]),
        vec!["cancel", ID],
        with_repo(&["cancel", "nobody"]),
        with_repo(&["approve"]),
        with_repo(&["approve", HOSTILE]),
        with_repo(&["retry"]),
        with_repo(&["watch"]),
        vec!["watch", ID],
        with_repo(&["dead-letters"]),
        with_repo(&["dead-letters", "--format", "json"]),
        with_repo(&["dead-letters", "--retry"]),
        with_repo(&["dead-letters", "--dismiss"]),
        vec!["token", "list"],
        vec!["token", "list", "--format", "json"],
        vec!["token", "revoke", ID],
        vec!["audit"],
        vec!["audit", "--format", "json"],
        vec!["repo", "list"],
        vec!["repo", "list", "--format", "json"],
        vec!["repo", "sync", HOSTILE],
        vec!["repo", "remove", HOSTILE],
        vec!["secret", "list"],
        vec!["secret", "list", "--format", "json"],
        vec!["secret", "remove", HOSTILE],
        vec!["run"],
        vec!["run", "--format", "json"],
    ]
}

#[test]
fn server_text_does_not_control_the_terminal() {
    let hostile = HostileServer::start();
    for args in commands() {
        let (code, output) = hostile.piped(&args);
        assert!(output.contains("FAKED"), "{args:?} shows no text of the server ({code}): {output}");
        assert_eq!(control_sequences(&output, false), [""; 0], "{args:?}: {output:?}");
    }
}

#[test]
fn server_text_does_not_control_the_terminal_in_the_live_view() {
    let hostile = HostileServer::start();
    for args in [
        &["watch", ID][..],
        &["run"],
        &["status", "--repo", HOSTILE],
        &["report", "--repo", HOSTILE],
        &["approve", "--repo", HOSTILE],
    ] {
        let output = hostile.on_terminal(args);
        assert!(output.contains("FAKED"), "{args:?}: {output:?}");
        assert_eq!(control_sequences(&output, true), [""; 0], "{args:?}: {output:?}");
    }
}

#[test]
fn arguments_do_not_control_the_terminal() {
    let hostile = HostileServer::start();
    let option = format!("--{HOSTILE}");
    let label = format!("{HOSTILE}=");
    for args in [
        &[HOSTILE][..],
        &["status", &option],
        &["status", "--status", HOSTILE],
        &["status", "--limit", HOSTILE],
        &["run", "--label", HOSTILE],
        &["run", "--worker-config", &label],
        &["status", "--profile", HOSTILE, "--server", ""],
        &["plan", "-e", HOSTILE],
        &["check", HOSTILE],
        &["man", HOSTILE],
    ] {
        let output = hostile.on_terminal(args);
        assert!(!output.contains("\u{1b}[2J") && !output.contains("\u{1b}]0"), "{args:?}: {output:?}");
        let hidden = ['\u{9b}', '\u{202e}', '\u{200b}', '\u{8}'];
        assert!(!output.contains(hidden), "{args:?}: {output:?}");
    }
}

#[test]
fn log_keeps_colours_on_a_terminal_and_all_bytes_in_a_pipe() {
    let hostile = HostileServer::start();
    let log = ["logs", ID, HOSTILE];
    let shown = hostile.on_terminal(&log);
    assert!(shown.contains("\u{1b}[31mred\u{1b}[0m 10%\r20%\r\n"), "{shown:?}");
    assert!(shown.contains("\\u{9b}2Jlink\r\n"), "{shown:?}");
    for hidden in ["PWNED", "\u{1b}[2J", "\u{1b}[5A", "\u{1b}[6n", "\u{1b}]8"] {
        let log = shown.split_once("red").unwrap().1;
        assert!(!log.contains(hidden), "{hidden:?} in {shown:?}");
    }
    let raw = hostile.on_terminal(&[&log[..], &["--raw"]].concat());
    assert!(raw.contains("\u{1b}]0;PWNED\u{7}\u{1b}[2J\u{1b}[5A\u{1b}[6n"), "{raw:?}");
    let piped = hostile.command(&log).output().unwrap();
    assert_eq!(piped.stdout, LOG);
}

#[test]
fn hostile_pipeline_file_does_not_control_the_terminal() {
    let hostile = HostileServer::start();
    let file = hostile.env.repo().join("bad.yml");
    for text in [
        "name: \"a\\e]0;PWNED\\a\\nFAKED\"\njobs: {}\n".to_owned(),
        format!("name: x\njobs:\n  \"{}\": {{ script: [\"true\"] }}\n", HOSTILE.replace(['\n', '\u{8}'], "")),
        format!("name: x\nunknown: '{}'\njobs: {{}}\n", HOSTILE.replace(['\n', '\r'], "")),
    ] {
        fs::write(&file, &text).unwrap();
        for args in
            [&["check", "bad.yml"][..], &["check", "bad.yml", "--format", "json"], &["plan", "-f", "bad.yml"]]
        {
            let (code, output) = hostile.piped(args);
            assert_eq!(code, 2, "{text:?}: {output}");
            assert_eq!(control_sequences(&output, false), [""; 0], "{args:?} of {text:?}: {output:?}");
        }
    }
}
