//! Shells in the containers of jobs that run in this process.

use crate::{
    args::DebugArgs,
    env_vars,
    failure::{Exit, Failure, Outcome},
    interrupts::Interrupts,
    output::{
        Printable, RawTerminal, errln, has_terminal, printable_lines, restore_terminal, terminal_size,
        write_raw,
    },
    settings::Settings,
    view::View,
};
use futures_util::{
    FutureExt,
    future::{BoxFuture, pending},
};
use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};
use tidemill_core::{
    api::ExecutionView,
    execution::{
        assignment::Assignment,
        debug::{BreakPoints, HoldPoint, ShellMessage, ShellRequest, TerminalSize},
        report::base_name,
    },
};
use tidemill_worker::{
    Shell, Worker,
    client::{Socket, SocketMessage},
    debug::{Debugger, HeldJob},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    signal::unix::{SignalKind, signal},
    sync::{mpsc, oneshot},
};

/// Bytes that are read from a shell at once.
const BUFFER_SIZE: usize = 16 << 10;

/// Holds jobs at break points until their shell in this terminal has ended.
#[derive(Debug)]
pub struct TerminalDebugger {
    break_points: BreakPoints,
    sender: mpsc::UnboundedSender<Held>,
}

/// A held job, and what lets it go on when it is dropped.
#[derive(Debug)]
struct Held {
    job: HeldJob,
    _release: oneshot::Sender<()>,
}

/// The jobs that wait for a shell, in the order in which they were held.
#[derive(Debug)]
pub struct HeldJobs(mpsc::UnboundedReceiver<Held>);

/// Lets the jobs of `worker` be held at these break points, and returns those that are. Fails if its jobs have no containers.
pub fn set_debugger(
    worker: Option<&mut Worker>,
    break_points: Option<BreakPoints>,
) -> Outcome<Option<HeldJobs>> {
    let (Some(worker), Some(break_points)) = (worker, break_points) else { return Ok(None) };
    if !worker.has_containers() {
        return Err(Failure::usage(
            "--debug, --break-before and --break-after open shells in containers; run the command without --executor process",
        ));
    }
    let (sender, receiver) = mpsc::unbounded_channel();
    worker.set_debugger(Arc::new(TerminalDebugger { break_points, sender }));
    Ok(Some(HeldJobs(receiver)))
}

/// Returns the break points that options of `run` and `retry` ask for; `None` if there are none. Fails where no shell could be
/// opened.
pub fn break_points(settings: &Settings, args: &DebugArgs) -> Outcome<Option<BreakPoints>> {
    let break_points = BreakPoints {
        on_failure: args.debug,
        before: args.break_before.clone(),
        after: args.break_after.clone(),
    };
    if break_points.is_empty() {
        return Ok(None);
    }
    if settings.is_remote() {
        return Err(Failure::usage(format!(
            "--debug, --break-before and --break-after open shells in jobs that run on this machine, and not on a server; for a \
             job of a server, use: tidemill debug JOB{}",
            settings.deployment_flags
        )));
    }
    if !has_terminal() {
        return Err(Failure::usage(
            "--debug, --break-before and --break-after open a shell, which needs a terminal, but standard input or output is not \
             one; run the command in a terminal, or through `script` or `ssh -t`",
        ));
    }
    Ok(Some(break_points))
}

impl Debugger for TerminalDebugger {
    fn holds(&self, assignment: &Assignment, point: HoldPoint, _: Option<ShellRequest>) -> bool {
        let name = &assignment.job_name;
        self.break_points.holds((name, base_name(name)), point)
    }

    fn hold(&self, job: HeldJob) -> BoxFuture<'_, ()> {
        let (release, released) = oneshot::channel();
        let ended = job.ended.clone();
        let is_sent = self.sender.send(Held { job, _release: release }).is_ok();
        async move {
            if is_sent {
                tokio::select! {
                    // It is never sent, only dropped.
                    _ = released => {}
                    () = ended.cancelled() => {}
                }
            }
        }
        .boxed()
    }
}

/// Opens a shell in each held job, one after another, for ever. `view` shows nothing meanwhile.
pub async fn open_shells(mut held: HeldJobs, view: SharedView) -> Outcome {
    while let Some(Held { job, _release }) = held.0.recv().await {
        if job.ended.is_cancelled() {
            continue;
        }
        view.suspend()?;
        errln!("{}", Printable(&job.introduction()));
        let opened = job.open_shell(&std::env::var(env_vars::TERM).unwrap_or_default(), size()).await;
        let message = match opened {
            Ok(shell) => match run_shell(shell, &job).await {
                Ok(()) => format!("the shell has ended; {} goes on", Printable(&job.name)),
                Err(error) => format!("the shell was left: {error}; {} goes on", Printable(&job.name)),
            },
            Err(reason) => reason.message,
        };
        errln!("{}", printable_lines(&message));
        view.resume();
    }
    pending().await
}

fn size() -> TerminalSize {
    let (columns, rows) = terminal_size();
    TerminalSize { columns, rows }
}

