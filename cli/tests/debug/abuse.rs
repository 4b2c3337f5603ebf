//! What a user or a job does to a shell that it was not made for.

use super::{ServerFixture, env, shows, wait_for_line};
use crate::support::{Backend, GATED, TestEnv, job, signal, terminal::Terminal, text};
use std::{thread::sleep, time::Duration};

fn gated() -> ServerFixture {
    ServerFixture::new(&format!(
        "name: abuse\njobs:\n  unit: {{ image: \"IMAGE\", script: [\"{GATED}\"] }}\n"
    ))
}

fn lines(count: usize) -> String {
    let line = |number| format!("{number:063}\r");
    (0..count).map(line).collect::<Vec<String>>().concat()
}

/// Pastes 256 KiB whose echo is as long, and prints what a terminal cannot show.
fn strain(terminal: &Terminal) {
    terminal.type_keys("echo rea\"ds\"; cat > /tmp/pasted; wc -c < /tmp/pasted; echo past\"ed\"\r");
    wait_for_line(terminal, "reads");
    terminal.type_keys(&lines(4_096));
    terminal.type_keys("\u{4}");
    wait_for_line(terminal, "262144");
    wait_for_line(terminal, "pasted");
    terminal.type_keys(
        "head -c 3000000 /dev/zero | tr '\\0' x; head -c 300000 /dev/urandom | cat; printf '\\033c'\r",
    );
    for step in 0..100 {
        terminal.resize(80 + step % 7, 24 + step % 5);
        signal(terminal.child(), "WINCH");
    }
    terminal.resize(100, 40);
    signal(terminal.child(), "WINCH");
    terminal.type_keys("reset 2>/dev/null; echo; echo ali\"ve\"\r");
    wait_for_line(terminal, "alive");
    // The keys with which Docker leaves a process.
    terminal.type_keys("stty raw -echo; echo rea\"dy\"; head -c 4 | cat -v; stty sane; echo\r");
    terminal.wait_for("the command", shows("ready"));
    terminal.type_keys("\u{10}\u{11}\u{10}z");
    terminal.wait_for("all keys", shows("^P^Q^Pz"));
}

#[test]
fn shell_of_this_machine_survives_pastes_resizes_and_binary_output() {
    let env = env();
    let mut command = env.command(&["run", "--debug", "--secret", "TOKEN"]);
    let mut terminal = Terminal::run(command.env("TOKEN", "tok-12345-secret"), 100, 40, "");
    terminal.wait_for("the shell", shows("a shell in its container"));
    strain(&terminal);
    terminal.type_keys("exit\r");
    assert_eq!(terminal.finish(), Some(1));
    assert!(!terminal.is_raw());
}

#[test]
fn shell_of_a_server_survives_pastes_resizes_and_binary_output_and_leaves_the_log_to_the_job() {
    let fixture = gated();
    let mut terminal = Terminal::run(&mut fixture.command(&["debug", "unit"]), 100, 40, "");
    terminal.wait_for("the shell", shows("a shell beside the running script"));
    strain(&terminal);
    // More than is recorded.
    terminal.type_keys("head -c 9000000 /dev/zero | tr '\\0' 'x'; clear; echo; echo prin\"ted\"\r");
    wait_for_line(&terminal, "printed");
    terminal.type_keys("touch /tmp/go; exit\r");
    assert_eq!(terminal.finish(), Some(0), "{:?}", terminal.screen());
    let (code, log, _) = fixture.finish("unit");
    assert_eq!(code, Some(0));
    assert!(log.contains("the rest is not recorded") && log.len() < 11 << 20, "{}", log.len());
}

#[test]
fn shell_that_reads_nothing_ends_and_the_job_goes_on() {
    let pipeline = "name: hold\njobs:\n  unit: { image: \"IMAGE\", script: [\"sleep 8\", \"false\"] }\n";
    let fixture = ServerFixture::new(pipeline);
    let terminal = Terminal::run(&mut fixture.command(&["debug", "unit", "--on-failure"]), 100, 40, "");
    terminal.wait_for("the shell", shows("the script ended with exit code 1"));
    terminal.type_keys("stty -echo; echo star\"ted\"; sleep 100000\r");
    wait_for_line(&terminal, "started");
    terminal.paste(lines(65_536));
    terminal.wait_for("the end", shows("did not read what was typed"));
    let (code, log, _) = fixture.finish("unit");
    assert_eq!(code, Some(1), "{log}");
}

