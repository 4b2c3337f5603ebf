//! The metadata guard blocks addresses for containers. Runs with a real engine, as root, and with test addresses
//! (TEST-NET-2), as the address of instance metadata may be in use.

use std::{
    io::{Read, Write},
    net::{IpAddr, TcpListener, TcpStream},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};
use tidemill_worker::engine::{BridgeNetwork, metadata_guard::block};

/// An address behind this machine, like metadata on EC2: packets of containers are forwarded to it.
const ROUTED_ADDRESS: &str = "198.51.100.254";
/// An address on this machine, like that of a metadata proxy: packets of containers are not forwarded.
const LOCAL_ADDRESS: &str = "198.51.100.249";
const NAME: &str = "tm-guard";

fn ip(args: &str) -> Output {
    Command::new("ip").args(args.split(' ')).output().unwrap()
}

/// Two addresses with a listening server; removed when this is dropped.
struct TestResponder(Option<Child>, tempfile::TempDir);

impl TestResponder {
    /// Returns `None` and prints the reason if this user may not create networks.
    fn start() -> Option<Self> {
        let added = ip(&format!("netns add {NAME}"));
        if !added.status.success() {
            eprintln!("skipped: cannot create a network: {}", String::from_utf8_lossy(&added.stderr));
            return None;
        }
        let mut responder = Self(None, tempfile::tempdir().unwrap());
        for step in [
            format!("link add {NAME} type veth peer name {NAME}-b netns {NAME}"),
            format!("addr add 198.51.100.253/30 dev {NAME}"),
            format!("addr add {LOCAL_ADDRESS}/32 dev {NAME}"),
            format!("link set {NAME} up"),
            format!("-n {NAME} addr add {ROUTED_ADDRESS}/30 dev {NAME}-b"),
            format!("-n {NAME} link set {NAME}-b up"),
        ] {
            let output = ip(&step);
            assert!(output.status.success(), "`ip {step}`: {output:?}");
        }
        let command = format!("netns exec {NAME} python3 -m http.server --bind {ROUTED_ADDRESS} 80");
        let mut server = Command::new("ip");
        server
            .args(command.split(' '))
            .current_dir(responder.1.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        responder.0 = Some(server.spawn().unwrap());
        let listener = TcpListener::bind((LOCAL_ADDRESS, 80)).unwrap();
        thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n");
            }
        });
        let started = Instant::now();
        while !reaches(ROUTED_ADDRESS) {
            assert!(started.elapsed() < Duration::from_secs(60), "no connection to {ROUTED_ADDRESS}");
            thread::sleep(Duration::from_millis(50));
        }
        Some(responder)
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

/// The firewall rules of these addresses; removed when this is dropped.
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
            let args = rule.replacen("-A ", "-D ", 1);
            let _ = Command::new("iptables").args(["-w", "10", "-t", "raw"]).args(args.split(' ')).status();
        }
    }
}

fn reaches(address: &str) -> bool {
    let address = format!("{address}:80").parse().unwrap();
    TcpStream::connect_timeout(&address, Duration::from_secs(5)).is_ok()
}

/// Returns whether a container like that of a job can connect to `address`.
fn container_reaches(address: &str) -> bool {
    let image = std::env::var("TIDEMILL_TEST_IMAGE").unwrap_or_else(|_| "tidemill-demo:1".into());
    // Debian's statically linked Busybox crashes in `wget`, which resolves names; `nc` works.
    let script = format!("if nc -w 4 {address} 80 </dev/null; then echo reached; else echo blocked; fi");
    let args = ["run", "--rm", "--label", NAME, "--cap-drop", "ALL", &image, "sh", "-c", &script];
    let output = Command::new("docker").args(args).output().unwrap();
    let result = String::from_utf8_lossy(&output.stdout).lines().last().unwrap_or_default().to_owned();
    let (result, stderr) = (result.as_str(), String::from_utf8_lossy(&output.stderr));
    // Blocked means a timeout: a refused connection has reached a host.
    assert!(result == "reached" || (result == "blocked" && stderr.contains("timed out")), "{output:?}");
    result == "reached"
}

/// Returns the engine's bridge network.
fn bridge() -> BridgeNetwork {
    let format = "{{index .Options \"com.docker.network.bridge.name\"}}";
    let output =
        Command::new("docker").args(["network", "inspect", "bridge", "--format", format]).output().unwrap();
    BridgeNetwork { interface: String::from_utf8_lossy(&output.stdout).trim().to_owned() }
}

#[tokio::test]
async fn containers_cannot_reach_metadata_that_the_machine_reaches() {
    let check = Command::new("iptables").args(["-w", "10", "-t", "raw", "-S"]).output();
    if !check.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: this user cannot set rules with iptables");
        return;
    }
    let Some(_responder) = TestResponder::start() else { return };
    let _rules = RulesGuard;
    for address in [ROUTED_ADDRESS, LOCAL_ADDRESS] {
        assert!(reaches(address) && container_reaches(address), "{address} is reachable before");
    }
    let addresses: Vec<IpAddr> =
        [ROUTED_ADDRESS, LOCAL_ADDRESS].map(|address| address.parse().unwrap()).into();
    // A second worker finds the rules present.
    for _ in 0..2 {
        block(&bridge(), &addresses).await.unwrap();
        assert_eq!(RulesGuard::list().len(), 2, "{:?}", RulesGuard::list());
    }
    for address in [ROUTED_ADDRESS, LOCAL_ADDRESS] {
        assert!(!container_reaches(address), "{address} is blocked for containers");
        assert!(reaches(address), "{address} is not blocked for the machine");
    }
    let long = BridgeNetwork { interface: "a-name-that-no-interface-can-have".into() };
    let error = block(&long, &addresses).await.unwrap_err().to_string();
    assert!(error.contains("iptables") && error.contains(ROUTED_ADDRESS), "{error}");
}
