//! Replies that are lost on their way: what was asked for happened, and must not happen twice.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod support;
use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};
use support::{Backend, Place, finish, text};

const ONE: &str = "name: one\nstages: [a]\njobs:\n  j: { stage: a, image: \"IMAGE\", script: [\"true\"] }\n";

/// A way to the place's server on which the first reply to a request that begins an execution gets lost; and these
/// requests, as they were sent.
fn lossy(place: &Place) -> (String, Arc<Mutex<Vec<String>>>) {
    let server = place.deployment.as_ref().unwrap().server.trim_start_matches("http://").to_owned();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let begun: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = begun.clone();
    thread::spawn(move || {
        for from in listener.incoming().map_while(Result::ok) {
            let to = TcpStream::connect(&server).unwrap();
            let loses = Arc::new(AtomicBool::new(false));
            let (there, back) = ((from.try_clone().unwrap(), to.try_clone().unwrap()), (to, from));
            let (seen, lost) = (seen.clone(), loses.clone());
            thread::spawn(move || {
                copy(there, |bytes| {
                    if bytes.starts_with(b"POST /api/pipeline/execute") {
                        let mut seen = seen.lock().unwrap();
                        seen.push(text(bytes));
                        lost.store(seen.len() == 1, Ordering::SeqCst);
                    }
                    true
                });
            });
            thread::spawn(move || copy(back, |_| !loses.load(Ordering::SeqCst)));
        }
    });
    (url, begun)
}

/// Hands on what comes, while `goes_on`.
fn copy((mut from, mut to): (TcpStream, TcpStream), mut goes_on: impl FnMut(&[u8]) -> bool) {
    let mut buffer = [0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if !goes_on(&buffer[..length]) || to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

/// The value of a header in a request's text.
fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    request.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[test]
fn lost_reply_starts_no_second_execution() {
    let place = Backend::Server.place(ONE);
    let (url, begun) = lossy(&place);
    let run = finish(place.spawn(&["run", "--force", "--server", &url]));
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    assert_eq!(place.executions().len(), 1);
    let sent = begun.lock().unwrap().clone();
    assert_eq!(sent.len(), 2, "{sent:?}");
    for name in ["idempotency-key", "traceparent"] {
        let value = header(&sent[0], name);
        assert!(value.is_some() && value == header(&sent[1], name), "{name}: {sent:?}");
    }
    // Version, 16 bytes, 8 bytes, flags: W3C Trace Context.
    let trace: Vec<usize> = header(&sent[0], "traceparent").unwrap().split('-').map(str::len).collect();
    assert_eq!(trace, [2, 32, 16, 2], "{sent:?}");

    // Another call is another execution.
    let run = finish(place.spawn(&["run", "--force", "--server", &url]));
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    assert_eq!(place.executions().len(), 2);
}

#[test]
fn request_without_force_is_identified_by_its_content() {
    let place = Backend::Server.place(&ONE.replace("\"true\"", "sleep 3"));
    let (url, begun) = lossy(&place);
    let run = finish(place.spawn(&["run", "--server", &url]));
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    assert_eq!((place.executions().len(), begun.lock().unwrap().len()), (1, 2));
    assert_eq!(header(&begun.lock().unwrap()[0], "idempotency-key"), None);
}
