//! The supervisor of a job: the process that has the role of a container's first process.
//!
//! It is a process of its own, so that a worker that was killed leaves nothing running: its stdin is closed then. It adopts what
//! its descendants leave behind, so that no process of the job can get out of its tree, and a tree without a process is known to be
//! empty.

mod order;
mod script;
mod signals;

pub(super) use order::SupervisorOrder;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use script::{JobShell, reap, terminate_tree, tree};
use signals::{Command, Commands};
use std::{io::Write, time::Duration};

/// The exit code of a job whose processes were killed, as `engine/boot.sh` has it.
const KILLED: i32 = 137;
/// The exit code of a supervisor that could not start the script.
const FAILED: i32 = 70;
/// The exit code of a script that was stopped before it began.
const STOPPED: i32 = 143;
/// How long the processes of a job may take to end after its script.
const MAX_END_TIME: Duration = Duration::from_secs(30);
/// How long they may take once the job is killed, which is less than the worker waits for this process.
const MAX_KILL_TIME: Duration = Duration::from_secs(2);

/// Runs the job that stdin describes, and returns the exit code of this process.
#[must_use]
pub fn supervise() -> i32 {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return FAILED;
    };
    let code = runtime.block_on(run());
    // The thread that reads stdin may still wait.
    runtime.shutdown_background();
    code
}

async fn run() -> i32 {
    // An interrupt at the worker's terminal is the worker's, and the job must not read from it.
    let _ = rustix::process::setsid();
    if let Err(error) = rustix::process::set_child_subreaper(Some(rustix::process::getpid())) {
        return failed(&format!("cannot adopt processes: {error}"));
    }
    // The rights of a worker that is not root, such as that to change packet filter rules, would be the job's as well. Those of root
    // end when a process changes its user.
    if let Err(error) = rustix::thread::clear_ambient_capability_set() {
        return failed(&format!("cannot give up the worker's capabilities: {error}"));
    }
    let Ok(commands) = Commands::listen() else { return failed("cannot receive signals") };
    let ended = match Supervisor::start(commands).await {
        Ok(mut supervisor) => match supervisor.run().await {
            Ok(code) => Some(code),
            Err(Ended) => supervisor.end().await,
        },
        Err(message) => Some(failed(&message)),
    };
    ended.unwrap_or_else(|| {
        // No exit code: the worker must not take the job's processes for ended.
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        FAILED
    })
}

/// Limits the rights and the number of the processes of the job, which inherit them from this thread.
fn limit_rights(order: &SupervisorOrder) -> rustix::io::Result<()> {
    if order.no_new_privileges {
        rustix::thread::set_no_new_privs(true)?;
    }
    // Programs with capabilities of their own could give a job those that are inheritable. Otherwise nothing can, and the filter of
    // system calls of a service may end a process that changes them.
    if rustix::process::geteuid().is_root() || !rustix::thread::no_new_privs()? {
        let mut sets = rustix::thread::capabilities(None)?;
        sets.inheritable = rustix::thread::CapabilitySet::empty();
        rustix::thread::set_capabilities(None, sets)?;
    }
    if let Some(max) = order.max_processes {
        let limit = getrlimit(Resource::Nproc);
        let max = u64::from(max).min(limit.maximum.unwrap_or(u64::MAX));
        setrlimit(Resource::Nproc, Rlimit { current: Some(max), maximum: Some(max) })?;
    }
    Ok(())
}

/// Prints why the script cannot start, as output of the job.
fn failed(message: &str) -> i32 {
    emit(format!("tidemill: the script cannot start: {message}\n").as_bytes());
    FAILED
}

/// Writes to the job's output. When the worker is gone, nobody reads it.
fn emit(bytes: &[u8]) {
    let mut out = std::io::stdout();
    drop(out.write_all(bytes).and_then(|()| out.flush()));
}

/// The job must end now: it is killed, or the worker is gone.
struct Ended;

/// The parts of the job at which signals differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Script,
    AfterScript,
    /// Only the end counts.
    Over,
}

struct Supervisor {
    shell: JobShell,
    commands: Commands,
    nonce: String,
    /// Why the script was stopped, as its `after_script` learns it.
    stopped: Option<&'static str>,
    /// Whether nothing runs after the script.
    is_final: bool,
}

