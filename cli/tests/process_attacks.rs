//! Jobs as plain processes that attack their worker, its machine or each other.

use crate::support::{TestEnv, failure_kind, finish, job, text, wait_until};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

fn is_root() -> bool {
    let is_root = text(&Command::new("id").arg("-u").output().unwrap().stdout).trim() == "0";
    if !is_root {
        eprintln!("skipped: only root can run jobs as another user");
    }
    is_root
}

/// Returns a user that no other test has.
fn unique_user() -> u32 {
    200_000 + std::process::id() % 1_000_000
}

/// Returns the number of processes of a user.
fn processes_of(user: u32) -> usize {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let owned = entries.filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok());
    owned.filter(|entry| entry.metadata().is_ok_and(|metadata| metadata.uid() == user)).count()
}

const NONCE: &str = "n0nce-of-this-test";

/// A supervisor with the script of a job, as its worker starts it.
struct Supervised {
    child: Child,
    directory: tempfile::TempDir,
}

impl Supervised {
    /// Starts `command`, which becomes a supervisor of a job of `user`.
    fn start(mut command: Command, user: Option<u32>, changes: &serde_json::Value, script: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let run = directory.path().join("run");
        fs::create_dir(&run).unwrap();
        if let Some(user) = user {
            chown(&run, Some(user), Some(user)).unwrap();
        }
        let mut order = serde_json::json!({
            "run": run, "environment": { "PATH": std::env::var("PATH").unwrap() }, "user": null, "cgroup": null,
            "no_new_privileges": true, "open_files": 0, "max_processes": null,
        });
        order.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let end_of_item = format!("\n{NONCE} .\n");
        let items: Vec<&str> = script.iter().flat_map(|item| [*item, end_of_item.as_str()]).collect();
        let items = items.concat();
        let input = format!("{order}\n{NONCE}\ntidemill_step() {{ :; }}\n{NONCE}\n{items}{NONCE}\n{NONCE}\n");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().unwrap();
        child.stdin.as_mut().unwrap().write_all(input.as_bytes()).unwrap();
        Self { child, directory }
    }

    /// Reads until the supervisor says how the script ended, and confirms that. Returns the output and the supervisor's exit code.
    fn finish(mut self) -> (String, Option<i32>) {
        let mut output = Vec::new();
        let mut stdout = BufReader::new(self.child.stdout.take().unwrap());
        let flush = format!(":{NONCE}:flush:");
        loop {
            let count = stdout.read_until(0x1e, &mut output).unwrap();
            if count == 0 || text(&output).ends_with('\u{1e}') && text(&output).contains(&flush) {
                break;
            }
        }
        drop(self.child.stdin.as_mut().unwrap().write_all(b"\n"));
        let code = self.child.wait().unwrap().code();
        (text(&output), code)
    }
}

fn supervisor() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidemill"));
    command.arg("supervise");
    command
}

const SHOW_RIGHTS: &str = "echo; grep -E '^(Cap(Inh|Prm|Eff|Amb)|NoNewPrivs):' /proc/self/status";

#[test]
fn job_has_no_capability_of_its_worker() {
    if !is_root() || Command::new("setpriv").arg("--version").output().is_err() {
        eprintln!("skipped: needs root and setpriv");
        return;
    }
    // As the packaged unit does; another user may not be allowed to enter the directory of the program.
    let user = unique_user();
    let become_worker = format!(
        "exec 8<\"$1\"; exec setpriv --reuid={user} --regid={user} --clear-groups --inh-caps=+net_raw,+net_admin \
         --ambient-caps=+net_raw,+net_admin -- /proc/self/fd/8 supervise"
    );
    let script = [SHOW_RIGHTS, "ls -l /proc/$$/fd"];
    for no_new_privileges in [true, false] {
        let mut worker = Command::new("sh");
        worker.args(["-c", &become_worker, "sh", env!("CARGO_BIN_EXE_tidemill")]);
        let changes = serde_json::json!({ "no_new_privileges": no_new_privileges });
        let (output, code) = Supervised::start(worker, Some(user), &changes, &script).finish();
        assert_eq!(code, Some(0), "{output}");
        let sets: Vec<&str> = output.lines().filter(|line| line.starts_with("Cap")).collect();
        assert_eq!(sets.len(), 4, "{output}");
        let is_empty = |line: &str| line.ends_with("\t0000000000000000");
        // What is inheritable has no effect if no program gives rights.
        let is_none = |line: &&str| is_empty(line) || no_new_privileges && line.starts_with("CapInh");
        assert!(sets.iter().all(is_none), "{output}");
        assert!(output.contains(&format!("NoNewPrivs:\t{}", u8::from(no_new_privileges))), "{output}");
        assert!(
            !output.contains("/tidemill\n"),
            "files that the worker was started with are closed: {output}"
        );
    }
}

