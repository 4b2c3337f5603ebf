//! What the table holds: attributes that other programs read, and the partitions of the index of due nodes.

use aws_sdk_dynamodb::types::AttributeValue;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use tidemill_core::execution::status::JobStatus;
use tidemill_core::{
    api::{AttemptEnd, ExecuteRequest, JobExecuteReply, JobExecuteRequest, JobReport, WorkerInfo},
    ids::{ExecutionId, JobId, WorkerId},
    time::Timestamp,
};
use tidemill_services::{
    Services, Settings, Stores,
    ports::{Clock, NewNode, NodeKey, Write},
};
use tidemill_testkit::cloud;
use tidemill_testkit::conformance::{
    ManualClock,
    samples::{artifact, commit_writes, create_execution, job},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

type Item = HashMap<String, AttributeValue>;

struct Table {
    client: aws_sdk_dynamodb::Client,
    name: String,
    stores: Stores,
    clock: Arc<ManualClock>,
}

impl Table {
    async fn new() -> Self {
        let account = cloud::Account::new();
        let names = account.create_resources().await;
        let clock = Arc::new(ManualClock::default());
        let name = names.table.clone();
        let (stores, _) = tidemill_aws::open_with_clock(&account.sdk(), names, clock.clone());
        Self { client: aws_sdk_dynamodb::Client::new(&account.sdk()), name, stores, clock }
    }

    async fn query(&self, index: Option<&str>, key: &str, value: &str) -> Vec<Item> {
        let query = self.client.query().table_name(&self.name).set_index_name(index.map(str::to_owned));
        let query = query.key_condition_expression(format!("{key} = :value"));
        let query = query.expression_attribute_values(":value", AttributeValue::S(value.to_owned()));
        query.into_paginator().items().send().collect::<Result<Vec<Item>, _>>().await.unwrap()
    }

    /// Returns the number of due nodes in each partition of the index.
    async fn nodes_by_partition(&self, partitions: u32) -> BTreeMap<u32, usize> {
        let mut numbers = BTreeMap::new();
        for number in 0..partitions {
            let nodes = self.query(Some("by_due"), "dk", &format!("d{number}")).await.len();
            if nodes > 0 {
                numbers.insert(number, nodes);
            }
        }
        numbers
    }
}

fn texts(item: &Item) -> BTreeMap<&str, &str> {
    item.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_s().ok()?.as_str()))).collect()
}

fn name(text: &str) -> String {
    text.to_owned()
}

/// Executions, jobs and artifacts have the fields of the record layout under their names, and follow every change.
#[tokio::test]
async fn records_are_readable_by_other_programs() {
    if !cloud::is_available() {
        return;
    }
    let table = Table::new().await;
    let services = Services::new(table.stores.clone(), Settings::default(), CancellationToken::new());
    let request = ExecuteRequest {
        pipeline: "name: one\nstages: [build]\njobs: { j: { stage: build, image: \"i:1\", script: [x] } }\n"
            .into(),
        repo: "https://git.example.org/r.git".into(),
        branch: Some("main".into()),
        commit: Some("c0ffee".into()),
        ..ExecuteRequest::default()
    };
    let id = services.pipelines.execute(request, None, None).await.unwrap().execution_id;
    let job = JobId::of(id, 0);
    let home = format!("e#{}", id.partition());
    let items = table.query(None, "pk", &home).await;
    let (node, execution) = (texts(&items[0]), texts(items.last().unwrap()));
    for (field, value) in [
        ("id", id.to_string()),
        ("pipeline_name", name("one")),
        ("repo", name("https://git.example.org/r.git")),
        ("branch", name("main")),
        ("commit", name("c0ffee")),
        ("status", name("PENDING")),
    ] {
        assert_eq!(execution.get(field), Some(&value.as_str()), "{field}");
    }
    for (field, value) in [
        ("id", job.to_string()),
        ("pipeline_execution_id", id.to_string()),
        ("stage", name("build")),
        ("job_name", name("j")),
        ("docker_image", name("i:1")),
        ("status", name("QUEUED")),
    ] {
        assert_eq!(node.get(field), Some(&value.as_str()), "{field}");
    }
    assert!(!node.contains_key("start_time") && !node.contains_key("logs"));

    let claim = JobExecuteRequest {
        labels: tidemill_core::pipeline::labels::Labels::new(),
        worker: WorkerInfo { id: WorkerId(Uuid::now_v7()), name: "w".into() },
        job_id: Some(job),
        execution_id: None,
        lease: None,
        wait_ms: 0,
        lookahead: 0,
        slot_price: 0,
    };
    let JobExecuteReply::Assigned { assignment, .. } = services.jobs.execute(claim).await.unwrap() else {
        unreachable!("the job is queued")
    };
    let stored = artifact(NodeKey { execution: id, ix: 0 }, 0, None);
    commit_writes(&*table.stores.records, vec![Write::PutArtifact(Box::new(stored.clone()))]).await;
    let end = Some(AttemptEnd { failure: None, exit_code: Some(0), ..AttemptEnd::default() });
    let lease = assignment.lease.token;
    let report = JobReport { job_id: job, lease, log: None, phase: None, steps: Vec::new(), end };
    services.jobs.report(report).await.unwrap();
    let items = table.query(None, "pk", &home).await;
    for item in [&items[0], items.last().unwrap()] {
        let fields = texts(item);
        assert_eq!(fields["status"], "SUCCESS");
        assert_eq!(fields["start_time"], table.clock.now().to_string());
        assert_eq!(fields["end_time"], table.clock.now().to_string());
    }
    assert_eq!(texts(&items[0])["logs"], format!("l#{job}#1"));
    let items = table.query(None, "pk", &format!("a#{}", id.partition())).await;
    let fields = texts(&items[0]);
    assert_eq!(fields["id"], stored.id.to_string());
    assert_eq!(fields["job_execution_id"], job.to_string());
    assert_eq!(
        (fields["file_path"], fields["uploaded_at"]),
        ("out/*", stored.uploaded_at.to_string().as_str())
    );
}