impl Supervisor {
    /// Reads the job from stdin, and writes its scripts.
    async fn start(mut commands: Commands) -> Result<Self, String> {
        let order = commands.line().await.ok_or("its worker is gone")?;
        let order: SupervisorOrder = serde_json::from_slice(&order).map_err(|error| error.to_string())?;
        let nonce = commands.line().await.ok_or("its worker is gone")?;
        let mut text = nonce.clone();
        text.push(b'\n');
        // The environment, the script and the after_script, each with the nonce at its end.
        let mut parts = 0;
        while parts < 3 {
            let line = commands.line().await.ok_or("its worker is gone")?;
            parts += u32::from(line == nonce);
            text.extend_from_slice(&line);
            text.push(b'\n');
        }
        let nonce = String::from_utf8(nonce).map_err(|error| error.to_string())?;
        limit_rights(&order).map_err(|error| format!("its rights cannot be limited: {error}"))?;
        let shell = JobShell::new(order).map_err(|error| error.to_string())?;
        let mut supervisor = Self { shell, commands, nonce, stopped: None, is_final: false };
        let prepared = match supervisor.shell.prepare(&text) {
            Ok(preparing) => supervisor.wait_for(preparing, Phase::Over).await,
            Err(error) => return Err(format!("no shell: {error}")),
        };
        match prepared {
            Ok(0) => {}
            Ok(code) => return Err(format!("its files could not be written: exit code {code}")),
            Err(Ended) => return Err("its worker is gone".to_owned()),
        }
        supervisor.shell.read_shell().map_err(|error| error.to_string())?;
        Ok(supervisor)
    }

    async fn run(&mut self) -> Result<i32, Ended> {
        self.marker("begin");
        let mut code = STOPPED;
        if self.stopped.is_none() {
            let script = self.shell.start_script();
            code = self.finish(script, Phase::Script).await?;
        }
        if self.shell.has_after_script() && !self.is_final {
            if self.stopped.is_some() {
                self.kill_all().await?;
            }
            let outcome = if code == 0 { "success" } else { "failed" };
            let status = self.stopped.unwrap_or(outcome);
            self.marker("ended");
            let after_script = self.shell.start_after_script(status);
            self.finish(after_script, Phase::AfterScript).await?;
        }
        self.kill_all().await?;
        if let Some(summary) = self.shell.summary() {
            self.marker("summary");
            emit(&summary);
        }
        let stopped = if self.stopped.is_some() { "stopped" } else { "" };
        self.marker(&format!("flush:{stopped}:{code}"));
        // The worker has read everything, or is gone.
        drop(self.commands.line().await);
        Ok(code)
    }

    async fn finish(&mut self, started: std::io::Result<i32>, phase: Phase) -> Result<i32, Ended> {
        match started {
            Ok(child) => self.wait_for(child, phase).await,
            Err(error) => Ok(failed(&error.to_string())),
        }
    }

    fn marker(&self, what: &str) {
        emit(format!("\u{1e}tm:{}:{what}\u{1e}", self.nonce).as_bytes());
    }

    /// Waits for the end of `child`, and obeys the worker meanwhile. Returns its exit code.
    async fn wait_for(&mut self, child: i32, phase: Phase) -> Result<i32, Ended> {
        loop {
            if let Some(code) = reap(child) {
                return Ok(code);
            }
            let command = self.commands.next().await;
            let is_script = phase == Phase::Script;
            match command {
                Command::Stop(status) if phase != Phase::AfterScript => self.stop(status, is_script),
                Command::StopFinally if phase != Phase::AfterScript => {
                    self.is_final = true;
                    self.stop("failed", is_script);
                }
                Command::KillScript if is_script => self.shell.kill_tree(),
                Command::KillAfterScript if phase == Phase::AfterScript => self.shell.kill_tree(),
                Command::Kill => return Err(Ended),
                _ => {}
            }
        }
    }

    fn stop(&mut self, status: &'static str, is_script: bool) {
        self.stopped.get_or_insert(status);
        if is_script {
            terminate_tree();
        }
    }

    /// Ends every process of the job. Some take long: those in a call to a file system that does not answer, or with much memory.
    async fn kill_all(&mut self) -> Result<(), Ended> {
        let killing = self.shell.kill_all(MAX_END_TIME);
        tokio::pin!(killing);
        loop {
            tokio::select! {
                has_ended = &mut killing => return if has_ended { Ok(()) } else { Err(Ended) },
                command = self.commands.next() => if command == Command::Kill {
                    return Err(Ended);
                },
            }
        }
    }

    /// Ends every process of the job, and returns the exit code of this one; `None`: some are left.
    async fn end(&mut self) -> Option<i32> {
        if self.shell.kill_all(MAX_KILL_TIME).await {
            return Some(KILLED);
        }
        let left: Vec<String> =
            tree().iter().map(|process| process.pid.as_raw_nonzero().to_string()).collect();
        let message = format!(
            "tidemill: processes of the job cannot be ended; they belong to another user, or wait for a disk: {}\n",
            left.join(" ")
        );
        emit(message.as_bytes());
        None
    }
}