#[test]
fn job_of_a_user_gets_no_capability_of_root() {
    if !is_root() {
        return;
    }
    let user = unique_user();
    let mut root = Command::new("setpriv");
    root.args(["--inh-caps=+net_raw,+sys_admin", "--", env!("CARGO_BIN_EXE_tidemill"), "supervise"]);
    let changes = serde_json::json!({ "user": [user, user], "no_new_privileges": false });
    let (output, code) = Supervised::start(root, Some(user), &changes, &[SHOW_RIGHTS]).finish();
    assert_eq!(code, Some(0), "{output}");
    let sets: Vec<&str> = output.lines().filter(|line| line.starts_with("Cap")).collect();
    assert!(sets.len() == 4 && sets.iter().all(|line| line.ends_with("\t0000000000000000")), "{output}");
    assert!(output.contains("NoNewPrivs:\t0"), "{output}");
}

#[test]
fn limits_of_each_process_apply() {
    let script = ["ulimit -n", "ulimit -c", "cat /proc/self/oom_score_adj", "umask"];
    let changes = serde_json::json!({ "open_files": 123 });
    let (output, code) = Supervised::start(supervisor(), None, &changes, &script).finish();
    assert_eq!(code, Some(0), "{output}");
    assert!(output.contains("123\n0\n500\n0022\n"), "{output}");
}

#[test]
fn exit_code_of_a_script_is_kept_whatever_it_is() {
    for code in [70, 71, 137] {
        let exit = format!("exit {code}");
        let (output, ended) =
            Supervised::start(supervisor(), None, &serde_json::json!({}), &[&exit]).finish();
        assert_eq!(ended, Some(code), "{output}");
        assert!(output.contains(&format!(":flush::{code}\u{1e}")), "{output}");
    }
}

/// A control group of version 1 that does not let its processes run, nor end.
struct Frozen(PathBuf);

impl Frozen {
    /// Freezes the process `pid`; `None`: this machine has no such groups.
    fn new(pid: &str) -> Option<Self> {
        let path = PathBuf::from(format!("/sys/fs/cgroup/freezer/tidemill-test-{pid}"));
        fs::create_dir(&path).ok()?;
        let group = Self(path);
        fs::write(group.0.join("cgroup.procs"), pid).ok()?;
        fs::write(group.0.join("freezer.state"), "FROZEN").ok()?;
        Some(group)
    }

    fn thaw(&self) {
        let _ = fs::write(self.0.join("freezer.state"), "THAWED");
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.thaw();
        let _ = wait_until(|| fs::remove_dir(&self.0).is_ok());
    }
}

/// Returns what the script of this job wrote to the file `name`, once it did.
fn written(job: &Supervised, name: &str) -> String {
    let path = job.directory.path().join("run").join(name);
    wait_until(|| path.exists()).expect("the script writes it");
    fs::read_to_string(path).unwrap().trim().to_owned()
}

const LEAVES_ONE: [&str; 3] =
    ["sleep 1000 &", "echo $! >pid; mv pid left", "until test -e go; do sleep 0.05; done"];

#[test]
fn job_succeeds_though_one_of_its_processes_takes_long_to_end() {
    let job = Supervised::start(supervisor(), None, &serde_json::json!({}), &LEAVES_ONE);
    let Some(frozen) = Frozen::new(&written(&job, "left")) else {
        eprintln!("skipped: no process can be kept from ending here");
        return;
    };
    fs::write(job.directory.path().join("run/go"), "").unwrap();
    let start = Instant::now();
    let thawing = std::thread::spawn(move || {
        // Longer than the time in which a job that is killed must end.
        std::thread::sleep(Duration::from_millis(3500));
        frozen.thaw();
        frozen
    });
    let (output, code) = job.finish();
    assert!(start.elapsed() > Duration::from_secs(3), "{output}");
    assert_eq!(code, Some(0), "{output}");
    drop(thawing.join().unwrap());
}

