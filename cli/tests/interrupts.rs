//! `tidemill server` exits within its limit after a signal even if its threads are blocked, and reports it.

use crate::support::{TWO_JOBS, TestEnv, binary, finish, signal, text, wait_until};
use std::{
    io::{PipeReader, PipeWriter, Read, Write, pipe},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

/// The limit is 10 s, plus a margin for a loaded machine.
const MAX_DURATION: Duration = Duration::from_secs(20);

/// Creates a full pipe that is never read.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = pipe().unwrap();
    let capacity = rustix::pipe::fcntl_getpipe_size(&writer).unwrap();
    writer.write_all(&vec![b'.'; capacity]).unwrap();
    (reader, writer)
}

/// Returns an unused address. The server cannot report its own port, because its output is not read.
fn free_address() -> SocketAddr {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    TcpListener::bind((Ipv4Addr::new(127, 71, high, low), 0)).unwrap().local_addr().unwrap()
}

/// Starts a server with one thread for requests and these outputs.
fn serve_with(env: &TestEnv, address: SocketAddr, stdout: Stdio, stderr: Stdio) -> Child {
    binary(env, &env.data)
        .args(["server", "--jobs", "0", "--listen", &address.to_string()])
        .env("TOKIO_WORKER_THREADS", "1")
        .env("TIDEMILL_LOG", "warn")
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr)
        .spawn()
        .unwrap()
}

/// Returns whether the server answers within two seconds.
fn answers(address: SocketAddr) -> bool {
    let request = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        write!(stream, "GET /api/health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply)?;
        Ok(reply.starts_with("HTTP/1.1 200"))
    };
    request().unwrap_or(false)
}

#[test]
fn server_whose_main_thread_is_blocked_ends_within_the_limit_and_says_why() {
    let env = TestEnv::new(TWO_JOBS);
    let (_unread, stdout) = full_pipe();
    let address = free_address();
    let server = serve_with(&env, address, stdout.into(), Stdio::piped());
    // The server answers requests, and then blocks while it writes its address.
    wait_until(|| answers(address)).expect("the server starts");
    signal(&server, "TERM");
    let start = Instant::now();
    let ended = finish(server);
    let (code, stderr) = (ended.status.code(), text(&ended.stderr));
    assert_eq!(code, Some(130), "{stderr}");
    assert!(start.elapsed() < MAX_DURATION, "{:?}", start.elapsed());
    assert!(stderr.contains("shutdown did not finish within 10 s of the signal"), "{stderr}");
}

#[test]
fn server_whose_main_thread_is_blocked_ends_immediately_on_the_second_signal() {
    let env = TestEnv::new(TWO_JOBS);
    let (_unread, stdout) = full_pipe();
    let address = free_address();
    let server = serve_with(&env, address, stdout.into(), Stdio::piped());
    wait_until(|| answers(address)).expect("the server starts");
    let start = Instant::now();
    signal(&server, "TERM");
    // Simultaneous signals of the same kind would be merged.
    signal(&server, "INT");
    let ended = finish(server);
    let (code, stderr) = (ended.status.code(), text(&ended.stderr));
    assert_eq!(code, Some(130), "{stderr}");
    assert!(stderr.contains("shutdown did not finish after the second signal"), "{stderr}");
    assert!(start.elapsed() < Duration::from_secs(9), "{:?}", start.elapsed());
}

#[test]
fn server_whose_request_threads_are_blocked_ends_within_the_limit() {
    let env = TestEnv::new(TWO_JOBS);
    // The log pipe is full, so that threads that log block forever.
    let (_unread, stderr) = full_pipe();
    let address = free_address();
    let server = serve_with(&env, address, Stdio::piped(), stderr.into());
    wait_until(|| answers(address)).expect("the server starts");
    let mut webhook = TcpStream::connect(address).unwrap();
    // The webhook has no signature, which the server logs.
    write!(webhook, "POST /api/webhook/github HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n{{}}").unwrap();
    wait_until(|| !answers(address)).expect("the thread for requests blocks on the log");
    signal(&server, "TERM");
    let start = Instant::now();
    let ended = finish(server);
    assert_eq!(ended.status.code(), Some(130), "{ended:?}");
    assert!(start.elapsed() < MAX_DURATION, "{:?}", start.elapsed());
}
