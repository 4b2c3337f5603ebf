//! The cost of conditions on outputs.

use super::server::Server;
use std::sync::Arc;
use tidemill_services::{Services, Settings, Stores, http};
use tidemill_testkit::conformance::ManualClock;
use tidemill_testkit::memory::{MemoryRecords, open};
use tokio_util::sync::CancellationToken;

#[tokio::test(flavor = "multi_thread")]
async fn needs_of_a_matrix_are_read_once_for_all_jobs_that_become_due() {
    const CELLS: usize = 30;
    let records = Arc::new(MemoryRecords::default());
    let clock: Arc<ManualClock> = Arc::default();
    let stores = Stores { records: records.clone(), ..open(clock) };
    let services = Services::new(stores, Settings::default(), CancellationToken::new());
    let api = http::router(services.clone(), http::TokenVerifier::from_token("secret").with_rate_limit(0));
    let server = Server { api, services, dir: tempfile::tempdir().unwrap() };
    let pipeline = format!(
        "name: matrix\nstages: [one, two]\njobs:\n  build: {{ stage: one, image: i, script: x, parallel: {CELLS}, outputs: a.env }}\n  \
         deploy: {{ stage: two, image: i, script: x, parallel: {CELLS}, needs: [build], if: 'needs.build.outputs.GO == \"\"' }}\n# {}\n",
        "x".repeat(10_000)
    );
    let created = server.execute(&pipeline).await.1;
    let id = created["execution_id"].as_str().unwrap_or_else(|| panic!("{created}"));
    for _ in 1..CELLS {
        let build = server.claim().await.unwrap();
        server.finish(&build, 0).await;
    }
    let last = server.claim().await.unwrap();
    let before = records.node_reads();
    server.finish(&last, 0).await;
    let reads = records.node_reads() - before;
    assert!(reads < CELLS * CELLS / 2, "{reads} nodes were read for {CELLS} jobs that need {CELLS}");
    let view = server.view(id).await;
    let queued = view["jobs"].as_array().unwrap().iter().filter(|job| job["status"] == "QUEUED").count();
    assert_eq!(queued, CELLS, "{view}");
}
