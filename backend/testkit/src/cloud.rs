//! Accounts on an emulator of AWS, each with a deployment's table, queue and bucket.
#![allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::new_without_default,
    clippy::print_stderr,
    clippy::return_self_not_must_use,
    clippy::unwrap_used,
    missing_docs,
    reason = "test code"
)]

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::{
    config::Credentials,
    types::{
        AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
        ProjectionType, ScalarAttributeType,
    },
};
use tidemill_aws::ResourceNames;
use uuid::Uuid;

const ENDPOINT: &str = "TIDEMILL_TEST_AWS_ENDPOINT";

/// Whether an emulator is configured; prints a note if not. `scripts/test` starts one.
pub fn is_available() -> bool {
    let is_set = std::env::var(ENDPOINT).is_ok();
    if !is_set {
        eprintln!("skipped: {ENDPOINT} is not set; scripts/test starts an emulator and sets it");
    }
    is_set
}

/// An account on the emulator, which derives it from an access key of 12 digits.
#[derive(Debug, Clone)]
pub struct Account {
    endpoint: String,
    id: String,
}

impl Account {
    pub fn new() -> Self {
        let id = format!("{:012}", Uuid::new_v4().as_u64_pair().0 % 1_000_000_000_000);
        Self { endpoint: std::env::var(ENDPOINT).unwrap(), id }
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Returns the same account with another endpoint.
    pub fn with_endpoint(&self, endpoint: &str) -> Self {
        Self { endpoint: endpoint.to_owned(), id: self.id.clone() }
    }

    pub fn sdk(&self) -> SdkConfig {
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(&self.endpoint)
            .credentials_provider(aws_sdk_dynamodb::config::SharedCredentialsProvider::new(Credentials::new(
                &self.id, "secret", None, None, "tests",
            )))
            // Reading the machine's certificates takes longer than most tests, and emulators speak plain HTTP.
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build()
    }

    /// Creates the resources of a deployment, as the template does.
    pub async fn create_resources(&self) -> ResourceNames {
        let sdk = self.sdk();
        let name = format!("tidemill-{}", Uuid::now_v7().simple());
        let queue = aws_sdk_sqs::Client::new(&sdk).create_queue().queue_name(&name).send().await.unwrap();
        let s3 = aws_sdk_s3::config::Builder::from(&sdk).force_path_style(true).build();
        aws_sdk_s3::Client::from_conf(s3).create_bucket().bucket(&name).send().await.unwrap();
        create_table(&aws_sdk_dynamodb::Client::new(&sdk), &name).await;
        ResourceNames {
            table: name.clone(),
            queue_url: queue.queue_url.unwrap(),
            key_parameter: Some(format!("/{name}/secret-key")),
            labelled_queues: std::collections::BTreeMap::new(),
            bucket: name,
            keep_days: None,
        }
    }
}

async fn create_table(client: &aws_sdk_dynamodb::Client, name: &str) {
    let key =
        |name: &str, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build().unwrap();
    let attribute = |name: &str, kind| {
        AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build().unwrap()
    };
    let mut table = client
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest)
        .key_schema(key("pk", KeyType::Hash))
        .key_schema(key("sk", KeyType::Range))
        .attribute_definitions(attribute("pk", ScalarAttributeType::S))
        .attribute_definitions(attribute("sk", ScalarAttributeType::S))
        .attribute_definitions(attribute("id", ScalarAttributeType::S))
        .attribute_definitions(attribute("dk", ScalarAttributeType::S))
        .attribute_definitions(attribute("due", ScalarAttributeType::N));
    let keys_only = || Projection::builder().projection_type(ProjectionType::KeysOnly).build();
    let index = |name: &str, hash: &str, range: &str| {
        GlobalSecondaryIndex::builder()
            .index_name(name)
            .key_schema(key(hash, KeyType::Hash))
            .key_schema(key(range, KeyType::Range))
            .projection(keys_only())
            .build()
            .unwrap()
    };
    table = table.global_secondary_indexes(index("by_due", "dk", "due"));
    for (name, hash) in [
        ("by_all", "la"),
        ("by_repo", "lr"),
        ("by_repo_pipeline", "lrp"),
        ("by_pipeline", "lp"),
        ("by_branch", "lb"),
        ("by_status", "ls"),
        ("by_run", "ln"),
    ] {
        table = table
            .attribute_definitions(attribute(hash, ScalarAttributeType::S))
            .global_secondary_indexes(index(name, hash, "id"));
    }
    table.send().await.unwrap();
}
