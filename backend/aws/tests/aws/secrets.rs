//! No data that a deployment stores on AWS contains a secret; against an emulator over HTTP.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, missing_docs)]

use aws_sdk_dynamodb::types::AttributeValue;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::io::Read;
use tidemill_core::execution::failure::{FailureKind, FailureReason};
use tidemill_core::{
    api::{
        AttemptEnd, ExecuteRequest, JobExecuteReply, JobExecuteRequest, JobReport, LogBytes, LogContent,
        SetSecretRequest, WorkerInfo,
    },
    ids::WorkerId,
};
use tidemill_services::{Services, Settings};
use tidemill_testkit::cloud;
use tidemill_testkit::conformance::samples;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const VALUE: &str = "the value of the secret";
/// Stored text that is not secret; the search must find it.
const LINE: &str = "the-line-of-the-script";
const PRINTED: &str = "what the job printed, masked";

/// All stored data: its source and its bytes.
struct StoredData(Vec<(String, Vec<u8>)>);

impl StoredData {
    fn contains(&self, source: &str, text: &str) -> bool {
        let mut matching = self.0.iter().filter(|(name, _)| name.starts_with(source));
        matching.any(|(_, bytes)| bytes.windows(text.len()).any(|part| part == text.as_bytes()))
    }

    fn add(&mut self, source: String, bytes: &[u8]) {
        let format = bytes.first().copied();
        let mut unpacked = Vec::new();
        let packed = bytes.get(1..).unwrap_or_default();
        let dictionary = include_bytes!("../../../services/src/dictionary-1.json");
        match format {
            Some(1) => drop(
                zstd::stream::read::Decoder::new(packed).and_then(|mut from| from.read_to_end(&mut unpacked)),
            ),
            Some(2) => drop(
                zstd::stream::read::Decoder::with_dictionary(packed, dictionary)
                    .and_then(|mut from| from.read_to_end(&mut unpacked)),
            ),
            _ => {}
        }
        self.0.push((source.clone(), bytes.to_vec()));
        self.0.push((source, unpacked));
    }

    fn add_attribute(&mut self, source: &str, value: &AttributeValue) {
        match value {
            AttributeValue::B(bytes) => self.add(source.to_owned(), bytes.as_ref()),
            other => self.add(source.to_owned(), format!("{other:?}").as_bytes()),
        }
    }
}

#[tokio::test]
async fn stored_data_contains_no_secret() {
    if !cloud::is_available() {
        return;
    }
    let account = cloud::Account::new();
    let (sdk, names) = (account.sdk(), account.create_resources().await);
    let (stores, _) = tidemill_aws::open(&sdk, names.clone());
    let services = Services::new(stores, Settings::default(), CancellationToken::new());
    let repo = samples::repo();
    let request = SetSecretRequest {
        repo: repo.clone(),
        environment: None,
        name: "TOKEN".into(),
        value: VALUE.into(),
        variable: None,
    };
    services.secrets.set(request, "ann").await.unwrap();
    let pipeline = format!(
        "name: leaky\ndefaults: {{ image: i }}\njobs:\n  uses: {{ script: {LINE}, secrets: [TOKEN] }}\n  other: {{ script: x }}\n"
    );
    let request = ExecuteRequest { pipeline, repo, force: true, ..ExecuteRequest::default() };
    let id = services.pipelines.execute(request, None, None).await.unwrap().execution_id;
    let mut stored = StoredData(Vec::new());

    // The messages, before a worker receives them.
    let sqs = aws_sdk_sqs::Client::new(&sdk);
    let received = sqs
        .receive_message()
        .queue_url(&names.queue_url)
        .max_number_of_messages(10)
        .visibility_timeout(0)
        .wait_time_seconds(5)
        .send()
        .await
        .unwrap();
    for message in received.messages() {
        stored.add("sqs".into(), format!("{message:?}").as_bytes());
    }

    let view = services.pipelines.view(id, None, 0).await.unwrap().view.unwrap();
    let request = JobExecuteRequest {
        worker: WorkerInfo { id: WorkerId(Uuid::now_v7()), name: "w".into() },
        job_id: Some(view.jobs[0].id),
        execution_id: None,
        labels: tidemill_core::pipeline::labels::Labels::new(),
        lease: None,
        wait_ms: 0,
        lookahead: 0,
        slot_price: 0,
    };
    let reply = services.jobs.execute(request).await.unwrap();
    assert!(!format!("{reply:?}").contains(VALUE), "the debug form must not show the secret");
    let JobExecuteReply::Assigned { assignment, .. } = reply else { panic!("{reply:?}") };
    assert_eq!(assignment.extras.secrets[0].value, VALUE);
    let log = LogBytes {
        offset: 0,
        length: u32::try_from(PRINTED.len()).unwrap(),
        content: LogContent::Zstd(STANDARD.encode(zstd::encode_all(PRINTED.as_bytes(), 1).unwrap())),
        marks: Vec::new(),
    };
    let failure = Some(FailureReason::new(FailureKind::ScriptFailed, "exit code 1"));
    let report = JobReport {
        job_id: assignment.preparation.job_id,
        lease: assignment.lease.token,
        log: Some(log),
        phase: None,
        steps: Vec::new(),
        end: Some(AttemptEnd { failure, exit_code: Some(1), ..AttemptEnd::default() }),
    };
    services.jobs.report(report).await.unwrap();
    services.secrets.rekey().await.unwrap();

    let dynamodb = aws_sdk_dynamodb::Client::new(&sdk);
    let mut pages = dynamodb.scan().table_name(&names.table).into_paginator().items().send();
    while let Some(item) = pages.next().await {
        for (name, value) in &item.unwrap() {
            stored.add_attribute(&format!("dynamodb {name}"), value);
        }
    }
    let s3 = aws_sdk_s3::config::Builder::from(&sdk).force_path_style(true).build();
    let s3 = aws_sdk_s3::Client::from_conf(s3);
    for object in s3.list_objects_v2().bucket(&names.bucket).send().await.unwrap().contents() {
        let key = object.key().unwrap();
        let reply = s3.get_object().bucket(&names.bucket).key(key).send().await.unwrap();
        stored.add(format!("s3 {key}"), &reply.body.collect().await.unwrap().into_bytes());
    }
    let ssm = aws_sdk_ssm::Client::new(&sdk);
    let parameter = ssm.get_parameter().name(names.key_parameter.as_deref().unwrap()).send().await.unwrap();
    let parameter = parameter.parameter.unwrap();
    assert_eq!(parameter.r#type(), Some(&aws_sdk_ssm::types::ParameterType::SecureString));
    stored.add("ssm".into(), format!("{parameter:?}").as_bytes());

    assert!(
        stored.contains("dynamodb", LINE) && stored.contains("dynamodb", "TOKEN"),
        "the search must find records"
    );
    assert!(
        stored.contains("dynamodb", PRINTED) || stored.contains("s3", PRINTED),
        "the search must find logs"
    );
    assert!(stored.contains("sqs", &view.jobs[0].id.to_string()), "the search must find messages");
    for form in [VALUE.to_owned(), STANDARD.encode(VALUE)] {
        assert!(!stored.contains("", &form), "{form} is stored");
    }
}
