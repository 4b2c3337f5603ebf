//! Shells in the containers of jobs, in a pseudo-terminal.

mod abuse;
mod ends;
mod transfers;

use crate::support::{
    Backend, GATED, TestEnv, finish, job, serve, signal, stop, terminal::Terminal, text, wait_until,
};
use std::{
    fs,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::Duration,
};

const FAILING: &str = r#"
name: failing
stages: [a, b]
defaults: { image: "IMAGE" }
jobs:
  breaks:
    stage: a
    variables: { COLOUR: green, QUOTED: "it's $HOME" }
    secrets: [TOKEN]
    script: ["echo made > result.txt", "false"]
    after_script: ["echo after >> result.txt"]
    artifacts: { paths: [result.txt], when: always }
  other: { stage: b, script: ["true"] }
"#;

fn shows(part: &'static str) -> impl Fn(&[String]) -> bool {
    move |screen| screen.iter().any(|row| row.contains(part))
}

/// Waits for the output of a command that prints its words without the quotes in which they are typed.
fn wait_for_line(terminal: &Terminal, line: &str) {
    terminal.wait_for(line, |screen| screen.iter().any(|row| row.trim() == line));
}

fn env() -> TestEnv {
    Backend::Embedded.test_env(FAILING)
}

#[test]
fn failed_job_is_kept_for_a_shell_with_workspace_and_variables() {
    let mut env = env();
    let mut command = env.command(&["run", "--debug", "--secret", "TOKEN"]);
    command.env("TOKEN", "tok-12345-secret");
    let mut terminal = Terminal::run(&mut command, 100, 40, "");
    terminal.wait_for("the shell", shows("a shell in its container"));
    terminal.type_keys("echo \"$COLOUR:$QUOTED:$TOKEN\" \"$PWD\" \"$TIDEMILL_JOB_STATUS\"\r");
    terminal.wait_for("variables", shows("green:it's $HOME:tok-12345-secret /workspace failed"));
    assert!(terminal.is_raw(), "keys are passed on at once");
    terminal.type_keys("paste -sd+ result.txt || cat result.txt | tr '\\n' +\r");
    terminal.wait_for("the workspace", shows("made+after"));
    // The size is that of the user's terminal, from the start and after a change.
    terminal.type_keys("stty size\r");
    wait_for_line(&terminal, "40 100");
    terminal.resize(90, 30);
    signal(terminal.child(), "WINCH");
    sleep(Duration::from_millis(300));
    terminal.type_keys("stty size\r");
    wait_for_line(&terminal, "30 90");
    // An interrupt ends the command in the shell, and neither the shell nor the execution.
    terminal.type_keys("sleep 1000\r");
    sleep(Duration::from_millis(300));
    terminal.type_keys("\u{3}");
    terminal.type_keys("echo still \"here\"\r");
    wait_for_line(&terminal, "still here");
    terminal.type_keys("echo fixed > result.txt; exit\r");
    terminal.wait_for("the end of the shell", shows("the shell has ended"));
    assert_eq!(terminal.finish(), Some(1), "the job has failed all the same");
    assert!(!terminal.is_raw(), "the terminal is as it was");
    let view = env.latest();
    let breaks = job(&view, "breaks");
    assert_eq!((&breaks["status"], &breaks["exit_code"]), (&"FAILED".into(), &1.into()), "{breaks}");
    assert_eq!(job(&view, "other")["status"], "SKIPPED");
    // What the shell left in the workspace is what is collected.
    let out = env.dir.path().join("out");
    let saved = env.on_latest(&["artifacts", "-o", out.to_str().unwrap()]);
    assert!(saved.status.success(), "{}", text(&saved.stderr));
    assert_eq!(fs::read_to_string(out.join("result.txt")).unwrap(), "fixed\n");
    env.wait_until_clean();
}

