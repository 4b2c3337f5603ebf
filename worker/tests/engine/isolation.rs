//! Isolated jobs reach their own services, but neither other jobs nor this machine. Skipped without root, which the rules need.

use super::{Bench, docker, job, kind, service, serving};
use std::{
    net::TcpListener,
    time::{Duration, Instant},
};
use tidemill_core::execution::failure::FailureKind;
use tidemill_core::pipeline::Health;
use tidemill_worker::policy::Limits;

/// Returns `None` and prints the reason if jobs cannot be isolated.
async fn isolated(allowed: &[u16]) -> Option<Bench> {
    isolated_with_slots(1, allowed).await
}

async fn isolated_with_slots(slots: usize, allowed: &[u16]) -> Option<Bench> {
    let mut error = None;
    let bench = Bench::start_with("127.0.0.1", slots, Limits::default(), async |worker| {
        error = worker.isolate(allowed).await.err();
    })
    .await;
    let Some(reason) = error else { return Some(bench) };
    eprintln!("skipped: {reason}");
    bench.stop().await;
    None
}

fn networks(bench: &Bench) -> Vec<String> {
    docker(&["network", "ls", "--quiet", "--filter", &bench.label()])
}

/// Returns a command that prints for each address whether it is reachable.
fn reachability_script(addresses: &[(String, u16)]) -> String {
    let commands = addresses.iter().map(|(address, port)| {
        format!("nc -w 2 {address} {port} </dev/null >/dev/null 2>&1 && echo reached {address} {port} || echo blocked {address} {port}")
    });
    commands.collect::<Vec<_>>().join("; ")
}

#[tokio::test(flavor = "multi_thread")]
async fn isolated_job_reaches_neither_other_jobs_nor_machine() {
    let Some(other) = isolated(&[]).await else { return };
    let listener = TcpListener::bind(("0.0.0.0", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let Some(mut bench) = isolated(&[]).await else { return };
    let Some(mut allows) = isolated(&[port]).await else { return };

    let mut listens = job(&["echo at:$(hostname -i):", "while :; do echo hello | nc -l -p 4712; done"]);
    listens.timeout_s = 60;
    let id = listens.preparation.job_id;
    other.enqueue(listens);
    // The echo of the next command follows the complete address.
    let log = other.until_logged(id, "\n$ while").await;
    let at = log.split("\nat:").nth(1).and_then(|rest| rest.split(':').next()).unwrap().trim().to_owned();

    let gateways = |bench: &Bench| {
        let format = "{{range .IPAM.Config}}{{.Gateway}}{{end}}";
        let networks = networks(bench);
        docker(&["network", "inspect", "--format", format, &networks[0]]).remove(0)
    };
    let peer = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    // The address of this machine on its default route; nothing is sent.
    let own = peer.connect("192.0.2.1:9").and_then(|()| peer.local_addr()).map(|own| own.ip().to_string());
    let mut targets = vec![(at, 4712), (gateways(&bench), port), (gateways(&other), port)];
    targets.extend(own.ok().map(|own| (own, port)));
    let (end, log) = bench.run(job(&[&reachability_script(&targets)])).await;
    assert_eq!(kind(&end), None, "{log}");
    assert_eq!(log.matches("\nblocked ").count(), targets.len(), "{log}");

    let (_, log) = allows.run(job(&[&reachability_script(&[(gateways(&allows), port)])])).await;
    assert!(log.contains("\nreached "), "the operator allows this port: {log}");
    let labels = [other.label(), bench.label(), allows.label()];
    *other.server.cancel.lock().unwrap() = true;
    for bench in [other, bench, allows] {
        bench.stop().await;
    }
    for label in labels {
        assert_eq!(docker(&["network", "ls", "--quiet", "--filter", &label]), Vec::<String>::new());
    }
}

/// Waits until this machine can connect to the address.
async fn until_listening(address: &str, port: u16) {
    let started = Instant::now();
    while std::net::TcpStream::connect((address, port)).is_err() {
        assert!(started.elapsed() < Duration::from_secs(60), "nothing listens at {address}:{port}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn isolated_job_reaches_neither_the_job_of_another_slot_nor_its_services() {
    let Some(mut bench) = isolated_with_slots(2, &[]).await else { return };
    let listening = "while :; do echo hello | nc -l -p 4712; done";
    let mut served = job(&[
        "echo at:$(hostname -i):db:$(grep -w db /etc/hosts | tr '\\t' ' ' | cut -d ' ' -f 1):",
        listening,
    ]);
    served.extras.services = vec![service("db", &serving(5432), Some(Health::Port(5432)))];
    let mut plain = job(&["echo at:$(hostname -i):", listening]);
    (served.timeout_s, plain.timeout_s) = (600, 600);
    for first in [served, plain] {
        // Each has its own execution and occupies one of the two slots.
        let id = first.preparation.job_id;
        bench.enqueue(first);
        let log = bench.until_logged(id, "\n$ while").await;
        let line = log.lines().find(|line| line.starts_with("at:")).unwrap();
        let fields: Vec<&str> = line.split(':').collect();
        let mut targets = vec![(fields[1].trim().to_owned(), 4712)];
        if let Some(service) = fields.get(3) {
            targets.push((service.trim().to_owned(), 5432));
        }
        for (address, port) in &targets {
            until_listening(address, *port).await;
        }
        let (end, log) = bench.run(job(&[&reachability_script(&targets)])).await;
        assert_eq!(kind(&end), None, "{log}");
        assert_eq!(log.matches("\nblocked ").count(), targets.len(), "{log}");
        *bench.server.cancel.lock().unwrap() = true;
        assert_eq!(kind(&bench.end().await), Some(FailureKind::Canceled));
        *bench.server.cancel.lock().unwrap() = false;
    }
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn isolated_job_has_no_ipv6_address() {
    let interfaces = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    if interfaces.is_empty() {
        eprintln!("skipped: this machine has no IPv6 (/proc/net/if_inet6 is empty or does not exist)");
        return;
    }
    let Some(mut bench) = isolated(&[]).await else { return };
    // Not even a link-local address, with which other containers on the bridge could be reached.
    let mut served = job(&["cat /proc/net/if_inet6; echo interfaces: $(ls /sys/class/net)"]);
    let plain = job(&["cat /proc/net/if_inet6; echo interfaces: $(ls /sys/class/net)"]);
    served.extras.services = vec![service("db", &serving(5432), Some(Health::Port(5432)))];
    for assignment in [plain, served] {
        let (end, log) = bench.run(assignment).await;
        assert_eq!(kind(&end), None, "{log}");
        assert!(log.contains("interfaces: ") && log.contains("eth0"), "{log}");
        let addresses = log.lines().skip(1).filter(|line| !line.starts_with("interfaces: "));
        let outside: Vec<&str> = addresses.filter(|line| !line.trim_end().ends_with(" lo")).collect();
        assert!(outside.is_empty(), "IPv6 addresses: {outside:?}");
    }
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn isolated_job_reaches_own_services() {
    let Some(mut bench) = isolated(&[]).await else { return };
    let mut served = job(&["nc db 5432 </dev/null; false"]);
    served.extras.services = vec![service("db", &serving(5432), Some(Health::Port(5432)))];
    let (end, log) = bench.run(served).await;
    assert_eq!(kind(&end), Some(FailureKind::ScriptFailed), "{log}");
    assert!(log.contains("tide\n"), "{log}");
    bench.stop().await;
}
