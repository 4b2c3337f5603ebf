//! Networks that network holders keep for the jobs of one execution.

use super::{Bench, NETWORK, docker, job, jobs_of_execution, kind, network};
use tidemill_core::ids::ExecutionId;
use tidemill_worker::policy::Limits;

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_one_execution_share_the_holder_network_sequentially() {
    let mut bench = Bench::start().await;
    let scripts: [&[&str]; 5] = [
        &[NETWORK],
        &[NETWORK, "echo '6.6.6.6 evil' >> /etc/hosts; echo 'nameserver 6.6.6.6' > /etc/resolv.conf"],
        &[NETWORK, "cat /etc/hosts /etc/resolv.conf", "echo '6.6.6.6 evil' > /etc/hosts"],
        &[NETWORK, "cat /etc/hosts", "nc -l -p 4711 & sleep 60"],
        &[NETWORK, "nc -w 2 127.0.0.1 4711 </dev/null && echo met || echo alone"],
    ];
    let mut logs = Vec::new();
    let mut jobs = jobs_of_execution(&bench, &scripts);
    // Enough time to start listening on a busy machine.
    jobs[3].timeout_s = 4;
    for job in jobs {
        logs.push(bench.run(job).await.1);
    }
    assert_ne!(
        network(&logs[0]),
        network(&logs[1]),
        "no job joins the network of another job's own container"
    );
    for log in &logs[2..] {
        assert_eq!(network(log), network(&logs[1]), "{logs:?}");
    }
    for log in &logs[2..4] {
        let clean = log.contains("localhost") && !log.contains("6.6.6.6\n") && !log.contains("\n6.6.6.6");
        assert!(clean, "a job cannot change files of another job: {log}");
    }
    assert!(logs[4].ends_with("alone\n"), "a process of a killed job still listens: {}", logs[4]);
    bench.server.upcoming.lock().unwrap().clear();
    let other = bench.run(job(&[NETWORK])).await.1;
    assert!(logs.iter().all(|log| network(log) != network(&other)), "executions share nothing");
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn network_of_a_removed_holder_is_replaced() {
    let mut bench = Bench::start().await;
    let mut jobs = jobs_of_execution(&bench, &[&[NETWORK], &[NETWORK], &[NETWORK]]).into_iter();
    bench.run(jobs.next().unwrap()).await;
    bench.server.upcoming.lock().unwrap().clear();
    let second = bench.run(jobs.next().unwrap()).await.1;
    let holder = network(&second).replace("net:", "");
    docker(&["rm", "-f", &holder]);
    let (end, third) = bench.run(jobs.next().unwrap()).await;
    assert_eq!(kind(&end), None, "{third}");
    assert_ne!(network(&second), network(&third));
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn network_created_ahead_belongs_to_the_execution_of_its_first_job() {
    let first = job(&[NETWORK]);
    // Two jobs for one slot: its network is created before the first container, for an execution without an ID yet.
    let mut early = first.preparation.clone();
    early.execution_id = ExecutionId(uuid::Uuid::nil());
    let mut bench = Bench::start_with("127.0.0.1", 1, Limits::default(), async |worker| {
        worker.prepare_standby_containers(&[early], 2);
    })
    .await;
    let mut second = job(&[NETWORK]);
    second.preparation.execution_id = first.preparation.execution_id;
    let first = network(&bench.run(first).await.1);
    assert_eq!(network(&bench.run(second).await.1), first, "no job had its own network");
    assert_ne!(network(&bench.run(job(&[NETWORK])).await.1), first, "executions share nothing");
    bench.stop().await;
}