/// Connects this terminal with a shell until the shell ends.
async fn run_shell(mut shell: Shell, job: &HeldJob) -> io::Result<()> {
    let Some(connection) = shell.take_connection() else { return Ok(()) };
    let (mut from_shell, mut to_shell) = tokio::io::split(connection);
    let mut resized = signal(SignalKind::window_change())?;
    let mut terminal = RawTerminal::enter()?;
    // Output continues while the shell does not read what was typed: it may wait until its own output is read.
    let output = async {
        let mut buffer = vec![0; BUFFER_SIZE];
        // The container may have been killed, which ends the connection in any way.
        while let Ok(length @ 1..) = from_shell.read(&mut buffer).await {
            write_raw(&buffer[..length])?;
        }
        Ok(())
    };
    let input = async {
        while let Some(bytes) = terminal.input.recv().await {
            if to_shell.write_all(&bytes).await.is_err() || to_shell.flush().await.is_err() {
                return Ok(());
            }
        }
        Err(io::Error::other("the terminal is closed"))
    };
    let resizing = async {
        while resized.recv().await.is_some() {
            shell.resize(size()).await;
        }
        pending::<()>().await;
    };
    let left = tokio::select! {
        ended = output => ended,
        left = input => left,
        () = resizing => Ok(()),
        () = job.ended.cancelled() => Ok(()),
    };
    if left.is_err() {
        shell.end().await;
    }
    left
}

/// Connects this terminal with a shell on a server until one side ends it.
pub async fn run_session(socket: &mut Socket) -> Outcome {
    let term = std::env::var(env_vars::TERM).unwrap_or_default();
    let Socket { sender, receiver } = socket;
    let lost = || Failure::system("the connection to the server was lost");
    if !sender.send_message(&ShellMessage::Start { term, size: size() }).await {
        return Err(lost());
    }
    match receiver.receive().await {
        Some(SocketMessage::Shell(ShellMessage::Opened { text })) => errln!("{}", printable_lines(&text)),
        Some(SocketMessage::Shell(ShellMessage::Note { text, .. })) => {
            return Err(Failure::system(format!("no shell was opened: {text}")));
        }
        _ => return Err(lost()),
    }
    let mut resized = signal(SignalKind::window_change())?;
    let mut interrupts = Interrupts::listen()?;
    let mut terminal = RawTerminal::enter()?;
    let output = async {
        let mut end = None;
        loop {
            match receiver.receive().await {
                Some(SocketMessage::Bytes(bytes)) => write_raw(&bytes)?,
                // It says why the session ends.
                Some(SocketMessage::Shell(ShellMessage::Note { text, is_failure })) => {
                    restore_terminal();
                    errln!("{}", printable_lines(&text));
                    end.get_or_insert(if is_failure { Err(Failure::silent(Exit::System)) } else { Ok(()) });
                }
                Some(SocketMessage::Shell(_)) => {}
                None => return end.unwrap_or_else(|| Err(lost())),
            }
        }
    };
    // Output continues meanwhile: a shell may wait until it is read.
    let input = async {
        loop {
            let is_sent = tokio::select! {
                typed = terminal.input.recv() => match typed {
                    Some(bytes) => sender.send_bytes(&bytes).await,
                    None => return Err(Failure::system("the terminal is closed")),
                },
                _ = resized.recv() => sender.send_message(&ShellMessage::Resize { size: size() }).await,
            };
            if !is_sent {
                // The other direction says why.
                return pending().await;
            }
        }
    };
    let ended = tokio::select! {
        ended = output => ended,
        ended = input => ended,
        _ = interrupts.recv() => Err(Failure::silent(Exit::Canceled)),
    };
    restore_terminal();
    ended
}

/// A view that makes room for shells. Its clones are the same view.
#[derive(Clone)]
pub struct SharedView {
    inner: Arc<Mutex<Box<dyn View>>>,
    is_suspended: Arc<AtomicBool>,
}

impl SharedView {
    /// Shares `view`.
    pub fn new(view: Box<dyn View>) -> Self {
        Self { inner: Arc::new(Mutex::new(view)), is_suspended: Arc::default() }
    }

    /// Leaves the terminal to a shell.
    fn suspend(&self) -> io::Result<()> {
        self.is_suspended.store(true, Ordering::Relaxed);
        self.lock().leave()
    }

    /// Shows the execution again, from its next change on.
    fn resume(&self) {
        self.is_suspended.store(false, Ordering::Relaxed);
    }

    fn is_suspended(&self) -> bool {
        self.is_suspended.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Box<dyn View>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl View for SharedView {
    fn show(&mut self, view: &ExecutionView) -> io::Result<()> {
        if self.is_suspended() { Ok(()) } else { self.lock().show(view) }
    }

    fn tick(&mut self) -> io::Result<()> {
        if self.is_suspended() { Ok(()) } else { self.lock().tick() }
    }

    fn finish(&mut self, view: &ExecutionView) -> io::Result<()> {
        // The execution ended under the shell.
        restore_terminal();
        self.lock().finish(view)
    }

    fn leave(&mut self) -> io::Result<()> {
        restore_terminal();
        self.lock().leave()
    }

    fn note(&mut self, message: &str) -> io::Result<()> {
        if self.is_suspended() {
            // In raw mode, a line feed does not return to the first column.
            let text = printable_lines(message).replace('\n', "\r\n");
            errln!("\r\n{text}\r");
            return Ok(());
        }
        self.lock().note(message)
    }
}
