//! Ctrl-C and SIGTERM.

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};
use std::{thread, time::Duration};
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

/// Time for an orderly exit after the second interrupt.
const EXIT_GRACE: Duration = Duration::from_millis(500);

/// Ends this process `limit` after the first interrupt, and soon after the second, unless it ends by itself before. A separate
/// thread does it, even if all others hang.
pub fn end_within(limit: Duration, exit_code: i32) -> std::io::Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    thread::Builder::new().name("interrupts".into()).spawn(move || {
        let mut signals = signals.forever();
        if signals.next().is_none() {
            return;
        }
        thread::spawn(move || {
            thread::sleep(limit);
            std::process::exit(exit_code);
        });
        if signals.next().is_some() {
            thread::sleep(EXIT_GRACE);
            std::process::exit(exit_code);
        }
    })?;
    Ok(())
}
