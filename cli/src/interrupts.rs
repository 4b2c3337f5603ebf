//! Ctrl-C and SIGTERM.

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};
use std::{
    thread,
    time::{Duration, Instant},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

/// One message for each interrupt.
pub fn interrupts() -> std::io::Result<mpsc::UnboundedReceiver<()>> {
    let (send, receive) = mpsc::unbounded_channel();
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        let mut signals = signal(kind)?;
        let send = send.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                if send.send(()).is_err() {
                    return;
                }
            }
        });
    }
    Ok(receive)
}

/// Time for an orderly exit after the second interrupt, and for the last message of a process that is ended.
const EXIT_GRACE: Duration = Duration::from_millis(500);

/// Ends this process `limit` after the first interrupt, and soon after the second, unless it ends by itself before. A separate
/// thread does it, even if all others hang. Standard error says so, if somebody reads it.
pub fn end_within(limit: Duration, exit_code: i32) -> std::io::Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    thread::Builder::new().name("interrupts".into()).spawn(move || {
        let mut signals = signals.forever();
        if signals.next().is_none() {
            return;
        }
        thread::spawn(move || {
            thread::sleep(limit);
            let reason = format!("it did not end within {} s of the signal: ended", limit.as_secs());
            end(reason, exit_code);
        });
        if signals.next().is_some() {
            thread::sleep(EXIT_GRACE);
            end("it did not end at the second signal: ended".into(), exit_code);
        }
    })?;
    Ok(())
}

/// Reports the reason and ends this process. Standard error itself may be what blocks, so the message is written by a thread of
/// its own, with a time limit.
fn end(reason: String, exit_code: i32) -> ! {
    let writer = thread::Builder::new().name("exit-message".into()).spawn(move || {
        crate::output::errln!("tidemill: {reason}; the next start continues from here");
    });
    let started = Instant::now();
    while writer.as_ref().is_ok_and(|writer| !writer.is_finished()) && started.elapsed() < EXIT_GRACE {
        thread::sleep(Duration::from_millis(5));
    }
    std::process::exit(exit_code)
}
