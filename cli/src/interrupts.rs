//! Ctrl-C and SIGTERM.

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
