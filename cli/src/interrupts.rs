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

/// How long the usual way has after the second interrupt, and the last words of a process that is ended.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Ends this process `limit` after the first interrupt, and at once after the second, should the usual way not have ended it: a
/// thread of its own sees to it, whatever keeps the others. Standard error says so, if somebody reads it.
pub fn end_within(limit: Duration, exit_code: i32) -> std::io::Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    thread::Builder::new().name("interrupts".into()).spawn(move || {
        let mut signals = signals.forever();
        if signals.next().is_none() {
            return;
        }
        thread::spawn(move || {
            thread::sleep(limit);
            let words = format!("it did not end within {} s of the signal: ended", limit.as_secs());
            end(words, exit_code);
        });
        if signals.next().is_some() {
            thread::sleep(LAST_WORDS);
            end("it did not end at the second signal: ended".into(), exit_code);
        }
    })?;
    Ok(())
}

/// Says why and ends this process. What keeps the other threads may be standard error itself, so that nothing waits for the words.
fn end(words: String, exit_code: i32) -> ! {
    let said = thread::Builder::new().name("last-words".into()).spawn(move || {
        crate::errln!("tidemill: {words}; the next start carries on what is left");
    });
    let begun = Instant::now();
    while said.as_ref().is_ok_and(|said| !said.is_finished()) && begun.elapsed() < LAST_WORDS {
        thread::sleep(Duration::from_millis(5));
    }
    std::process::exit(exit_code)
}
