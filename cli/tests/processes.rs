//! Jobs as plain processes: the suite of all executors, and what only this one promises.

use crate::support::{Backend, TestEnv, failure_kind, finish, job, signal, text, wait_until};
use std::{fs, path::Path, process::Command};

mod shared {
    crate::suite!(process, Some(crate::support::Backend::Processes));
}

/// Starts processes that leave their parent, group and session in three ways.
const LEAVES_PROCESSES: &str = r#"
name: leaves
jobs:
  j:
    image: "IMAGE"
    script:
      - sleep SECONDS1 &
      - (setsid sleep SECONDS2 &)
      - nohup setsid sh -c '(env -u TIDEMILL_PROCESS_JOB setsid sleep SECONDS3 &)' >/dev/null 2>&1
      - echo begun
      - END
"#;

/// A number of seconds that no other process of this machine sleeps.
fn seconds(number: u32) -> String {
    format!("{}", 1_000_000 + 100 * u64::from(std::process::id()) + u64::from(number))
}

fn leaving(name: u32, end: &str) -> String {
    let mut text = LEAVES_PROCESSES.replace("END", end);
    for index in 1..=3 {
        text = text.replace(&format!("SECONDS{index}"), &seconds(name * 10 + index));
    }
    text
}

/// The number of processes that [`leaving`] started.
fn sleeping(name: u32) -> usize {
    let wanted: Vec<String> = (1..=3).map(|index| seconds(name * 10 + index)).collect();
    let lines = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&line).replace('\0', " "))
    });
    lines.filter(|line| line.starts_with("sleep ") && wanted.iter().any(|one| line.contains(one))).count()
}

fn run(env: &TestEnv, args: &[&str]) -> std::process::Output {
    env.tidemill(&[&["run", "--executor", "process"], args].concat())
}

/// Settings of a worker that gets no control groups.
const WITHOUT_CGROUP: [&str; 2] = ["--worker-config", "process.cgroup=none"];

#[test]
fn every_process_ends_with_the_job_whatever_it_left() {
    for settings in [&[][..], &WITHOUT_CGROUP] {
        let mut env = TestEnv::of_processes(&leaving(1, "'true'"));
        assert_eq!(run(&env, settings).status.code(), Some(0), "{}", env.log("j"));
        assert_eq!(sleeping(1), 0, "{settings:?}");
        env.wait_until_clean();
    }
}

#[test]
fn every_process_ends_when_the_worker_is_killed() {
    let mut env = TestEnv::of_processes(&leaving(2, "sleep 600"));
    let run = env.spawn(&[&["run", "--executor", "process"], &WITHOUT_CGROUP[..]].concat());
    env.wait_for("the job prints", |_| env.log("j").contains("begun\n"));
    assert_eq!(sleeping(2), 3);
    signal(&run, "KILL");
    drop(finish(run));
    wait_until(|| sleeping(2) == 0).expect("the processes of the job end with the worker");
    // The next worker removes the files.
    fs::write(
        env.repo().join(".pipelines/ci.yml"),
        "name: next\njobs:\n  j: { image: none, script: ['true'] }\n",
    )
    .unwrap();
    let next = env.tidemill(&["run", "--executor", "process", "--force"]);
    assert_eq!(next.status.code(), Some(0), "{next:?}");
    env.wait_until_clean();
}

#[test]
fn processes_end_when_a_job_kills_its_supervisor() {
    let end = "'kill -9 $(sed -n \"s/^PPid:.//p\" /proc/$$/status); sleep 600'";
    let env = TestEnv::of_processes(&leaving(3, end).replace("env -u TIDEMILL_PROCESS_JOB", ""));
    let ended = run(&env, &WITHOUT_CGROUP);
    assert_ne!(ended.status.code(), Some(0), "{ended:?}");
    assert_eq!(failure_kind(&env.latest(), "j"), "worker_failed", "{:#}", env.latest());
    wait_until(|| sleeping(3) == 0).expect("the processes of the job end without the supervisor");
}

#[test]
fn job_has_its_own_directories_and_nothing_of_the_workers_environment() {
    let mut env = TestEnv::of_processes(
        r#"
name: own
variables: { CACHES: "/workspace/.cache", PIP_CACHE_DIR: "${CI_PROJECT_DIR}/.pip" }
jobs:
  j:
    image: "IMAGE"
    secrets: [{ name: KEY, file: true }]
    script:
      - env
      - 'test -d "$HOME" && test -w "$TMPDIR" && test "$CI_PROJECT_DIR" = "$PWD" && cat source.txt'
      - 'test "$(stat -c %a "$KEY")" = 600 && echo "secret $(cat "$KEY")"'
      - 'touch "$HOME/a" "$TMPDIR/b"; mkdir -p locked/in && touch locked/in/c && chmod 0 locked/in && chmod 500 locked'
      - git log --oneline
"#,
    );
    let key = env.dir.path().join("key");
    fs::write(&key, "k3y-of-this-test").unwrap();
    let mut command =
        env.command(&["run", "--executor", "process", "--secret", &format!("KEY=@{}", key.display())]);
    let output = command.env("SECRETLY", "of the worker").output().unwrap();
    let log = env.log("j");
    assert_eq!(output.status.code(), Some(0), "{output:?} {log}");
    assert!(!log.contains("SECRETLY") && !log.contains("of the worker"), "{log}");
    assert!(log.contains("secret [masked]") && log.contains("from the repository\n"), "{log}");
    let value = |name: &str| {
        let line = log.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
        line.unwrap_or_else(|| panic!("{name}: {log}")).to_owned()
    };
    let (home, temporary) = (value("HOME"), value("TMPDIR"));
    let data = env.worker_data.canonicalize().unwrap();
    assert!(Path::new(&home).starts_with(&data) && Path::new(&temporary).starts_with(&data), "{home}");
    assert_eq!(value("CACHES"), format!("{}/.cache", value("CI_PROJECT_DIR")));
    assert_eq!(value("PIP_CACHE_DIR"), format!("{}/.pip", value("CI_PROJECT_DIR")));
    assert!(value("PATH").starts_with("/usr/local/sbin:"), "{log}");
    env.wait_until_clean();
}