/// Prints what the container's first process prints when a script has ended and failed, and goes on.
const FORGED: &str = r#"
name: forged
jobs:
  liar:
    image: "IMAGE"
    timeout: 60s
    script:
      - nonce=$(sed -n 's/.*tm:\([0-9a-f]*\):.*/\1/p' /dev/shm/tidemill/environment | head -n 1)
      - printf '\036tm:%s:flush::1\036' "$nonce"
      - sleep 5
      - echo "went" "on"
"#;

#[test]
fn script_that_claims_its_end_does_not_go_on_while_it_is_held() {
    let env = Backend::Embedded.test_env(FORGED);
    let mut terminal = Terminal::run(&mut env.command(&["run", "--debug"]), 100, 40, "");
    terminal.wait_for("the shell", shows("a shell in its container"));
    // The script would go on before this.
    sleep(Duration::from_secs(7));
    for _ in 0..100 {
        if terminal.has_ended() {
            break;
        }
        terminal.type_keys("exit\r");
        sleep(Duration::from_millis(300));
    }
    assert_eq!(terminal.finish(), Some(1));
    assert!(!env.log("liar").contains("went on"), "{}", env.log("liar"));
}

#[test]
fn job_without_a_container_of_its_own_has_no_shell() {
    let pipeline = format!(
        "name: none\njobs:\n  unit: {{ image: \"IMAGE\", script: [\"{GATED}\"] }}\n  plain: {{ image: none, script: [\"true\"] }}\n"
    );
    let fixture = ServerFixture::new(&pipeline);
    let mut terminal = Terminal::run(&mut fixture.command(&["debug", "plain"]), 120, 40, "");
    assert_eq!(terminal.finish(), Some(2));
    terminal.wait_for("the reason", shows("plain processes"));
    let cancelled = fixture.output(&["cancel", "--yes"]);
    let (code, log, _) = fixture.finish("unit");
    assert_eq!(code, Some(130), "{cancelled} {log}");
}

#[test]
fn retry_opens_a_shell_as_well() {
    let env: TestEnv = env();
    // A retry knows stored secrets only.
    let file = env.repo().with_file_name("token");
    std::fs::write(&file, "tok-12345-secret").unwrap();
    let set =
        env.command(&["secret", "set", "TOKEN", "--value-file", &file.to_string_lossy()]).output().unwrap();
    assert!(set.status.success(), "{}", text(&set.stderr));
    let failed = env.command(&["run"]).output().unwrap();
    assert_eq!(failed.status.code(), Some(1), "{}", text(&failed.stderr));
    let mut terminal = Terminal::run(&mut env.command(&["retry", "--break-before", "brakes"]), 100, 40, "");
    assert_eq!(terminal.finish(), Some(2));
    terminal.wait_for("the reason", shows("--break-before brakes: no such job"));
    let mut command = env.command(&["retry", "--break-before", "breaks", "--debug"]);
    let mut terminal = Terminal::run(&mut command, 100, 40, "");
    terminal.wait_for("the first shell", shows("a shell before the script"));
    terminal.type_keys("echo \"at $TIDEMILL_JOB_STATUS\"; exit\r");
    terminal.wait_for("the second shell", shows("ended with exit code 1"));
    terminal.type_keys("echo \"at $TIDEMILL_JOB_STATUS\"\r");
    wait_for_line(&terminal, "at failed");
    terminal.type_keys("exit\r");
    assert_eq!(terminal.finish(), Some(1));
    assert_eq!(job(&env.latest(), "breaks")["status"], "FAILED");
}

#[test]
fn shell_before_a_script_reaches_the_services() {
    let env = Backend::Embedded.test_env(
        "name: services\njobs:\n  one:\n    image: \"IMAGE\"\n    services: [{ image: \"IMAGE\", alias: web, command: [sleep, \"600\"] }]\n    script: [\"test -e /tmp/made\"]\n",
    );
    let args = ["run", "--break-before", "one"];
    let mut terminal = Terminal::run(&mut env.command(&args), 100, 40, "");
    terminal.wait_for("the shell", shows("a shell before the script"));
    terminal.type_keys("grep -w web /etc/hosts && touch /tmp/made; echo do\"ne\"; exit\r");
    assert_eq!(terminal.finish(), Some(0), "{:?}", terminal.screen());
}
