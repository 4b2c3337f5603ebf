//! Dependencies between packages, and what `core` may not use.

use crate::tree::{files, relative, root};
use std::fs;

/// The packages of this workspace that each package may depend on.
const MAY_USE: [(&str, &[&str]); 10] = [
    ("core", &[]),
    ("backend/services", &["tidemill-core"]),
    ("backend/sqlite", &["tidemill-core", "tidemill-services"]),
    ("backend/server", &["tidemill-core", "tidemill-services", "tidemill-sqlite"]),
    ("backend/aws", &["tidemill-core", "tidemill-services"]),
    ("backend/mail", &["tidemill-core", "tidemill-services"]),
    ("backend/testkit", &["tidemill-core", "tidemill-services", "tidemill-sqlite", "tidemill-aws"]),
    ("worker", &["tidemill-core"]),
    ("functions", &["tidemill-core", "tidemill-services", "tidemill-aws", "tidemill-mail"]),
    (
        "cli",
        &[
            "tidemill-core",
            "tidemill-services",
            "tidemill-server",
            "tidemill-aws",
            "tidemill-mail",
            "tidemill-worker",
        ],
    ),
];

#[test]
fn package_uses_only_those_below_it() {
    for (package, allowed) in MAY_USE {
        let manifest = fs::read_to_string(root().join(package).join("Cargo.toml")).unwrap();
        let used = manifest
            .split("[dev-dependencies]")
            .next()
            .unwrap()
            .lines()
            .filter_map(|line| line.split(['.', ' ', '=']).next())
            .filter(|name| name.starts_with("tidemill-"));
        for name in used {
            assert!(allowed.contains(&name), "{package} must not use {name}");
        }
    }
}

#[test]
fn guards_are_disabled_only_in_tests() {
    let mut turned_on = 0;
    for (package, _) in MAY_USE {
        let manifest = fs::read_to_string(root().join(package).join("Cargo.toml")).unwrap();
        let mut section = "";
        for line in manifest.lines() {
            if line.starts_with('[') {
                section = line;
            }
            if !line.contains("mutations") {
                continue;
            }
            match section {
                // The feature itself, not features that other features enable.
                "[features]" => assert!(line.starts_with("mutations = "), "{package}: {line}"),
                "[dev-dependencies]" => turned_on += 1,
                "[[test]]" | "[[example]]" => {}
                other => panic!("{package}: {line} in {other}"),
            }
        }
    }
    assert!(turned_on > 0, "no test removes a guard");
}

#[test]
fn core_does_no_io_and_reads_no_clock() {
    let sources = files("core/src", &["rs"]);
    assert!(sources.len() > 20, "only {} files were read", sources.len());
    for path in sources {
        let text = fs::read_to_string(&path).unwrap();
        // Addresses of `std::net` are values.
        let sockets = ["TcpStream", "TcpListener", "UdpSocket", "ToSocketAddrs"];
        let others = ["std::fs", "std::process", "SystemTime", "Instant::now", "async fn", "tokio"];
        for word in sockets.into_iter().chain(others) {
            assert!(!text.contains(word), "{} has `{word}`", relative(&path));
        }
    }
}

#[test]
fn dependency_of_the_workspace_says_why() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let section = manifest.split("[workspace.dependencies]").nth(1).unwrap();
    let section = section.split("\n[").next().unwrap();
    let (mut previous, mut checked) = ("", 0);
    for line in section.lines() {
        if !line.is_empty() && !line.starts_with(['#', ' ', ']']) && !line.starts_with("tidemill-") {
            checked += 1;
            assert!(previous.starts_with('#'), "a comment above this line says why it is used: {line}");
        }
        previous = line;
    }
    assert!(checked > 50, "only {checked} dependencies were checked");
}