#[test]
fn jobs_run_as_the_user_that_the_operator_names() {
    if text(&Command::new("id").arg("-u").output().unwrap().stdout).trim() != "0" {
        eprintln!("skipped: only root can run jobs as another user");
        return;
    }
    let mut env = TestEnv::of_processes(
        r#"
name: user
jobs:
  j:
    image: "IMAGE"
    script: ['id -un; id -Gn', 'echo made > out', '! cat /proc/$PPID/environ', 'test -w source.txt', 'pwd', 'git status --short']
    artifacts: { paths: [out] }
    after_script: ['test -O out && echo "after as $(id -un)"']
"#,
    );
    let shared = env.dir.path().join("shared");
    fs::create_dir(&shared).unwrap();
    for directory in [env.dir.path(), &shared] {
        fs::set_permissions(directory, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let setting = format!("process.directory={}", shared.display());
    let ended = run(&env, &["--worker-config", "process.user=nobody", "--worker-config", &setting]);
    let log = env.log("j");
    assert_eq!(ended.status.code(), Some(0), "{ended:?} {log}");
    assert!(log.contains("nobody\nnogroup\n") && log.contains("after as nobody\n"), "{log}");
    assert!(log.contains(&format!("{}/tidemill-", shared.display())), "{log}");
    let out = env.dir.path().join("fetched");
    let fetched = env.on_latest(&["artifacts", "--output", out.to_str().unwrap()]);
    assert_eq!(fetched.status.code(), Some(0), "{fetched:?}");
    env.wait_until_clean();
    assert_eq!(fs::read_dir(&shared).unwrap().count(), 0, "all files of the job are removed");
    let unknown = run(&env, &["--worker-config", "process.user=no-such-user"]);
    assert_eq!(unknown.status.code(), Some(3), "{unknown:?}");
    assert!(text(&unknown.stderr).contains("no-such-user"), "{unknown:?}");
}

#[test]
fn executors_refuse_the_jobs_of_each_other() {
    let file = |rest: &str| format!("name: kinds\njobs:\n  j: {{ script: [\"true\"], {rest} }}\n");
    let env = TestEnv::new(&file("image: none"));
    let here = env.tidemill(&["run"]);
    assert_eq!(here.status.code(), Some(2), "{here:?}");
    assert!(text(&here.stderr).contains("--executor process"), "{here:?}");
    let env = TestEnv::new(&file("image: \"IMAGE\""));
    let container = run(&env, &[]);
    assert_eq!(container.status.code(), Some(2), "{container:?}");
    assert!(text(&container.stderr).contains("`image: none`"), "{container:?}");
    let env = TestEnv::new(&file("image: \"IMAGE\", runs_on: { executor: process }"));
    let image = run(&env, &[]);
    assert_ne!(image.status.code(), Some(0), "{image:?}");
    let view = env.latest();
    assert_eq!(failure_kind(&view, "j"), "not_allowed", "{view:#}");
    let message = job(&view, "j")["failure_reason"]["message"].as_str().unwrap();
    assert!(message.contains("`image`") && message.contains("image: none"), "{message}");
    for (rest, key) in [
        ("image: none, services: [\"IMAGE\"]", "services"),
        ("image: none, container: { shm_size: 1m }", "container"),
        ("image: none, build: { tags: [a/b] }", "build"),
        ("image: { name: none, user: me }", "image"),
    ] {
        let env = TestEnv::new(&file(rest));
        let checked = env.tidemill(&["check"]);
        assert_eq!(checked.status.code(), Some(2), "{rest}: {checked:?}");
        let shown = format!("{}{}", text(&checked.stdout), text(&checked.stderr));
        assert!(shown.contains(&format!("`{key}` needs a container")), "{rest}: {shown}");
    }
}

#[test]
fn gitlab_job_asks_for_a_process_with_its_tags() {
    let env = TestEnv::of_processes("name: unused\njobs:\n  j: { image: none, script: ['true'] }\n");
    let file = "image: busybox\nmac:\n  tags: [executor=process]\n  script: [\"true\"]\nother:\n  script: [\"true\"]\n";
    fs::write(env.repo().join(".gitlab-ci.yml"), file).unwrap();
    let imported = env.tidemill(&["import", "-o", "converted.yml"]);
    let shown = fs::read_to_string(env.repo().join("converted.yml")).unwrap_or_default();
    assert!(shown.contains("image: none") && shown.contains("executor: process"), "{imported:?}");
    assert!(shown.contains("busybox"), "{imported:?}");
}

#[test]
fn worker_on_a_server_takes_only_jobs_that_ask_for_it() {
    let mut env = Backend::Processes.test_env(
        "name: mixed\nstages: [a]\njobs:\n  asks: { stage: a, image: none, script: [\"true\"] }\n  other: { stage: a, image: busybox, script: [\"true\"] }\n",
    );
    let run = env.spawn(&["run"]);
    env.wait_for("the job that asks for it ends", |view| job(view, "asks")["status"] == "SUCCESS");
    let listed = text(&env.tidemill(&["workers"]).stdout);
    assert!(listed.contains("executor=process"), "{listed}");
    assert_eq!(job(&env.latest(), "other")["status"], "QUEUED");
    assert_eq!(env.on_latest(&["cancel"]).status.code(), Some(0));
    assert_eq!(finish(run).status.code(), Some(130));
    env.wait_until_clean();
}