#[test]
fn supervisor_that_leaves_processes_has_no_exit_code() {
    let mut job = Supervised::start(supervisor(), None, &serde_json::json!({}), &LEAVES_ONE);
    let Some(frozen) = Frozen::new(&written(&job, "left")) else {
        eprintln!("skipped: no process can be kept from ending here");
        return;
    };
    // Its worker is gone.
    drop(job.child.stdin.take());
    let ended = job.child.wait().unwrap();
    assert_eq!(ended.code(), None, "{ended:?}");
    drop(frozen);
}

/// Starts processes without end, in groups and sessions of their own. The shell itself starts none afterwards: it would wait.
const FORK_BOMB: [&str; 2] = [
    "bomb() { setsid sleep 1000 & bomb | bomb & bomb & }; (bomb 2>/dev/null) &",
    "until test -e go; do :; done",
];

#[test]
fn fork_bomb_is_bounded_and_ends_with_its_job() {
    if !is_root() {
        return;
    }
    let user = unique_user();
    let changes = serde_json::json!({ "user": [user, user], "max_processes": 200 });
    let start = Instant::now();
    let job = Supervised::start(supervisor(), Some(user), &changes, &FORK_BOMB);
    let mut most = 0;
    let watched = wait_until(|| {
        most = most.max(processes_of(user));
        most > 100
    });
    watched.expect("the bomb explodes");
    fs::write(job.directory.path().join("run/go"), "").unwrap();
    let (output, _) = job.finish();
    let end: String = output.chars().rev().take(300).collect::<Vec<_>>().into_iter().rev().collect();
    assert!(output.contains(":flush:"), "{end}");
    assert!(most <= 210, "{most} processes");
    assert_eq!(processes_of(user), 0, "{end}");
    assert!(start.elapsed() < Duration::from_secs(25), "{:?}", start.elapsed());
}

fn of_user(pipeline: &str) -> (TestEnv, PathBuf) {
    let env = TestEnv::of_processes(pipeline);
    let shared = env.dir.path().join("shared");
    fs::create_dir(&shared).unwrap();
    for directory in [env.dir.path(), &shared] {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
    }
    (env, shared)
}

fn arguments(shared: &Path, rest: &[&str]) -> Vec<String> {
    let directory = format!("process.directory={}", shared.display());
    let all = ["run", "--executor", "process", "--worker-config", &directory];
    all.iter().chain(rest).map(|one| (*one).to_owned()).collect()
}

fn run(env: &TestEnv, shared: &Path, rest: &[&str]) -> Output {
    finish(spawn(env, shared, rest))
}

