//! `tidemill server` ends in time after a signal, whatever keeps its threads, and says so.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod support;
use std::{
    io::{PipeReader, PipeWriter, Read, Write, pipe},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::{Child, Stdio},
    time::{Duration, Instant},
};
use support::{Place, TWO, binary, finish, signal, text, wait_until};

/// The limit is 10 s; a loaded machine may take longer to start a thread.
const BOUND: Duration = Duration::from_secs(20);

/// A pipe that nobody reads, and that takes no more bytes.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = pipe().unwrap();
    let capacity = rustix::pipe::fcntl_getpipe_size(&writer).unwrap();
    writer.write_all(&vec![b'.'; capacity]).unwrap();
    (reader, writer)
}

/// An address that nobody else listens on: a server whose output is not read cannot tell which port it got.
fn free_address() -> SocketAddr {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    TcpListener::bind((Ipv4Addr::new(127, 71, high, low), 0)).unwrap().local_addr().unwrap()
}

/// A server with one thread for requests, with these outputs.
fn serve_with(place: &Place, address: SocketAddr, stdout: Stdio, stderr: Stdio) -> Child {
    binary(place, &place.data)
        .args(["server", "--workers", "0", "--listen", &address.to_string()])
        .env("TOKIO_WORKER_THREADS", "1")
        .env("TIDEMILL_LOG", "warn")
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr)
        .spawn()
        .unwrap()
}

/// Whether the server answers within two seconds.
fn answers(address: SocketAddr) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        write!(stream, "GET /api/health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply)?;
        Ok(reply.starts_with("HTTP/1.1 200"))
    };
    ask().unwrap_or(false)
}

#[test]
fn server_whose_main_thread_is_blocked_ends_within_the_limit_and_says_why() {
    let place = Place::new(TWO);
    let (_unread, stdout) = full_pipe();
    let address = free_address();
    let server = serve_with(&place, address, stdout.into(), Stdio::piped());
    // Requests are answered from just before it writes its address, and there it stays.
    wait_until(|| answers(address)).expect("the server starts");
    signal(&server, "TERM");
    let begun = Instant::now();
    let ended = finish(server);
    let (code, stderr) = (ended.status.code(), text(&ended.stderr));
    assert_eq!(code, Some(130), "{stderr}");
    assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
    assert!(stderr.contains("it did not end within 10 s of the signal: ended"), "{stderr}");
}

#[test]
fn server_whose_main_thread_is_blocked_ends_at_once_at_the_second_signal() {
    let place = Place::new(TWO);
    let (_unread, stdout) = full_pipe();
    let address = free_address();
    let server = serve_with(&place, address, stdout.into(), Stdio::piped());
    wait_until(|| answers(address)).expect("the server starts");
    let begun = Instant::now();
    signal(&server, "TERM");
    // Signals of one kind that come together are one.
    signal(&server, "INT");
    let ended = finish(server);
    let (code, stderr) = (ended.status.code(), text(&ended.stderr));
    assert_eq!(code, Some(130), "{stderr}");
    assert!(stderr.contains("it did not end at the second signal: ended"), "{stderr}");
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
}

#[test]
fn server_whose_request_threads_are_blocked_ends_within_the_limit() {
    let place = Place::new(TWO);
    // Nobody reads its log, so that who writes to it waits for ever.
    let (_unread, stderr) = full_pipe();
    let address = free_address();
    let server = serve_with(&place, address, Stdio::piped(), stderr.into());
    wait_until(|| answers(address)).expect("the server starts");
    let mut webhook = TcpStream::connect(address).unwrap();
    // It is not signed, and the log tells of it.
    write!(webhook, "POST /api/webhook/github HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{{}}").unwrap();
    wait_until(|| !answers(address)).expect("the thread for requests waits for its log to be read");
    signal(&server, "TERM");
    let begun = Instant::now();
    let ended = finish(server);
    assert_eq!(ended.status.code(), Some(130), "{ended:?}");
    assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
}