#[test]
fn break_points_hold_jobs_before_and_after_their_script() {
    let env = Backend::Embedded.test_env(
        "name: points\njobs:\n  one: { image: \"IMAGE\", variables: { A: b }, script: [\"test -e made\", \"echo ran\"] }\n",
    );
    let args = ["run", "--break-before", "one", "--break-after", "one"];
    let mut terminal = Terminal::run(&mut env.command(&args), 100, 40, "");
    terminal.wait_for("the first shell", shows("a shell before the script"));
    // Without this, the script would fail.
    terminal.type_keys("touch made; echo \"first $A $TIDEMILL_JOB_STATUS\"\r");
    wait_for_line(&terminal, "first b running");
    terminal.type_keys("exit\r");
    terminal.wait_for("the second shell", shows("ended with exit code 0"));
    terminal.type_keys("echo \"second $TIDEMILL_JOB_STATUS\"\r");
    wait_for_line(&terminal, "second success");
    terminal.type_keys("exit\r");
    assert_eq!(terminal.finish(), Some(0));
    assert!(env.log("one").contains("ran"), "{}", env.log("one"));
}

#[test]
fn signal_ends_the_shell_and_restores_the_terminal() {
    let mut env = env();
    let mut command = env.command(&["run", "--debug", "--secret", "TOKEN"]);
    let mut terminal = Terminal::run(command.env("TOKEN", "tok-12345-secret"), 100, 40, "");
    terminal.wait_for("the shell", shows("a shell in its container"));
    terminal.type_keys("echo \"rea\"dy\r");
    wait_for_line(&terminal, "ready");
    assert!(terminal.is_raw());
    signal(terminal.child(), "TERM");
    assert_eq!(terminal.finish(), Some(130));
    assert!(!terminal.is_raw(), "the terminal is as it was");
    assert_eq!(env.latest()["execution"]["status"], "CANCELED");
    env.wait_until_clean();
}

#[test]
fn shell_without_a_terminal_is_an_error_before_anything_runs() {
    let env = env();
    for option in [&["--debug"][..], &["--break-before", "breaks"], &["--break-after", "breaks"]] {
        let args = [&["run", "--secret", "TOKEN"], option].concat();
        let mut command = env.command(&args);
        command.env("TOKEN", "tok-12345-secret");
        let pipes = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = finish(pipes.spawn().unwrap());
        assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
        assert!(text(&output.stderr).contains("needs a terminal"), "{}", text(&output.stderr));
    }
    assert!(env.executions().is_empty());
}

#[test]
fn unknown_job_of_a_break_point_is_an_error() {
    let env = env();
    let mut command = env.command(&["run", "--secret", "TOKEN", "--break-before", "brakes"]);
    let mut terminal = Terminal::run(command.env("TOKEN", "tok-12345-secret"), 100, 40, "");
    assert_eq!(terminal.finish(), Some(2));
    let screen = terminal.wait_for("the suggestion", shows("breaks"));
    assert!(screen.iter().any(|row| row.contains("--break-before brakes: no such job")), "{screen:?}");
}

const TOKEN: &str = "tok-98765-secret";

/// A server with a worker, and an execution that runs there.
struct ServerFixture {
    env: TestEnv,
    server: Child,
    url: String,
    token: String,
    run: Child,
}

