//! What earlier versions stored is read, and so is what later ones may store: functions of two versions serve side by side
//! while a deployment is upgraded.
//!
//! `fixtures/aws/items-1.json` holds one item of each kind as version 1 wrote it. Never change it: when a form changes,
//! add a file. `TIDEMILL_WRITE_FIXTURES=1` writes one of the present version, to be looked at and named.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, missing_docs)]

use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};
use std::{collections::HashMap, sync::Arc};
use tidemill_aws as aws;
use tidemill_core::{
    ids::{ExecutionId, JobId},
    status::{ExecutionStatus, JobStatus},
};
use tidemill_services::Stores;
use tidemill_services::ports::{KeyRecord, NodeBody, NodeKey, Write};
use tidemill_testkit::cloud;
use tidemill_testkit::conformance::{
    ManualClock,
    samples::{artifact, create, done, job, silent, spec},
};

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/items-1.json");
const EXECUTION: &str = "019a0000-0000-7abc-8def-0123456789ab";

type Item = HashMap<String, AttributeValue>;

fn execution() -> ExecutionId {
    EXECUTION.parse().unwrap()
}

struct Place {
    stores: Stores,
    table: aws_sdk_dynamodb::Client,
    name: String,
}

async fn place() -> Place {
    let account = cloud::Account::new();
    let names = account.make().await;
    let sdk = account.sdk();
    let table = aws_sdk_dynamodb::Client::new(&sdk);
    let name = names.table.clone();
    let (stores, _) = aws::open_at(&sdk, names, Arc::new(ManualClock::default()));
    Place { stores, table, name }
}

fn to_json(item: &Item) -> Value {
    let of = |value: &AttributeValue| match value {
        AttributeValue::S(text) => json!({ "S": text }),
        AttributeValue::N(text) => json!({ "N": text }),
        AttributeValue::B(bytes) => json!({ "B": STANDARD.encode(bytes) }),
        other => panic!("an attribute of a kind that is not used: {other:?}"),
    };
    let sorted: std::collections::BTreeMap<&String, Value> =
        item.iter().map(|(name, value)| (name, of(value))).collect();
    json!(sorted)
}

fn of_json(item: &Map<String, Value>) -> Item {
    let of = |value: &Value| {
        let (kind, value) = value.as_object().unwrap().iter().next().unwrap();
        let text = value.as_str().unwrap().to_owned();
        match kind.as_str() {
            "S" => AttributeValue::S(text),
            "N" => AttributeValue::N(text),
            "B" => AttributeValue::B(Blob::new(STANDARD.decode(text).unwrap())),
            other => panic!("{other}"),
        }
    };
    item.iter().map(|(name, value)| (name.clone(), of(value))).collect()
}

impl Place {
    async fn put(&self, item: Item) {
        self.table.put_item().table_name(&self.name).set_item(Some(item)).send().await.unwrap();
    }

    /// One item of each kind, written through the port.
    async fn write_all(&self) {
        let records = &self.stores.records;
        let id = execution();
        let nodes = vec![
            job("compile", JobStatus::Success, 0, vec![2, 3]),
            job("unit", JobStatus::Running, 1, vec![3]),
            silent(NodeBody::Gate { open: true }, 0, vec![1]),
            silent(NodeBody::End, 1, Vec::new()),
        ];
        let spec = spec(id, "https://example.org/app.git", "build", 2);
        let key = KeyRecord { execution: id, request: "of a request".into() };
        let key = Write::PutKey { key: "run:fixture".into(), if_execution: None, record: key };
        done(&**records, vec![create(spec, nodes), key]).await;
        let kept = artifact(NodeKey { execution: id, ix: 0 }, 0, None);
        done(&**records, vec![Write::PutArtifact(Box::new(kept))]).await;
        self.stores.logs.append(JobId::of(id, 1), 1, 0, b"a line\n").await.unwrap();
    }

    async fn read_all(&self) {
        let records = &self.stores.records;
        let id = execution();
        let found = records.execution(id).await.unwrap().expect("the execution");
        assert_eq!((found.spec.pipeline_name.as_str(), found.run_number), ("build", 1));
        assert_eq!(found.state.status, ExecutionStatus::Pending);
        let nodes = records.all_nodes(id).await.unwrap();
        let statuses: Vec<_> = nodes.iter().map(|node| node.state.status()).collect();
        assert_eq!(statuses, [Some(JobStatus::Success), Some(JobStatus::Running), None, None]);
        assert_eq!((nodes[0].spec.links.clone(), nodes[1].waits_for), (vec![2, 3], 1));
        assert_eq!((nodes[0].spec.name.as_str(), nodes[0].spec.job), ("compile", Some(JobId::of(id, 0))));
        assert_eq!(records.key("run:fixture").await.unwrap().unwrap().execution, id);
        let kept = artifact(NodeKey { execution: id, ix: 0 }, 0, None);
        assert_eq!(records.artifacts_of(JobId::of(id, 0)).await.unwrap(), [kept]);
        let (bytes, stored) = self.stores.logs.read(JobId::of(id, 1), 1, 0, 99).await.unwrap();
        assert_eq!((bytes.as_ref(), stored), (&b"a line\n"[..], 7));
        // What was read can be written to.
        let key = NodeKey { execution: id, ix: 1 };
        let due_at = Some(tidemill_core::time::Timestamp(1));
        done(&**records, vec![Write::SetDue { key, if_version: nodes[1].version, due_at }]).await;
    }
}

#[tokio::test]
async fn items_of_version_1_are_read_with_and_without_what_later_ones_add() {
    if !cloud::is_there() {
        return;
    }
    if std::env::var_os("TIDEMILL_WRITE_FIXTURES").is_some() {
        let place = place().await;
        place.write_all().await;
        let all = place.table.scan().table_name(&place.name).send().await.unwrap();
        let items: Vec<Value> = all.items().iter().map(to_json).collect();
        std::fs::write(FIXTURE, serde_json::to_string_pretty(&items).unwrap() + "\n").unwrap();
    }
    let text = std::fs::read_to_string(FIXTURE).unwrap();
    let items: Vec<Map<String, Value>> = serde_json::from_str(&text).unwrap();
    assert!(items.len() >= 9, "one of each kind");
    for later in [false, true] {
        let place = place().await;
        for item in &items {
            let mut item = of_json(item);
            if later {
                item.insert("zz".into(), AttributeValue::M(HashMap::new()));
                item.insert("yy".into(), AttributeValue::S("of a later version".into()));
            }
            place.put(item).await;
        }
        place.read_all().await;
    }
}