fn spawn(env: &TestEnv, shared: &Path, rest: &[&str]) -> Child {
    let arguments = arguments(shared, rest);
    env.spawn(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

const AS_NOBODY: [&str; 2] = ["--worker-config", "process.user=nobody"];

#[test]
fn other_process_of_the_user_cannot_replace_what_the_worker_writes() {
    if !is_root() {
        return;
    }
    let (mut env, shared) = of_user(
        "name: links\nstages: [a, b]\njobs:\n  \
         first: { stage: a, image: none, script: ['cd .. && pwd >\"$TMPDIR/at\"', 'cp \"$TMPDIR/at\" GATES/at', 'until test -e GATES/go; do sleep 0.05; done'] }\n  \
         second: { stage: b, image: none, script: ['test -f many/900', 'true'] }\n",
    );
    let gates = env.dir.path().join("gates");
    fs::create_dir(&gates).unwrap();
    fs::set_permissions(&gates, fs::Permissions::from_mode(0o777)).unwrap();
    let file = env.repo().join(".pipelines/ci.yml");
    let pipeline = fs::read_to_string(&file).unwrap().replace("GATES", gates.to_str().unwrap());
    fs::write(&file, pipeline).unwrap();
    // So many that the copy takes a while.
    fs::create_dir(env.repo().join("many")).unwrap();
    for number in 0..3000 {
        fs::write(env.repo().join(format!("many/{number}")), "of the repository").unwrap();
    }
    for args in [&["add", "-A"][..], &["commit", "-q", "-m", "many"]] {
        let identity =
            ["-c", "user.name=T", "-c", "user.email=t@example.invalid", "-c", "commit.gpgsign=false"];
        let git = Command::new("git").current_dir(env.repo()).args(identity).args(args).status().unwrap();
        assert!(git.success());
    }
    let victim = env.dir.path().join("victim");
    fs::create_dir(&victim).unwrap();
    let running = spawn(&env, &shared, &AS_NOBODY);
    wait_until(|| fs::read_to_string(gates.join("at")).is_ok_and(|at| at.ends_with('\n'))).unwrap();
    let first = PathBuf::from(fs::read_to_string(gates.join("at")).unwrap().trim());
    assert_eq!(fs::metadata(&first).unwrap().uid(), 0, "what holds the parts is the worker's");
    let next = first.with_file_name("1");
    let attack = "for name in workspace run; do { mv \"$1/$name\" \"$1/old-$name\" && ln -s \"$2\" \"$1/$name\"; } 2>/dev/null; done";
    let mut attacker = Command::new("setpriv")
        .args(["--reuid=65534", "--clear-groups", "sh", "-c", &format!("while :; do {attack}; done"), "sh"])
        .args([&next, &victim])
        .spawn()
        .unwrap();
    fs::write(gates.join("go"), "").unwrap();
    let ended = finish(running);
    attacker.kill().unwrap();
    attacker.wait().unwrap();
    assert_eq!(fs::read_dir(&victim).unwrap().count(), 0, "nothing was written through a link");
    assert_eq!(fs::metadata(&victim).unwrap().uid(), 0);
    assert_eq!(ended.status.code(), Some(0), "{ended:?} {}", env.log("second"));
    env.wait_until_clean();
}

#[test]
fn directory_of_another_user_ends_no_jobs() {
    if !is_root() {
        return;
    }
    let name = |env: &TestEnv| {
        let log = env.log("j");
        let path = log.lines().find(|line| line.contains("/tidemill-")).unwrap_or_else(|| panic!("{log}"));
        path.split('/').find(|part| part.starts_with("tidemill-")).unwrap().to_owned()
    };
    let (cleaner, shared) = of_user("name: cleaner\njobs:\n  j: { image: none, script: [pwd] }\n");
    let first = run(&cleaner, &shared, &AS_NOBODY);
    assert_eq!(first.status.code(), Some(0), "{first:?}");
    let of_cleaner = name(&cleaner);
    // `tidemill-`, the data directory's hash, and the worker's id.
    let (hash, _) = of_cleaner["tidemill-".len()..].split_once('-').unwrap();
    let gate = shared.join("gate");
    let script = format!(
        "name: victim\njobs:\n  j: {{ image: none, script: [pwd, 'until test -e {}; do sleep 0.05; done'] }}\n",
        gate.display()
    );
    let (mut victim, _) = of_user(&script);
    let running = spawn(&victim, &shared, &AS_NOBODY);
    victim.wait_for("the job prints", |_| victim.log("j").contains("/tidemill-"));
    let of_victim = name(&victim);
    let (_, worker) = of_victim["tidemill-".len()..].split_once('-').unwrap();
    let forged = shared.join(format!("tidemill-{hash}-{worker}"));
    fs::create_dir(&forged).unwrap();
    chown(&forged, Some(65534), None).unwrap();
    let second = run(&cleaner, &shared, &[&AS_NOBODY[..], &["--force"]].concat());
    assert_eq!(second.status.code(), Some(0), "{second:?}");
    assert!(forged.exists(), "it is not the worker's to remove");
    fs::write(&gate, "").unwrap();
    let ended = finish(running);
    assert_eq!(ended.status.code(), Some(0), "{ended:?} {:#}", victim.latest());
    victim.wait_until_clean();
}

#[test]
fn directory_of_jobs_that_others_can_change_is_refused() {
    if !is_root() {
        return;
    }
    let (env, shared) = of_user("name: shared\njobs:\n  j: { image: none, script: ['true'] }\n");
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o777)).unwrap();
    let refused = run(&env, &shared, &AS_NOBODY);
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    assert!(text(&refused.stderr).contains("can be changed by other users"), "{refused:?}");
}