/// Creates nodes that are due at `at`.
fn due_nodes(number: u32, at: Timestamp) -> Vec<NewNode> {
    (0..number)
        .map(|ix| NewNode { due_at: Some(at), ..job(&format!("job-{ix}"), JobStatus::Queued, 0, Vec::new()) })
        .collect()
}

/// Due nodes are spread over partitions of the index whose number doubles under load and halves after it, and none is missed.
#[tokio::test]
async fn due_nodes_are_found_while_partitions_double_and_halve() {
    if !cloud::is_available() {
        return;
    }
    let table = Table::new().await;
    let records = &table.stores.records;
    let find_all = async |at: Timestamp| -> BTreeSet<(ExecutionId, u32)> {
        let found = records.due_nodes(at, 20_000).await.unwrap();
        found.into_iter().map(|node| (node.key.execution, node.key.ix)).collect()
    };
    let soon = table.clock.now().plus_ms(60_000);
    let first = create_execution(&**records, due_nodes(2_400, soon)).await;
    assert_eq!(table.nodes_by_partition(16).await.len(), 4);
    assert_eq!(find_all(soon).await.len(), 2_400, "and the partitions double");
    table.clock.advance(61_000);
    let later = table.clock.now().plus_ms(60_000);
    let second = create_execution(&**records, due_nodes(80, later)).await;
    let numbers = table.nodes_by_partition(16).await;
    assert_eq!(numbers.len(), 8, "{numbers:?}");
    let found = find_all(later).await;
    assert_eq!(found.len(), 2_480);
    assert!(found.contains(&(first, 2_399)) && found.contains(&(second, 79)));

    // When the nodes are gone, fewer partitions are written, and those with nodes are still read.
    for nodes in records.nodes(first, &(0..2_400).collect::<Vec<_>>()).await.unwrap().chunks(90) {
        let done =
            nodes.iter().map(|node| Write::SetDue { key: node.key, if_version: node.version, due_at: None });
        commit_writes(&**records, done.collect()).await;
    }
    for _ in 0..3 {
        table.clock.advance(17 * 60_000);
        assert_eq!(find_all(later).await.len(), 80, "all of them, in eight partitions");
    }
    let third = create_execution(&**records, due_nodes(80, later)).await;
    let numbers = table.nodes_by_partition(8).await;
    assert_eq!(numbers[&0] + numbers[&1] + numbers[&2] + numbers[&3], 120, "{numbers:?}");
    assert!(find_all(later).await.contains(&(third, 0)));
}
