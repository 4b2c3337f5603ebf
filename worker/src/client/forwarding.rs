//! TCP connections that a session forwards: both ends of it use the same code.

use super::socket::SocketSender;
use bytes::Bytes;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tidemill_core::execution::debug::{MAX_CONNECTIONS, ShellMessage, connection_message};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinSet,
    time::timeout,
};

/// Bytes that are read from a connection at once.
const BUFFER_SIZE: usize = 16 << 10;
/// Messages that wait for a connection, or for the session.
const MAX_PENDING: usize = 16;
/// How long bytes may wait for a connection that does not read them. It is ended then, as others wait meanwhile.
const WRITE_TIMEOUT: Duration = Duration::from_secs(20);

/// The connections of one end of a session. They end when this is dropped.
#[derive(Debug)]
pub struct Connections {
    /// What is to be written to each, until the other end has sent everything.
    writers: Mutex<HashMap<u32, mpsc::Sender<Bytes>>>,
    tasks: Mutex<JoinSet<()>>,
    to_session: mpsc::Sender<Outgoing>,
    permits: Arc<Semaphore>,
}

/// What a session is to send.
#[derive(Debug)]
pub enum Outgoing {
    /// Bytes of a connection.
    Bytes(u32, Vec<u8>),
    /// A message about one.
    Message(ShellMessage),
}

/// The place of a connection among those that may be open at the same time.
#[derive(Debug)]
pub struct ConnectionPlace {
    _permit: OwnedSemaphorePermit,
}

impl Connections {
    /// Creates an end without connections. The session sends what it receives.
    pub fn new() -> (Self, mpsc::Receiver<Outgoing>) {
        let (to_session, outgoing) = mpsc::channel(MAX_PENDING);
        let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        (Self { writers: Mutex::default(), tasks: Mutex::default(), to_session, permits }, outgoing)
    }

    /// Returns a place for one more connection; `None` if there are too many.
    pub fn place(&self) -> Option<ConnectionPlace> {
        self.permits.clone().try_acquire_owned().ok().map(|permit| ConnectionPlace { _permit: permit })
    }

    /// Sends a message about a connection. Returns whether the session is still open.
    pub async fn notify(&self, message: ShellMessage) -> bool {
        self.to_session.send(Outgoing::Message(message)).await.is_ok()
    }

    /// Adds an open connection. What arrives for it before is lost.
    pub fn add(&self, number: u32, stream: TcpStream, place: ConnectionPlace) {
        let (reader, writer) = stream.into_split();
        let (sender, receiver) = mpsc::channel(MAX_PENDING);
        lock(&self.writers).insert(number, sender);
        let to_session = self.to_session.clone();
        let mut tasks = lock(&self.tasks);
        // Those that have ended make room.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            tokio::join!(read(number, reader, to_session), write(receiver, writer));
            drop(place);
        });
    }

    /// Writes bytes to a connection. They are dropped if it has ended.
    pub async fn deliver(&self, number: u32, bytes: Bytes) {
        let Some(writer) = lock(&self.writers).get(&number).cloned() else { return };
        if !matches!(timeout(WRITE_TIMEOUT, writer.send(bytes)).await, Ok(Ok(()))) {
            self.end(number);
        }
    }

    /// Notes that the other end of a connection has sent everything.
    pub fn end(&self, number: u32) {
        lock(&self.writers).remove(&number);
    }
}

impl Outgoing {
    /// Sends it. Returns whether the session is still open.
    pub async fn send(self, sender: &mut SocketSender) -> bool {
        match self {
            Self::Bytes(number, bytes) => sender.send_bytes(&connection_message(number, &bytes)).await,
            Self::Message(message) => sender.send_message(&message).await,
        }
    }
}

async fn read(number: u32, mut reader: OwnedReadHalf, to_session: mpsc::Sender<Outgoing>) {
    let mut buffer = vec![0; BUFFER_SIZE];
    while let Ok(length @ 1..) = reader.read(&mut buffer).await {
        if to_session.send(Outgoing::Bytes(number, buffer[..length].to_vec())).await.is_err() {
            return;
        }
    }
    let end = ShellMessage::Disconnect { connection: number, reason: None };
    let _ = to_session.send(Outgoing::Message(end)).await;
}

async fn write(mut receiver: mpsc::Receiver<Bytes>, mut writer: OwnedWriteHalf) {
    while let Some(bytes) = receiver.recv().await {
        if !matches!(timeout(WRITE_TIMEOUT, writer.write_all(&bytes)).await, Ok(Ok(()))) {
            return;
        }
    }
    // The other side reads that nothing follows.
    let _ = writer.shutdown().await;
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Bytes, Connections, MAX_CONNECTIONS, Outgoing, ShellMessage, TcpStream};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let (client, server) =
            tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        (client.unwrap(), server.unwrap().0)
    }

    #[tokio::test]
    async fn bytes_pass_both_ways_and_each_direction_ends_by_itself() {
        let (connections, mut outgoing) = Connections::new();
        let (mut outside, inside) = pair().await;
        connections.add(3, inside, connections.place().unwrap());
        connections.deliver(3, Bytes::from_static(b"request")).await;
        connections.end(3);
        let mut read = String::new();
        outside.read_to_string(&mut read).await.unwrap();
        assert_eq!(read, "request");
        outside.write_all(b"reply").await.unwrap();
        drop(outside);
        assert!(matches!(outgoing.recv().await, Some(Outgoing::Bytes(3, bytes)) if bytes == b"reply"));
        let end = outgoing.recv().await;
        let is_end =
            |message: &ShellMessage| *message == ShellMessage::Disconnect { connection: 3, reason: None };
        assert!(matches!(end, Some(Outgoing::Message(message)) if is_end(&message)));
        // Bytes for connections that are gone are dropped.
        connections.deliver(3, Bytes::from_static(b"late")).await;
        connections.deliver(4, Bytes::from_static(b"unknown")).await;
    }

    #[tokio::test]
    async fn number_of_connections_is_bounded_and_ended_ones_make_room() {
        let (connections, mut outgoing) = Connections::new();
        let mut outside = Vec::new();
        for number in 0..MAX_CONNECTIONS {
            let (client, server) = pair().await;
            connections.add(u32::try_from(number).unwrap(), server, connections.place().unwrap());
            outside.push(client);
        }
        assert!(connections.place().is_none());
        drop(outside.pop());
        let last = u32::try_from(MAX_CONNECTIONS).unwrap() - 1;
        assert!(matches!(outgoing.recv().await, Some(Outgoing::Message(_))));
        connections.end(last);
        while connections.place().is_none() {
            tokio::task::yield_now().await;
        }
    }
}
