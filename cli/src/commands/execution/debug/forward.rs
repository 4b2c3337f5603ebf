//! `forward`: connections of this machine to services of a job on a server.

use super::{connect, ended_early};
use crate::{
    args::{Forward, JobArgs},
    failure::{Exit, Failure, Outcome},
    interrupts::Interrupts,
    output::{Printable, errln, printable_lines},
    settings::Settings,
};
use futures_util::future::select_all;
use std::net::Ipv4Addr;
use tidemill_core::execution::debug::{ForwardTarget, MAX_TARGETS, ShellMessage, connection_bytes};
use tidemill_worker::client::{Connections, Socket, SocketMessage, SocketReceiver};
use tokio::net::TcpListener;

/// A port of this machine, and the port of a service to which it leads.
#[derive(Debug, PartialEq, Eq)]
struct ForwardedPort {
    local: u16,
    target: ForwardTarget,
}

impl ForwardedPort {
    /// Reads `[LOCAL:]SERVICE:PORT`.
    fn parse(text: &str) -> Outcome<Self> {
        let wrong = || {
            Failure::usage(format!(
                "`{}` is no port of a service: write SERVICE:PORT, or LOCAL:SERVICE:PORT",
                Printable(text)
            ))
        };
        let (rest, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port: u16 = port.parse().map_err(|_| wrong())?;
        let (local, service) = match rest.split_once(':') {
            Some((local, service)) => (local.parse().map_err(|_| wrong())?, service),
            None => (port, rest),
        };
        if service.is_empty() || service.contains(':') || port == 0 {
            return Err(wrong());
        }
        Ok(Self { local, target: ForwardTarget { service: service.to_owned(), port } })
    }
}

/// `tidemill forward`.
pub async fn forward(settings: &Settings, args: &Forward) -> Outcome {
    if !settings.is_remote() {
        return Err(Failure::usage(
            "forward reaches services of a job of a server (--server or --profile); on this machine, connect to the container itself",
        ));
    }
    let ports: Vec<ForwardedPort> =
        args.ports.iter().map(|text| ForwardedPort::parse(text)).collect::<Outcome<_>>()?;
    if ports.len() > MAX_TARGETS {
        return Err(Failure::usage(format!("at most {MAX_TARGETS} ports can be forwarded")));
    }
    let mut listeners = Vec::new();
    for port in &ports {
        // Only programs of this machine can connect.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port.local)).await.map_err(|error| {
            Failure::system(format!(
                "port {} of this machine cannot be used: {error}; choose another with LOCAL:SERVICE:PORT",
                port.local
            ))
        })?;
        listeners.push(listener);
    }
    let job = JobArgs {
        execution: Some(args.execution.clone().unwrap_or_else(|| args.job.clone())),
        job: args.execution.is_some().then(|| args.job.clone()),
        selectors: args.selectors.clone(),
    };
    let (deployment, mut socket) = connect(settings, &job, args.on_failure, "connections").await?;
    let mut interrupts = Interrupts::listen()?;
    let ended = tokio::select! {
        ended = serve(&mut socket, &ports, &listeners) => ended,
        _ = interrupts.recv() => Err(Failure::silent(Exit::Canceled)),
    };
    socket.sender.close().await;
    deployment.close().await;
    ended
}

async fn serve(socket: &mut Socket, ports: &[ForwardedPort], listeners: &[TcpListener]) -> Outcome {
    let Socket { sender, receiver } = socket;
    let targets = ports.iter().map(|port| port.target.clone()).collect();
    if !sender.send_message(&ShellMessage::Forward { targets }).await {
        return Err(ended_early(None));
    }
    match receiver.receive().await {
        Some(SocketMessage::Shell(ShellMessage::Opened { text })) => errln!("{}", printable_lines(&text)),
        message => return Err(ended_early(message)),
    }
    for (port, listener) in ports.iter().zip(listeners) {
        let ForwardTarget { service, port } = &port.target;
        errln!("{} leads to {}:{port}", listener.local_addr()?, Printable(service));
    }
    let (connections, mut outgoing) = Connections::new();
    let sending = async {
        while let Some(next) = outgoing.recv().await {
            if !next.send(sender).await {
                return;
            }
        }
    };
    tokio::select! {
        // The other direction says why the session has ended.
        ended = async { tokio::join!(sending, receive(receiver, &connections)).1 } => ended,
        ended = accept(listeners, &connections) => ended,
    }
}

/// Accepts connections until the session ends.
async fn accept(listeners: &[TcpListener], connections: &Connections) -> Outcome {
    let mut number = 0_u32;
    loop {
        let accepting = listeners.iter().map(|listener| Box::pin(listener.accept()));
        let (accepted, target, _) = select_all(accepting).await;
        let (stream, _) = accepted?;
        let Some(place) = connections.place() else {
            errln!("a connection was closed: there are too many");
            continue;
        };
        let connect =
            ShellMessage::Connect { connection: number, target: u16::try_from(target).unwrap_or(0) };
        if !connections.notify(connect).await {
            return Err(ended_early(None));
        }
        connections.add(number, stream, place);
        number = number.wrapping_add(1);
    }
}

async fn receive(receiver: &mut SocketReceiver, connections: &Connections) -> Outcome {
    loop {
        match receiver.receive().await {
            Some(SocketMessage::Bytes(bytes)) => {
                if let Some((number, rest)) = connection_bytes(&bytes) {
                    connections.deliver(number, bytes.slice_ref(rest)).await;
                }
            }
            Some(SocketMessage::Shell(ShellMessage::Disconnect { connection, reason })) => {
                if let Some(reason) = reason {
                    errln!("a connection was closed: {}", printable_lines(&reason));
                }
                connections.end(connection);
            }
            Some(SocketMessage::Shell(ShellMessage::Note { text, is_failure: false })) => {
                errln!("{}", printable_lines(&text));
                return Ok(());
            }
            message @ (Some(SocketMessage::Shell(ShellMessage::Note { .. })) | None) => {
                return Err(ended_early(message));
            }
            Some(SocketMessage::Shell(_)) => {}
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{ForwardTarget, ForwardedPort};

    #[test]
    fn port_of_a_service_may_have_another_number_here() {
        let of = |local, service: &str, port| ForwardedPort {
            local,
            target: ForwardTarget { service: service.to_owned(), port },
        };
        for (text, expected) in [
            ("db:5432", of(5432, "db", 5432)),
            ("8080:web:80", of(8080, "web", 80)),
            ("0:web:80", of(0, "web", 80)),
        ] {
            assert_eq!(ForwardedPort::parse(text).unwrap(), expected);
        }
        for text in ["", "db", ":5432", "db:", "db:0", "db:70000", "x:db:1", "1:2:3:4", "-1:db:1"] {
            assert!(ForwardedPort::parse(text).is_err(), "{text}");
        }
    }
}
