//! The terminal while a shell of a container uses it: every key goes to the shell.

use rustix::{
    event::{PollFd, PollFlags, poll},
    termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr},
};
use std::{
    io::{self, IsTerminal, PipeWriter, Write, stdin, stdout},
    sync::{Mutex, Once, PoisonError},
    thread,
};
use tokio::sync::mpsc;

/// The terminal's own settings while they are changed.
static ORIGINAL: Mutex<Option<Termios>> = Mutex::new(None);
/// Sets what a panic does, once.
static PANIC_HOOK: Once = Once::new();
/// Pending pieces of input; beyond that, the terminal keeps it.
const MAX_PENDING: usize = 64;
/// The size of a terminal that does not report one.
const USUAL_SIZE: (u16, u16) = (80, 24);

/// The terminal of this process in raw mode, until this is dropped or [`restore_terminal`] is called.
#[derive(Debug)]
pub struct RawTerminal {
    /// What the user types.
    pub input: mpsc::Receiver<Vec<u8>>,
    /// Ends the thread that reads it when it is dropped.
    _stop: PipeWriter,
}

/// Whether this process has a terminal for input and output.
pub fn has_terminal() -> bool {
    stdin().is_terminal() && stdout().is_terminal()
}

/// Returns the columns and rows of the terminal.
pub fn terminal_size() -> (u16, u16) {
    let size = tcgetwinsize(stdout()).map_or((0, 0), |size| (size.ws_col, size.ws_row));
    // A terminal without a size reports 0.
    if size.0 == 0 || size.1 == 0 { USUAL_SIZE } else { size }
}

/// Gives the terminal its own settings back, if they are changed. To be called wherever this process exits at once.
pub fn restore_terminal() {
    let original = ORIGINAL.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(original) = original {
        // An error cannot be reported any more.
        let _ = tcsetattr(stdin(), OptionalActions::Flush, &original);
    }
}

/// Writes what a shell prints to the terminal, as it is.
pub fn write_raw(bytes: &[u8]) -> io::Result<()> {
    let mut out = stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

impl RawTerminal {
    /// Puts the terminal into raw mode, and starts to read what the user types.
    pub fn enter() -> io::Result<Self> {
        PANIC_HOOK.call_once(|| {
            let next = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                restore_terminal();
                next(panic);
            }));
        });
        let original = tcgetattr(stdin())?;
        let mut raw = original.clone();
        raw.make_raw();
        *ORIGINAL.lock().unwrap_or_else(PoisonError::into_inner) = Some(original);
        let entered = Self::start(&raw);
        if entered.is_err() {
            restore_terminal();
        }
        entered
    }

    fn start(raw: &Termios) -> io::Result<Self> {
        tcsetattr(stdin(), OptionalActions::Now, raw)?;
        let (stopped, stop) = io::pipe()?;
        let (sender, input) = mpsc::channel(MAX_PENDING);
        // In a thread that can be stopped: a read of the runtime would take the next key from whatever reads the terminal later.
        thread::Builder::new().name("terminal".into()).spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                let terminal = stdin();
                let mut ready = [PollFd::new(&terminal, PollFlags::IN), PollFd::new(&stopped, PollFlags::IN)];
                match poll(&mut ready, None) {
                    Ok(_) => {}
                    Err(rustix::io::Errno::INTR) => continue,
                    Err(_) => return,
                }
                if !ready[1].revents().is_empty() {
                    return;
                }
                match rustix::io::read(&terminal, &mut buffer) {
                    Ok(length @ 1..) if sender.blocking_send(buffer[..length].to_vec()).is_ok() => {}
                    Err(rustix::io::Errno::INTR) => {}
                    _ => return,
                }
            }
        })?;
        Ok(Self { input, _stop: stop })
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        restore_terminal();
    }
}
