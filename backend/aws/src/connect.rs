//! Creates the AWS clients of a process, and the stores over them.

use super::{
    documents::DynamoDocuments,
    logs::AwsLogs,
    meter::Meter,
    objects::S3Objects,
    parameter::ParameterKeyStore,
    queue::SqsQueue,
    records::{Definitions, DynamoRecords},
    table::Table,
};
use aws_config::{BehaviorVersion, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_smithy_http_client::{Builder, tls};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tidemill_core::pipeline::labels::Labels;
use tidemill_services::RandomIds;
use tidemill_services::Stores;
use tidemill_services::SystemClock;
use tidemill_services::ports::Clock;

/// The names of a deployment's resources.
#[derive(Debug, Clone)]
pub struct ResourceNames {
    /// The DynamoDB table.
    pub table: String,
    /// The job queue's URL.
    pub queue_url: String,
    /// URLs of the queues for jobs with `runs_on`, by labels.
    pub labelled_queues: BTreeMap<Labels, String>,
    /// The parameter with the encryption key of secrets; `None`: the deployment has none.
    pub key_parameter: Option<String>,
    /// The S3 bucket.
    pub bucket: String,
    /// Days after which records are deleted; `None`: never.
    pub keep_days: Option<u32>,
}

/// Loads region, credentials and endpoint (`AWS_ENDPOINT_URL`) from the environment.
pub async fn load_sdk_config() -> SdkConfig {
    let http = Builder::new()
        .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
        .build_https();
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(2))
        .operation_attempt_timeout(Duration::from_secs(25))
        .build();
    aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .retry_config(RetryConfig::standard().with_max_attempts(5))
        .timeout_config(timeouts)
        .load()
        .await
}

/// Opens the stores of a deployment, and returns them with their usage counter.
#[must_use]
pub fn open(sdk: &SdkConfig, names: ResourceNames) -> (Stores, Meter) {
    open_with_clock(sdk, names, Arc::new(SystemClock))
}

/// Does the same as [`open`] with another clock.
#[must_use]
pub fn open_with_clock(sdk: &SdkConfig, names: ResourceNames, clock: Arc<dyn Clock>) -> (Stores, Meter) {
    let meter = Meter::default();
    let table = Table::new(aws_sdk_dynamodb::Client::new(sdk), names.table, meter.clone());
    // An emulator has no host name for each bucket.
    let s3 = aws_sdk_s3::config::Builder::from(sdk).force_path_style(sdk.endpoint_url().is_some()).build();
    let objects = S3Objects::new(aws_sdk_s3::Client::from_conf(s3), names.bucket, meter.clone());
    let queue =
        SqsQueue::new(aws_sdk_sqs::Client::new(sdk), names.queue_url, names.labelled_queues, meter.clone());
    let definitions = Definitions::new(table.clone(), objects.clone());
    let logs = AwsLogs::new(table.clone(), objects.clone(), clock.clone(), names.keep_days);
    let keys = ParameterKeyStore::new(aws_sdk_ssm::Client::new(sdk), names.key_parameter);
    let documents = DynamoDocuments::new(table.clone());
    let records = DynamoRecords::new(table, definitions, clock.clone(), names.keep_days);
    let stores = Stores {
        records: Arc::new(records),
        documents: Arc::new(documents),
        keys: Arc::new(keys),
        queue: Arc::new(queue),
        objects: Arc::new(objects),
        logs: Arc::new(logs),
        clock,
        ids: Arc::new(RandomIds),
    };
    (stores, meter)
}
