//! Containers are kept from addresses, for real: with the engine, as root, at addresses of the tests' own (TEST-NET-2), since
//! those of instance metadata may be somebody's.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{
    io::{Read, Write},
    net::{IpAddr, TcpListener, TcpStream},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};
use tidemill_worker::engine::{BridgeNetwork, metadata_guard::block};

/// Behind this machine, as metadata is on EC2: what containers send there is routed on.
const ROUTED_ADDRESS: &str = "198.51.100.254";
/// On this machine, as a proxy of metadata may be: what containers send there is not routed on.
const LOCAL_ADDRESS: &str = "198.51.100.249";
const NAME: &str = "tm-guard";

fn ip(words: &str) -> Output {
    Command::new("ip").args(words.split(' ')).output().unwrap()
}

/// Two addresses at which something answers; they are gone with the value.
struct TestResponder(Option<Child>, tempfile::TempDir);

impl TestResponder {
    /// `None`, with the reason printed, where this user may not make networks.
    fn start() -> Option<Self> {
        let added = ip(&format!("netns add {NAME}"));
        if !added.status.success() {
            eprintln!("skipped: no network can be made here: {}", String::from_utf8_lossy(&added.stderr));
            return None;
        }
        let mut made = Self(None, tempfile::tempdir().unwrap());
        for step in [
            format!("link add {NAME} type veth peer name {NAME}-b netns {NAME}"),
            format!("addr add 198.51.100.253/30 dev {NAME}"),
            format!("addr add {LOCAL_ADDRESS}/32 dev {NAME}"),
            format!("link set {NAME} up"),
            format!("-n {NAME} addr add {ROUTED_ADDRESS}/30 dev {NAME}-b"),
            format!("-n {NAME} link set {NAME}-b up"),
        ] {
            let done = ip(&step);
            assert!(done.status.success(), "`ip {step}`: {done:?}");
        }
        let serving = format!("netns exec {NAME} python3 -m http.server --bind {ROUTED_ADDRESS} 80");
        let mut behind = Command::new("ip");
        behind
            .args(serving.split(' '))
            .current_dir(made.1.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        made.0 = Some(behind.spawn().unwrap());
        let here = TcpListener::bind((LOCAL_ADDRESS, 80)).unwrap();
        thread::spawn(move || {
            for mut stream in here.incoming().map_while(Result::ok) {
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n");
            }
        });
        let begun = Instant::now();
        while !reaches(ROUTED_ADDRESS) {
            assert!(begun.elapsed() < Duration::from_secs(60), "nothing answers at {ROUTED_ADDRESS}");
            thread::sleep(Duration::from_millis(50));
        }
        Some(made)
    }
}

impl Drop for TestResponder {
    fn drop(&mut self) {
        if let Some(server) = &mut self.0 {
            let _ = server.kill();
            let _ = server.wait();
        }
        ip(&format!("link del {NAME}"));
        ip(&format!("netns del {NAME}"));
    }
}

/// The rules of these addresses; they are gone with the value.
struct RulesGuard;

impl RulesGuard {
    fn list() -> Vec<String> {
        let listed = Command::new("iptables").args(["-w", "10", "-t", "raw", "-S", "PREROUTING"]).output();
        let listed = String::from_utf8_lossy(&listed.unwrap().stdout).into_owned();
        listed.lines().filter(|rule| rule.contains("198.51.100.")).map(str::to_owned).collect()
    }
}

impl Drop for RulesGuard {
    fn drop(&mut self) {
        for rule in Self::list() {
            let words = rule.replacen("-A ", "-D ", 1);
            let _ = Command::new("iptables").args(["-w", "10", "-t", "raw"]).args(words.split(' ')).status();
        }
    }
}

fn reaches(address: &str) -> bool {
    let address = format!("{address}:80").parse().unwrap();
    TcpStream::connect_timeout(&address, Duration::from_secs(5)).is_ok()
}

/// Whether a container like those of jobs reaches `address`.
fn container_reaches(address: &str) -> bool {
    let image = std::env::var("TIDEMILL_TEST_IMAGE").unwrap_or_else(|_| "tidemill-demo:1".into());
    // Busybox as Debian links it dies in `wget`, which looks names up; `nc` does not.
    let script = format!("if nc -w 4 {address} 80 </dev/null; then echo reached; else echo kept; fi");
    let words = ["run", "--rm", "--label", NAME, "--cap-drop", "ALL", &image, "sh", "-c", &script];
    let ran = Command::new("docker").args(words).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout).lines().last().unwrap_or_default().to_owned();
    let (said, why) = (said.as_str(), String::from_utf8_lossy(&ran.stderr));
    // Kept is what times out: who is refused has arrived somewhere.
    assert!(said == "reached" || (said == "kept" && why.contains("timed out")), "{ran:?}");
    said == "reached"
}

/// The engine's bridge, as the worker would find it.
fn bridge() -> BridgeNetwork {
    let format = "{{index .Options \"com.docker.network.bridge.name\"}}";
    let seen =
        Command::new("docker").args(["network", "inspect", "bridge", "--format", format]).output().unwrap();
    BridgeNetwork { interface: String::from_utf8_lossy(&seen.stdout).trim().to_owned() }
}

#[tokio::test]
async fn containers_cannot_reach_metadata_that_the_machine_reaches() {
    let may = Command::new("iptables").args(["-w", "10", "-t", "raw", "-S"]).output();
    if !may.is_ok_and(|seen| seen.status.success()) {
        eprintln!("skipped: this user cannot set rules with iptables");
        return;
    }
    let Some(_answering) = TestResponder::start() else { return };
    let _rules = RulesGuard;
    for address in [ROUTED_ADDRESS, LOCAL_ADDRESS] {
        assert!(reaches(address) && container_reaches(address), "{address} answers at first");
    }
    let addresses: Vec<IpAddr> =
        [ROUTED_ADDRESS, LOCAL_ADDRESS].map(|address| address.parse().unwrap()).into();
    // A second worker finds them set.
    for _ in 0..2 {
        block(&bridge(), &addresses).await.unwrap();
        assert_eq!(RulesGuard::list().len(), 2, "{:?}", RulesGuard::list());
    }
    for address in [ROUTED_ADDRESS, LOCAL_ADDRESS] {
        assert!(!container_reaches(address), "containers are kept from {address}");
        assert!(reaches(address), "the machine itself is not kept from {address}");
    }
    let long = BridgeNetwork { interface: "a-name-that-no-interface-can-have".into() };
    let error = block(&long, &addresses).await.unwrap_err();
    assert!(error.contains("iptables") && error.contains(ROUTED_ADDRESS), "{error}");
}
