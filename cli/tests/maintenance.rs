//! Retention, backups and checks of a data directory, by the commands.

use crate::support::{TestEnv, json, text};
use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    thread,
    time::Duration,
};

const PIPELINE: &str = "name: kept\ndefaults: { image: IMAGE }\njobs:\n  a: { script: [echo hello], artifacts: { paths: [source.txt] } }\n";

#[test]
fn backup_is_restored_with_logs_and_artifacts() {
    let mut env = TestEnv::new(PIPELINE);
    let run = env.tidemill(&["run", "--format", "json"]);
    assert!(run.status.success(), "{}", text(&run.stderr));
    let target = env.dir.path().join("backups");
    let target = target.to_str().unwrap();
    let made = env.json(&["backup", target, "--format", "json"]);
    assert!(made["backup"]["files"].as_u64().unwrap() >= 4, "{made}");
    let again = env.json(&["backup", target, "--keep", "1", "--format", "json"]);
    assert_eq!(again["removed"].as_array().unwrap().len(), 1, "{again}");
    let verified = env.tidemill(&["backup", target, "--verify"]);
    assert!(text(&verified.stdout).contains("is whole"), "{}", text(&verified.stderr));
    assert_eq!(env.json(&["backup", target, "--list", "--format", "json"]).as_array().unwrap().len(), 1);

    // Restored into a new directory, whose records are the same.
    let used = env.tidemill(&["restore", target]);
    assert_eq!(used.status.code(), Some(2), "{}", text(&used.stderr));
    env.wait_until_clean();
    env.data = env.dir.path().join("restored");
    let restored = env.tidemill(&["restore", target]);
    assert!(restored.status.success(), "{}", text(&restored.stderr));
    assert_eq!(env.executions().len(), 1);
    assert!(env.log("a").contains("hello"), "{}", env.log("a"));
    let output = env.dir.path().join("out");
    let fetched = env.on_latest(&["artifacts", "a", "--output", output.to_str().unwrap()]);
    assert!(fetched.status.success(), "{}", text(&fetched.stderr));

    let doctor = env.tidemill(&["doctor", "--format", "json"]);
    let findings = json(&doctor)["findings"].clone();
    for finding in findings.as_array().unwrap() {
        assert_ne!(finding["verdict"], "failed", "{finding}");
    }
    fs::remove_file(env.data.join("tidemill.db")).unwrap();
    let broken = env.tidemill(&["doctor", "--quick"]);
    assert_eq!(broken.status.code(), Some(3));
    assert!(text(&broken.stdout).contains("failed   store"), "{}", text(&broken.stdout));
}

/// A server that was killed has left its address. Another program that listens there now gets no token.
#[test]
fn doctor_sends_no_token_to_a_recorded_address() {
    let env = TestEnv::new(PIPELINE);
    assert!(
        env.tidemill(&["token", "create", "--name", "short", "--scope", "read", "--expires", "1h"])
            .status
            .success()
    );
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    fs::write(env.data.join("address"), format!("http://{}", listener.local_addr().unwrap())).unwrap();
    let received = thread::spawn(move || {
        let mut received = String::new();
        for accepted in listener.incoming() {
            let mut connection = accepted.unwrap();
            connection.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let mut bytes = [0; 4_096];
            let number = connection.read(&mut bytes).unwrap();
            if number == 3 {
                break;
            }
            received.push_str(&String::from_utf8_lossy(&bytes[..number]));
            let reply = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
            connection.write_all(reply.as_bytes()).unwrap();
        }
        received
    });
    let address = fs::read_to_string(env.data.join("address")).unwrap();
    let doctor = env.tidemill(&["doctor", "--quick"]);
    let mut last = std::net::TcpStream::connect(address.trim_start_matches("http://")).unwrap();
    last.write_all(b"end").unwrap();
    let received = received.join().unwrap();
    let token = fs::read_to_string(env.data.join("token")).unwrap();
    assert!(received.contains("/api/health") && !received.contains(token.trim()), "{received}");
    let found = text(&doctor.stdout);
    assert!(found.contains("expire within a week: short"), "{found}");
}

#[test]
fn backup_into_the_data_directory_is_rejected() {
    let env = TestEnv::new(PIPELINE);
    fs::create_dir_all(&env.data).unwrap();
    let link = env.dir.path().join("link");
    std::os::unix::fs::symlink(&env.data, &link).unwrap();
    let around = env.dir.path().join("missing/..").join(env.data.strip_prefix(env.dir.path()).unwrap());
    for target in [env.data.join("artifacts/backup"), link.join("a/b"), around.join("x"), env.data.clone()] {
        let rejected = env.tidemill(&["backup", target.to_str().unwrap()]);
        assert_eq!(rejected.status.code(), Some(2), "{}", text(&rejected.stderr));
        assert!(text(&rejected.stderr).contains("is in the data directory"), "{}", text(&rejected.stderr));
    }
}

#[test]
fn pinned_execution_is_kept_and_gc_says_why() {
    let env = TestEnv::new(PIPELINE);
    assert!(env.tidemill(&["run", "--format", "json"]).status.success());
    let set = env.json(&["retention", "set", "--keep-days", "30", "--branch-days", "0", "--format", "json"]);
    assert_eq!(set["settings"]["rule"]["days"], 30, "{set}");
    let everywhere = env.tidemill(&["retention", "set", "--everywhere", "--keep-last", "5"]);
    assert!(text(&everywhere.stdout).contains("the last 5"), "{}", text(&everywhere.stderr));
    assert_eq!(env.tidemill(&["retention", "set"]).status.code(), Some(2));
    let pinned = env.on_latest(&["pin", "--note", "shipped"]);
    assert!(text(&pinned.stdout).contains("pinned: it is kept"), "{}", text(&pinned.stderr));
    let report = env.json(&["gc", "--dry-run", "--format", "json"]);
    assert_eq!((&report["executions"], &report["dry_run"]), (&0.into(), &true.into()), "{report}");
    assert!(text(&env.tidemill(&["gc"]).stdout).contains("removed 0 execution(s)"));
    let unpinned = env.on_latest(&["unpin"]);
    assert!(text(&unpinned.stdout).contains("unpinned"), "{}", text(&unpinned.stderr));
    let cleared = env.json(&["retention", "clear", "--format", "json"]);
    assert_eq!(cleared["settings"], serde_json::json!({}), "{cleared}");
}
