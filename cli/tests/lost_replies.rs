//! Lost replies: a repeated request must not take effect twice.

use crate::support::{Backend, TestEnv, finish, text};
use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

const ONE: &str = "name: one\nstages: [a]\njobs:\n  j: { stage: a, image: \"IMAGE\", script: [\"true\"] }\n";

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Starts a proxy to the server that drops the first reply to a request that starts an execution. Returns its URL and the recorded
/// requests.
fn start_lossy_proxy(env: &TestEnv) -> (String, Arc<Mutex<Vec<String>>>) {
    let server = env.deployment.as_ref().unwrap().server.trim_start_matches("http://").to_owned();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let requests: Arc<Mutex<Vec<String>>> = Arc::default();
    let recorded = requests.clone();
    thread::spawn(move || {
        for from in listener.incoming().map_while(Result::ok) {
            let to = TcpStream::connect(&server).unwrap();
            let drops_reply = Arc::new(AtomicBool::new(false));
            let (upstream, downstream) = ((from.try_clone().unwrap(), to.try_clone().unwrap()), (to, from));
            let (recorded, drops) = (recorded.clone(), drops_reply.clone());
            thread::spawn(move || {
                copy(upstream, |bytes| {
                    if bytes.starts_with(b"POST /api/pipeline/execute") {
                        let mut recorded = recorded.lock().unwrap();
                        recorded.push(text(bytes));
                        drops.store(recorded.len() == 1, Ordering::SeqCst);
                    }
                    true
                });
            });
            thread::spawn(move || copy(downstream, |_| !drops_reply.load(Ordering::SeqCst)));
        }
    });
    (url, requests)
}

/// Forwards bytes while `continues` returns true.
fn copy((mut from, mut to): (TcpStream, TcpStream), mut continues: impl FnMut(&[u8]) -> bool) {
    let mut buffer = [0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if !continues(&buffer[..length]) || to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

/// Returns the value of a header in a request's text.
fn header<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    request.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[test]
fn lost_reply_starts_no_second_execution() {
    let env = Backend::Server.test_env(ONE);
    let (url, requests) = start_lossy_proxy(&env);
    let mut command = env.command(&["run", "--force", "--server", &url]);
    let run = command.env("TRACEPARENT", TRACE).output().unwrap();
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    assert_eq!(env.executions().len(), 1);
    let sent = requests.lock().unwrap().clone();
    assert_eq!(sent.len(), 2, "{sent:?}");
    for name in ["idempotency-key", "traceparent"] {
        let value = header(&sent[0], name);
        assert!(value.is_some() && value == header(&sent[1], name), "{name}: {sent:?}");
    }
    assert_eq!(header(&sent[0], "traceparent"), Some(TRACE), "{sent:?}");

    // Another call starts another execution.
    let run = finish(env.spawn(&["run", "--force", "--server", &url]));
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    assert_eq!(env.executions().len(), 2);
}

#[test]
fn request_without_force_is_identified_by_its_content() {
    let env = Backend::Server.test_env(&ONE.replace("\"true\"", "sleep 6"));
    let (url, requests) = start_lossy_proxy(&env);
    let run = finish(env.spawn(&["run", "--server", &url]));
    assert_eq!(run.status.code(), Some(0), "{run:?}");
    assert_eq!((env.executions().len(), requests.lock().unwrap().len()), (1, 2));
    assert_eq!(header(&requests.lock().unwrap()[0], "idempotency-key"), None);
}
