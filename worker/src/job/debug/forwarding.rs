//! Connections to the services of a job that a user of a server forwards.

use super::port::HeldJob;
use crate::{
    client::{Connections, Socket, SocketMessage, SocketReceiver},
    job::services::ServiceAddress,
};
use std::{fmt::Write as _, net::SocketAddr, time::Duration};
use tidemill_core::{
    execution::debug::{ForwardTarget, MAX_CONNECTIONS, MAX_TARGETS, ShellMessage, connection_bytes},
    text::{Printable, choices::listed},
};
use tokio::{net::TcpStream, time::timeout};

/// How long a service may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Forwards connections to services of the job until the user's end has ended. Only addresses of the job's own services are connected
/// to, as the engine reports them: what the job writes to its `/etc/hosts` leads nowhere.
pub(super) async fn forward(
    job: &HeldJob,
    socket: &mut Socket,
    targets: Vec<ForwardTarget>,
) -> Result<(), String> {
    if targets.is_empty() || targets.len() > MAX_TARGETS {
        return Err(format!("1 to {MAX_TARGETS} ports can be forwarded"));
    }
    let addresses: Vec<SocketAddr> =
        targets.iter().map(|target| address(&job.services, target)).collect::<Result<_, _>>()?;
    if !job.engine.reaches_containers().await {
        return Err("the worker does not reach the addresses of containers: its engine is on another machine, or has no root".to_owned());
    }
    let names = targets.iter().fold(String::new(), |mut text, target| {
        let _ = write!(text, " {}:{}", Printable(&target.service), target.port);
        text
    });
    job.reporter.shell_line(format!("[shell] a user forwards connections to{names}").as_bytes()).await;
    let Socket { sender, receiver } = socket;
    sender.send_message(&ShellMessage::Opened { text: format!("{}: forwarding", job.name) }).await;
    let (connections, mut outgoing) = Connections::new();
    let sending = async {
        while let Some(next) = outgoing.recv().await {
            if !next.send(sender).await {
                return;
            }
        }
    };
    tokio::select! {
        () = sending => {}
        () = receive(receiver, &connections, &addresses) => {}
    }
    Ok(())
}

async fn receive(receiver: &mut SocketReceiver, connections: &Connections, addresses: &[SocketAddr]) {
    while let Some(message) = receiver.receive().await {
        match message {
            SocketMessage::Bytes(bytes) => {
                if let Some((number, rest)) = connection_bytes(&bytes) {
                    connections.deliver(number, bytes.slice_ref(rest)).await;
                }
            }
            SocketMessage::Shell(ShellMessage::Connect { connection, target }) => {
                if let Err(reason) =
                    connect(connections, connection, addresses.get(usize::from(target))).await
                {
                    connections.notify(ShellMessage::Disconnect { connection, reason: Some(reason) }).await;
                }
            }
            SocketMessage::Shell(ShellMessage::Disconnect { connection, .. }) => connections.end(connection),
            SocketMessage::Shell(_) => {}
        }
    }
}

async fn connect(connections: &Connections, number: u32, address: Option<&SocketAddr>) -> Result<(), String> {
    let address = address.ok_or_else(|| "this port is not forwarded".to_owned())?;
    let place = connections
        .place()
        .ok_or_else(|| format!("{MAX_CONNECTIONS} connections are open, which is the limit"))?;
    let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
    let stream = stream
        .map_err(|_| "the service does not answer".to_owned())?
        .map_err(|error| format!("the service accepts no connection: {error}"))?;
    connections.add(number, stream, place);
    Ok(())
}

/// Returns the address of a service.
fn address(services: &[ServiceAddress], target: &ForwardTarget) -> Result<SocketAddr, String> {
    let named = services.iter().find(|service| service.names.contains(&target.service));
    named.map(|service| SocketAddr::new(service.ip, target.port)).ok_or_else(|| {
        let names: Vec<&str> =
            services.iter().flat_map(|service| &service.names).map(String::as_str).collect();
        let have =
            if names.is_empty() { "it has none".to_owned() } else { format!("it has {}", listed(&names)) };
        format!("the job has no service `{}`; {have}", Printable(&target.service))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{ForwardTarget, ServiceAddress, address};

    #[test]
    fn only_services_of_the_job_have_addresses() {
        let services = [
            ServiceAddress { names: vec!["postgres".into(), "db".into()], ip: [172, 17, 0, 2].into() },
            ServiceAddress { names: vec!["cache".into()], ip: [172, 17, 0, 3].into() },
        ];
        let of =
            |service: &str| address(&services, &ForwardTarget { service: service.to_owned(), port: 5432 });
        assert_eq!(of("db").unwrap().to_string(), "172.17.0.2:5432");
        assert_eq!(of("cache").unwrap().to_string(), "172.17.0.3:5432");
        for other in ["localhost", "127.0.0.1", "172.17.0.2", "", "metadata.example"] {
            let message = of(other).unwrap_err();
            assert!(message.contains("has no service") && message.contains("postgres"), "{message}");
        }
        let none = ForwardTarget { service: "db".into(), port: 1 };
        assert!(address(&[], &none).unwrap_err().ends_with("it has none"));
    }
}