#[test]
fn group_that_cannot_be_used_is_refused_and_a_limit_that_does_not_apply_is_named() {
    let (env, shared) = of_user("name: group\njobs:\n  j: { image: none, script: ['true'] }\n");
    let refused = run(&env, &shared, &["--worker-config", "process.cgroup=/nonexistent"]);
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    assert!(text(&refused.stderr).contains("/nonexistent"), "{refused:?}");
    let settings = ["--worker-config", "process.cgroup=none", "--worker-config", "limits.memory=1GiB"];
    let all = arguments(&shared, &[&settings[..], &["--worker-config", "limits.pids=99"]].concat());
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let warned = env.command(&all).env("TIDEMILL_LOG", "warn").output().unwrap();
    assert_eq!(warned.status.code(), Some(0), "{warned:?}");
    let shown = text(&warned.stderr);
    assert_eq!(shown.matches("limits of jobs do not apply").count(), 1, "{shown}");
    assert!(shown.contains("memory, pids"), "{shown}");
}

#[test]
fn job_cannot_signal_its_worker_but_itself_to_death() {
    if !is_root() {
        return;
    }
    let (mut env, shared) = of_user(
        "name: signals\nstages: [a, b]\njobs:\n  \
         kills: { stage: a, image: none, allow_failure: true, script: ['! kill -KILL $PPID', '! kill -TERM $(sed -n \"s/^PPid:.//p\" /proc/$PPID/status)', 'kill -KILL -1; kill -KILL $$'] }\n  \
         next: { stage: b, image: none, script: ['true'] }\n",
    );
    // One without processes, as all of the user's would end.
    let number = |name: &str| text(&Command::new("id").args(["-u", name]).output().unwrap().stdout);
    let is_idle = |name: &&str| number(name).trim().parse().is_ok_and(|user| processes_of(user) == 0);
    let Some(user) = ["games", "uucp", "news", "lp", "mail"].into_iter().find(is_idle) else {
        eprintln!("skipped: this machine has no user without processes");
        return;
    };
    let ended = run(&env, &shared, &["--worker-config", &format!("process.user={user}")]);
    let view = env.latest();
    assert_eq!(job(&view, "next")["status"], "SUCCESS", "{ended:?} {view:#}");
    assert_eq!(failure_kind(&view, "kills"), "script_failed", "{view:#}");
    env.wait_until_clean();
}

#[test]
fn files_of_a_job_are_removed_whatever_their_names_modes_and_depth() {
    let (mut env, shared) = of_user(
        r#"
name: names
jobs:
  j:
    image: none
    script:
      - command -v perl >/dev/null || { echo "no perl"; exit 0; }
      - perl -e 'for (1..3000) { mkdir "d" or die $!; chdir "d" or die $! }'
      - mkdir -p -- "-rf" "$(printf 'a\nb')" "$(printf '\377')/x" && touch -- "-rf/*" && chmod 0 -- "-rf"
      - ln -s / root && ln -s . self && mkfifo pipe && mkdir "$HOME/closed" && touch "$HOME/closed/a" && chmod 0 "$HOME/closed"
    artifacts: { paths: ["*"], when: on_failure }
"#,
    );
    let ended = run(&env, &shared, &[]);
    assert_eq!(ended.status.code(), Some(0), "{ended:?} {}", env.log("j"));
    env.wait_until_clean();
    // In this order, as the temporary directory's own removal would overflow the stack.
    let is_empty = || fs::read_dir(&shared).unwrap().count() == 0;
    if wait_until(is_empty).is_err() {
        let _ = Command::new("rm").arg("-rf").arg(&shared).status();
        panic!("files of the job are left");
    }
}

#[test]
fn job_ends_though_another_process_keeps_its_output_open() {
    let (mut env, shared) = of_user(
        "name: held\njobs:\n  j: { image: none, script: ['echo $$ >SHARED/new && mv SHARED/new SHARED/pid', 'until test -e SHARED/go; do sleep 0.05; done', 'echo last'] }\n",
    );
    let file = env.repo().join(".pipelines/ci.yml");
    let pipeline = fs::read_to_string(&file).unwrap().replace("SHARED", shared.to_str().unwrap());
    fs::write(&file, pipeline).unwrap();
    let running = spawn(&env, &shared, &[]);
    let pid = shared.join("pid");
    wait_until(|| pid.exists()).unwrap();
    let output = format!("/proc/{}/fd/1", fs::read_to_string(&pid).unwrap().trim());
    let held = fs::OpenOptions::new().write(true).open(output).unwrap();
    fs::write(shared.join("go"), "").unwrap();
    let start = Instant::now();
    let ended = finish(running);
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(env.log("j").contains("last\n"));
    drop(held);
    env.wait_until_clean();
}
