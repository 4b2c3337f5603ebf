//! Files that are copied out of and into a job of a server, and connections to its services.

use super::{ServerFixture, TOKEN};
use crate::support::{GATED, finish, text, wait_until};
use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Stdio},
    sync::mpsc,
    time::Duration,
};

/// How long a command may take to be connected with a job, whose worker reports every few seconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(60);

#[test]
fn files_are_copied_out_of_and_into_a_running_job() {
    let script = format!(
        "mkdir out && echo made > out/a.txt && ln -s /etc/hostname out/link && chmod 777 out/a.txt && echo it-runs\", \"{GATED}\", \"cat copied.txt"
    );
    let pipeline = format!("name: copy\njobs:\n  'unit:a': {{ image: \"IMAGE\", script: [\"{script}\"] }}\n");
    let fixture = ServerFixture::new(&pipeline);
    let home = fixture.env.dir.path();
    let path = |name: &str| home.join(name).to_string_lossy().into_owned();
    let run = |args: &[&str]| {
        let output = fixture.command(args).stdin(Stdio::null()).output().unwrap();
        (output.status.code(), text(&output.stderr))
    };
    let ran = wait_until(|| fixture.output(&["logs", "unit:a"]).contains("\nit-runs"));
    ran.expect("the script runs");
    // From the directory of the script, into one that exists.
    let (code, shown) = run(&["cp", "unit:a:out", &path("")]);
    assert_eq!(code, Some(0), "{shown}");
    assert_eq!(fs::read_to_string(path("out/a.txt")).unwrap(), "made\n");
    assert_eq!(fs::read_link(path("out/link")).unwrap().to_str(), Some("/etc/hostname"));
    let (code, shown) = run(&["cp", "unit:a:out", &path("")]);
    assert!(code == Some(2) && shown.contains("exists"), "{code:?} {shown}");
    let (code, shown) = run(&["cp", "unit:a:/nothing/here", &path("new")]);
    assert!(code == Some(3) && shown.contains("/nothing/here"), "{code:?} {shown}");
    assert!(!home.join("new").exists());
    let left: Vec<_> = fs::read_dir(home).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("tidemill-cp")), "{left:?}");

    let (code, shown) = run(&["cp", &path("out/a.txt"), "unit:a:copied.txt"]);
    assert_eq!(code, Some(0), "{shown}");
    let (code, shown) = run(&["cp", &path("out"), "unit:a:/tmp/"]);
    assert_eq!(code, Some(0), "{shown}");
    let (code, shown) = run(&["cp", "unit:a:/tmp/out/a.txt", &path("again.txt")]);
    assert_eq!(code, Some(0), "{shown}");
    assert_eq!(fs::read_to_string(path("again.txt")).unwrap(), "made\n");
    // More than what waits between the two ends.
    let large: Vec<u8> = (0..8_u32 << 20).map(|number| (number % 251) as u8).collect();
    fs::write(path("large"), &large).unwrap();
    let (code, shown) = run(&["cp", &path("large"), "unit:a:/tmp/"]);
    assert_eq!(code, Some(0), "{shown}");
    let (code, shown) = run(&["cp", "unit:a:/tmp/large", &path("large-again")]);
    assert_eq!(code, Some(0), "{shown}");
    assert!(fs::read(path("large-again")).unwrap() == large);
    let (code, shown) = run(&["cp", &path("again.txt"), "unit:a:/nothing/here/"]);
    assert!(code == Some(3) && shown.contains("could not be copied"), "{code:?} {shown}");
    let (code, shown) = run(&["cp", "unit:a:x", "unit:a:y"]);
    assert!(code == Some(2) && shown.contains("JOB:PATH"), "{code:?} {shown}");
    let (code, shown) = run(&["cp", &path("again.txt"), "unit:a:/tmp/go"]);
    assert_eq!(code, Some(0), "{shown}");
    let (code, log, audit) = fixture.finish("unit:a");
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("[shell] a user copies out /workspace/out"), "{log}");
    assert!(log.contains("[shell] a user copies into /workspace/.") && log.ends_with("made\n"), "{log}");
    assert!(audit.contains("job.shell"), "{audit}");
}

/// Reads the lines of a command's standard error in the background.
fn lines(child: &mut Child) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    let stderr = child.stderr.take().unwrap();
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    lines
}

fn request(address: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply
}

#[test]
fn services_of_a_running_job_are_reached_at_ports_of_this_machine() {
    let serve = "mkdir /w; echo from-the-service >/w/index.html; exec httpd -f -p 8080 -h /w";
    let service = format!(
        "{{ image: \"IMAGE\", alias: web, command: [sh, -c, \"{serve}\"], health: {{ port: 8080 }} }}"
    );
    let pipeline = format!(
        "name: forward\njobs:\n  unit: {{ image: \"IMAGE\", secrets: [TOKEN], services: [{service}], script: [\"{GATED}\"] }}\n"
    );
    let fixture = ServerFixture::new(&pipeline);
    let mut forward = fixture
        .command(&["forward", "unit", "0:web:8080", "0:web:9"])
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = lines(&mut forward);
    let next = |part: &str| loop {
        let line = lines.recv_timeout(CONNECT_TIMEOUT).unwrap_or_else(|_| panic!("no line with {part:?}"));
        if line.contains(part) {
            return line;
        }
    };
    let address = |line: &str| line.split(' ').next().unwrap().to_owned();
    let open = address(&next("leads to web:8080"));
    let closed = address(&next("leads to web:9"));
    assert!(open.starts_with("127.0.0.1:"), "{open}");
    let requests: Vec<_> = (0..8)
        .map(|_| {
            let open = open.clone();
            std::thread::spawn(move || request(&open))
        })
        .collect();
    for reply in requests {
        assert!(reply.join().unwrap().contains("from-the-service"));
    }
    let mut refused = TcpStream::connect(&closed).unwrap();
    let mut reply = Vec::new();
    let _ = refused.read_to_end(&mut reply);
    assert!(reply.is_empty());
    assert!(next("a connection was closed").contains("accepts no connection"));
    crate::support::signal(&forward, "INT");
    let status = finish(forward).status;
    assert_eq!(status.code(), Some(130), "{status:?}");

    let other =
        fixture.command(&["forward", "unit", "0:localhost:22"]).stdin(Stdio::null()).output().unwrap();
    let shown = text(&other.stderr);
    assert!(other.status.code() == Some(3) && shown.contains("has no service `localhost`"), "{shown}");
    let home = fixture.env.dir.path().join("go");
    fs::write(&home, "").unwrap();
    let end = fixture.output(&["cp", &home.to_string_lossy(), "unit:/tmp/go"]);
    assert!(end.contains("copied"), "{end}");
    let (code, log, _) = fixture.finish("unit");
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("[shell] a user forwards connections to web:8080 web:9"), "{log}");
    assert!(!log.contains(TOKEN));
}
