//! Isolated jobs reach their own services, and neither other jobs nor this machine. Rules are set as root; else the tests skip.

use super::{Bench, Limits, docker, job, kind, service, serving};
use std::net::TcpListener;
use tidemill_core::{failure::FailureKind, pipeline::Health};

/// `None`, with the reason printed, where jobs cannot be isolated.
async fn isolated(allowed: &[u16]) -> Option<Bench> {
    let mut refused = None;
    let bench = Bench::start_with("127.0.0.1", Limits::default(), async |worker| {
        refused = worker.isolate(allowed).await.err();
    })
    .await;
    let Some(words) = refused else { return Some(bench) };
    eprintln!("skipped: {words}");
    bench.stop().await;
    None
}

fn networks(bench: &Bench) -> Vec<String> {
    docker(&["network", "ls", "--quiet", "--filter", &bench.label()])
}

/// Says for each of the addresses whether it is reached.
fn try_to_reach(addresses: &[(String, u16)]) -> String {
    let tries = addresses.iter().map(|(address, port)| {
        format!("nc -w 2 {address} {port} </dev/null >/dev/null 2>&1 && echo reached {address} {port} || echo kept {address} {port}")
    });
    tries.collect::<Vec<_>>().join("; ")
}

#[tokio::test(flavor = "multi_thread")]
async fn isolated_job_reaches_neither_other_jobs_nor_the_machine() {
    let Some(other) = isolated(&[]).await else { return };
    let here = TcpListener::bind(("0.0.0.0", 0)).unwrap();
    let port = here.local_addr().unwrap().port();
    std::thread::spawn(move || here.incoming().for_each(drop));
    let Some(mut bench) = isolated(&[]).await else { return };
    let Some(mut allows) = isolated(&[port]).await else { return };

    let mut listens = job(&["echo at:$(hostname -i):", "while :; do echo hello | nc -l -p 4712; done"]);
    listens.timeout_s = 60;
    other.give(listens);
    // The echo of the next command comes after the whole address.
    let log = other.until_logged("\n$ while").await;
    let at = log.split("\nat:").nth(1).and_then(|rest| rest.split(':').next()).unwrap().trim().to_owned();

    let gateways = |bench: &Bench| {
        let format = "{{range .IPAM.Config}}{{.Gateway}}{{end}}";
        let networks = networks(bench);
        docker(&["network", "inspect", "--format", format, &networks[0]]).remove(0)
    };
    let peer = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    // The address that this machine has towards others; nothing is sent.
    let own = peer.connect("192.0.2.1:9").and_then(|()| peer.local_addr()).map(|own| own.ip().to_string());
    let mut targets = vec![(at, 4712), (gateways(&bench), port), (gateways(&other), port)];
    targets.extend(own.ok().map(|own| (own, port)));
    let (end, log) = bench.run(job(&[&try_to_reach(&targets)])).await;
    assert_eq!(kind(&end), None, "{log}");
    assert_eq!(log.matches("\nkept ").count(), targets.len(), "{log}");

    let (_, log) = allows.run(job(&[&try_to_reach(&[(gateways(&allows), port)])])).await;
    assert!(log.contains("\nreached "), "what the operator allows: {log}");
    let labels = [other.label(), bench.label(), allows.label()];
    *other.server.cancel.lock().unwrap() = true;
    for bench in [other, bench, allows] {
        bench.stop().await;
    }
    for label in labels {
        assert_eq!(docker(&["network", "ls", "--quiet", "--filter", &label]), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn isolated_job_reaches_its_own_services() {
    let Some(mut bench) = isolated(&[]).await else { return };
    let mut served = job(&["nc db 5432 </dev/null; false"]);
    served.extras.services = vec![service("db", &serving(5432), Some(Health::Port(5432)))];
    let (end, log) = bench.run(served).await;
    assert_eq!(kind(&end), Some(FailureKind::ScriptFailed), "{log}");
    assert!(log.contains("tide\n"), "{log}");
    bench.stop().await;
}