impl ServerFixture {
    fn new(pipeline: &str) -> Self {
        let mut env = TestEnv::new(pipeline);
        let data = env.dir.path().join("server");
        // What a killed server leaves is removed with the fixture.
        env.worker_data.clone_from(&data);
        let (server, url) = serve(&env, &data, "2");
        let token = fs::read_to_string(data.join("token")).unwrap().trim().to_owned();
        let on_server = |args: &[&str]| {
            let mut command = env.command(args);
            command.env("TIDEMILL_SERVER", &url).env("TIDEMILL_TOKEN", &token).stdin(Stdio::null());
            command
        };
        let file = env.dir.path().join("secret");
        fs::write(&file, TOKEN).unwrap();
        let set = ["secret", "set", "TOKEN", "--value-file", file.to_str().unwrap()];
        let set = on_server(&set).output().unwrap();
        assert!(set.status.success(), "{}", text(&set.stderr));
        let run = on_server(&["run"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let started = wait_until(|| {
            let list = on_server(&["status", "--format", "json"]).output().unwrap();
            text(&list.stdout).contains("\"RUNNING\"")
        });
        started.expect("the execution runs");
        Self { env, server, url, token, run }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.env.command(args);
        command.env("TIDEMILL_SERVER", &self.url).env("TIDEMILL_TOKEN", &self.token);
        command
    }

    fn output(&self, args: &[&str]) -> String {
        let output = self.command(args).stdin(Stdio::null()).output().unwrap();
        format!("{}{}", text(&output.stdout), text(&output.stderr))
    }

    /// Waits for the end of the execution, stops the server, and returns the log of the job.
    fn finish(self, job: &str) -> (Option<i32>, String, String) {
        let Self { env, server, url, token, run } = self;
        let code = finish(run).status.code();
        let on_server = |args: &[&str]| {
            let mut command = env.command(args);
            command.env("TIDEMILL_SERVER", &url).env("TIDEMILL_TOKEN", &token).stdin(Stdio::null());
            text(&command.output().unwrap().stdout)
        };
        let (log, audit) = (on_server(&["logs", job]), on_server(&["audit"]));
        stop(server);
        (code, log, audit)
    }
}

#[test]
fn shell_attaches_to_a_running_job_of_a_server_and_is_recorded_masked() {
    let pipeline = format!(
        "name: attach\njobs:\n  unit: {{ image: \"IMAGE\", secrets: [TOKEN], script: [\"{GATED}\", \"echo ended\"] }}\n"
    );
    let fixture = ServerFixture::new(&pipeline);
    let mut terminal = Terminal::run(&mut fixture.command(&["debug", "unit"]), 100, 40, "");
    terminal.wait_for("the shell", shows("a shell beside the running script"));
    terminal.type_keys("echo \"is:$TOKEN:$PWD\"\r");
    terminal.wait_for("the secret", shows("is:tok-98765-secret:/workspace"));
    terminal.type_keys("stty size\r");
    wait_for_line(&terminal, "40 100");
    // In pieces, in colours, and typed so often that the terminal wraps it somewhere.
    terminal.type_keys("printf 'tok-98'; sleep 1; printf '765-secret\\n'\r");
    terminal.type_keys("printf 'tok-\\033[31m98765\\033[0m-secret\\n'\r");
    terminal.type_keys(&format!(": {}\r", format!("{TOKEN},").repeat(12)));
    let second = fixture.command(&["debug", "unit"]);
    let mut second = Terminal::run(&mut { second }, 100, 40, "");
    assert_eq!(second.finish(), Some(2), "one shell in a job");
    second.wait_for("the reason", shows("another shell is open in this job"));
    terminal.type_keys("touch /tmp/go; exit\r");
    assert_eq!(terminal.finish(), Some(0));
    assert!(!terminal.is_raw(), "the terminal is as it was");
    let (code, log, audit) = fixture.finish("unit");
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("[shell] a user opened a shell") && log.contains("ended"), "{log}");
    assert!(log.contains("/workspace") && log.matches("[masked]").count() >= 14, "{log}");
    let joined: String = log.chars().filter(|c| !c.is_whitespace()).collect();
    assert!(!joined.contains(TOKEN) && !joined.contains('\u{1b}'), "{log}");
    assert!(audit.contains("job.shell"), "{audit}");
}

#[test]
fn job_of_a_server_is_held_when_it_fails() {
    // The next report of the job passes the request on, before the script fails.
    let pipeline = "name: hold\njobs:\n  unit: { image: \"IMAGE\", secrets: [TOKEN], script: [\"sleep 10\", \"echo made > made\", \"false\"] }\n";
    let fixture = ServerFixture::new(pipeline);
    let mut terminal = Terminal::run(&mut fixture.command(&["debug", "unit", "--on-failure"]), 100, 40, "");
    terminal.wait_for("the request", shows("waiting for a shell"));
    terminal.wait_for("the shell", shows("the script ended with exit code 1"));
    terminal.type_keys("echo \"$(cat made):$TIDEMILL_JOB_STATUS\"\r");
    wait_for_line(&terminal, "made:failed");
    terminal.type_keys("exit\r");
    assert_eq!(terminal.finish(), Some(0));
    let ended = fixture.output(&["debug", "unit"]);
    assert!(ended.contains("needs a terminal"), "{ended}");
    let (code, log, _) = fixture.finish("unit");
    assert_eq!(code, Some(1), "{log}");
}
