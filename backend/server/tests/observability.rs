//! Metrics and the export to OpenTelemetry of a real server, with a receiver on loopback that decodes what it gets with the types of the
//! specification.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use axum::{Router, body::Bytes, extract::Path, http::HeaderMap, http::StatusCode, routing::post};
use opentelemetry_proto::tonic::{
    collector::{
        logs::v1::ExportLogsServiceRequest, metrics::v1::ExportMetricsServiceRequest,
        trace::v1::ExportTraceServiceRequest,
    },
    common::v1::{KeyValue, any_value::Value},
    metrics::v1::{AggregationTemporality, metric::Data},
    trace::v1::{Span, span::SpanKind, status::StatusCode as SpanStatus},
};
use prost::Message as _;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tidemill_core::{
    api::{
        AttemptEnd, ExecuteRequest, JobExecuteReply, JobExecuteRequest, JobReport, StepView, Trigger,
        WorkerInfo,
    },
    execution::{
        assignment::{Assignment, Source},
        failure::{FailureKind, FailureReason},
    },
    ids::{ExecutionId, WorkerId},
    time::Timestamp,
    trace::context::TraceContext,
};
use tidemill_server::{
    AllMetrics, EmbeddedConfig, EmbeddedServer, MetricsSource, OtlpExporter, OtlpOptions, OtlpSettings,
    OtlpSources, ProcessMetrics, log_layer, serve_metrics,
};
use tidemill_services::Services;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing_subscriber::layer::SubscriberExt as _;

const PIPELINE: &str = "
name: observed
stages: [test]
jobs:
  good: { stage: test, image: busybox, script: 'true' }
  bad: { stage: test, image: busybox, script: 'exit 3' }
";
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const TEST_TIMEOUT: Duration = Duration::from_secs(60);

/// What a receiver got.
#[derive(Clone, Default)]
struct Received {
    requests: Arc<Mutex<Vec<(String, Bytes)>>>,
    headers: Arc<Mutex<Vec<HeaderMap>>>,
    /// Number of requests that are still answered with 503.
    failures: Arc<Mutex<u32>>,
}

impl Received {
    /// Starts a receiver that answers the first `failures` requests for traces with 503.
    async fn start(failures: u32) -> (Self, SocketAddr, AbortOnDropHandle<()>) {
        let received = Self { failures: Arc::new(Mutex::new(failures)), ..Self::default() };
        let of = received.clone();
        let receive = move |Path(signal): Path<String>, headers: HeaderMap, body: Bytes| {
            let status = of.receive(signal, headers, body);
            async move { status }
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/v1/{signal}", post(receive));
        let serving = async move { axum::serve(listener, router).await.unwrap() };
        (received, address, AbortOnDropHandle::new(tokio::spawn(serving)))
    }

    fn receive(&self, signal: String, headers: HeaderMap, body: Bytes) -> StatusCode {
        let mut failures = self.failures.lock().unwrap();
        if signal == "traces" && *failures > 0 {
            *failures -= 1;
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        assert_eq!(headers["content-type"], "application/x-protobuf");
        self.headers.lock().unwrap().push(headers);
        self.requests.lock().unwrap().push((signal, body));
        StatusCode::OK
    }

    fn bodies(&self, signal: &str) -> Vec<Bytes> {
        let requests = self.requests.lock().unwrap();
        requests.iter().filter(|(of, _)| of == signal).map(|(_, body)| body.clone()).collect()
    }

    fn spans(&self) -> Vec<Span> {
        let requests = self.bodies("traces").into_iter();
        let requests = requests.map(|body| ExportTraceServiceRequest::decode(body).unwrap());
        let resources = requests.flat_map(|request| request.resource_spans);
        resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans).collect()
    }
}

fn text<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    let attribute = attributes.iter().find(|attribute| attribute.key == key)?;
    match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

async fn until<T>(what: &str, mut check: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = check().await {
            return value;
        }
        assert!(started.elapsed() < TEST_TIMEOUT, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

struct Server {
    services: Services,
    shutdown: CancellationToken,
    _dir: tempfile::TempDir,
}

impl Server {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let embedded = EmbeddedServer::open(EmbeddedConfig::new(dir.path().join("data"))).await.unwrap();
        let (services, shutdown) = (embedded.services().clone(), CancellationToken::new());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        tokio::spawn(embedded.serve(listener, shutdown.clone()));
        Self { services, shutdown, _dir: dir }
    }

    async fn execute(&self, commit: &str, trace: Option<&str>) -> ExecutionId {
        let request = ExecuteRequest {
            pipeline: PIPELINE.into(),
            repo: "checks".into(),
            branch: Some("main".into()),
            commit: Some(commit.into()),
            source: Source::None,
            trigger: Trigger::Push,
            ..ExecuteRequest::default()
        };
        let started = self.services.pipelines.execute(request, None, trace.map(str::to_owned)).await;
        started.unwrap().execution_id
    }

    /// Runs all jobs: each has one command, that of `bad` fails. Returns the variable `TRACEPARENT` of each job.
    async fn work(&self) -> BTreeMap<String, String> {
        let mut traces = BTreeMap::new();
        while let Some(assignment) = self.claim().await {
            let is_good = assignment.job_name == "good";
            let code = if is_good { 0 } else { 3 };
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
            let step = StepView {
                exit_code: Some(code),
                duration_ms: Some(1),
                started_at: Some(Timestamp(i64::try_from(now.as_millis()).unwrap())),
                ..StepView::running(0)
            };
            let failure = (!is_good).then(|| FailureReason::new(FailureKind::ScriptFailed, "exit code 3"));
            let report = JobReport {
                job_id: assignment.preparation.job_id,
                lease: assignment.lease.token,
                log: None,
                phase: None,
                steps: vec![step],
                end: Some(AttemptEnd { failure, exit_code: Some(code), ..AttemptEnd::default() }),
            };
            self.services.jobs.report(report).await.unwrap();
            traces.insert(assignment.job_name.clone(), assignment.variables["TRACEPARENT"].clone());
        }
        traces
    }

    async fn claim(&self) -> Option<Assignment> {
        let request = JobExecuteRequest {
            worker: WorkerInfo { id: WorkerId(uuid::Uuid::from_u128(7)), name: "w".into() },
            job_id: None,
            execution_id: None,
            labels: BTreeMap::default(),
            lease: None,
            wait_ms: 0,
            lookahead: 0,
            slot_price: 0,
        };
        match self.services.jobs.execute(request).await.unwrap() {
            JobExecuteReply::Assigned { assignment, .. } => Some(*assignment),
            JobExecuteReply::Nothing { .. } => None,
        }
    }
}

fn exporter(address: SocketAddr) -> OtlpExporter {
    let options = OtlpOptions {
        endpoint: format!("http://{address}"),
        headers: Some("authorization=Bearer%20secret".into()),
        resource: Some("deployment.environment.name=test".into()),
        service_name: "tidemill-server".into(),
        metric_interval_ms: Some("100".into()),
    };
    OtlpExporter::new(OtlpSettings::new(&options).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn trace_of_an_execution_arrives_although_the_receiver_failed_at_first() {
    let (received, address, _serving) = Received::start(2).await;
    let server = Server::start().await;
    let exporter = exporter(address);
    let (own, stop) = (exporter.metrics(), CancellationToken::new());
    let sources = OtlpSources {
        services: Some(server.services.clone()),
        metrics: Arc::new(server.services.clone()),
        logs: None,
    };
    let exporting = tokio::spawn(exporter.run(sources, stop.clone()));
    // The export must have its channel before the execution ends.
    until("metrics arrive", async || (!received.bodies("metrics").is_empty()).then_some(())).await;
    let id = server.execute("c1", Some(TRACE)).await;
    let started = Instant::now();
    let traces = server.work().await;
    assert!(started.elapsed() < Duration::from_secs(20), "no job waits for the export");
    let spans =
        until("spans arrive", async || Some(received.spans()).filter(|spans| !spans.is_empty())).await;

    let named = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
    let root = named("observed");
    let caller = TraceContext::parse(TRACE).unwrap();
    assert_eq!(root.parent_span_id, caller.parent.0.to_be_bytes());
    assert!(spans.iter().all(|span| span.trace_id == caller.trace_id.to_be_bytes()));
    assert_eq!(text(&root.attributes, "cicd.pipeline.run.id"), Some(id.to_string().as_str()));
    assert_eq!(text(&root.attributes, "cicd.pipeline.result"), Some("failure"));
    assert_eq!(root.status.as_ref().unwrap().code, SpanStatus::Error as i32);
    assert!(root.kind == SpanKind::Internal as i32 && root.start_time_unix_nano < root.end_time_unix_nano);
    for (job, status) in [("good", SpanStatus::Ok), ("bad", SpanStatus::Error)] {
        let span = named(job);
        assert_eq!(span.parent_span_id, root.span_id);
        assert_eq!(span.status.as_ref().unwrap().code, status as i32, "{job}");
        // What the job got is the span of its attempt.
        let of_job = TraceContext::parse(&traces[job]).unwrap();
        let attempt = spans.iter().find(|span| span.span_id == of_job.parent.0.to_be_bytes()).unwrap();
        assert_eq!((attempt.name.as_str(), &attempt.parent_span_id), ("attempt 1", &span.span_id));
        let below = |above: &Span, name: &str| {
            let mut all = spans.iter().filter(|span| span.parent_span_id == above.span_id);
            all.find(|span| span.name == name).unwrap_or_else(|| panic!("{name} of {job}")).clone()
        };
        let script = below(attempt, "script");
        assert_eq!(below(&script, "command 1").status.unwrap().code, status as i32);
        below(attempt, "prepare");
        below(attempt, "collect");
    }
    let headers = received.headers.lock().unwrap().clone();
    assert!(headers.iter().all(|headers| headers["authorization"] == "Bearer secret"));

    stop.cancel();
    exporting.await.unwrap();
    let sent = own.gather();
    let items = sent.iter().find(|family| family.name() == "tidemill_otlp_items_total").unwrap();
    let count = |labels: [&str; 2]| {
        let of = items.get_metric().iter().find(|metric| {
            let values: Vec<&str> =
                metric.get_label().iter().map(prometheus::proto::LabelPair::value).collect();
            values == labels
        });
        of.unwrap().get_counter().get_value()
    };
    // Labels are in the order of their names: outcome, signal.
    let number = f64::from(u32::try_from(spans.len()).unwrap());
    assert!((count(["sent", "traces"]) - number).abs() < 0.5);
    assert!(count(["dropped", "traces"]) < 0.5);
    server.shutdown.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_and_logs_arrive_with_their_resource() {
    let (received, address, _serving) = Received::start(0).await;
    let server = Server::start().await;
    let (layer, records) = log_layer();
    let sources = OtlpSources {
        services: Some(server.services.clone()),
        metrics: Arc::new(server.services.clone()),
        logs: Some(records),
    };
    let stop = CancellationToken::new();
    let exporting = tokio::spawn(exporter(address).run(sources, stop.clone()));
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        let _span = tracing::error_span!("request", execution = "e1").entered();
        tracing::warn!(attempt = 2, "the disk is slow");
    });
    server.execute("c1", None).await;
    server.work().await;
    let ended = async || {
        let latest = ExportMetricsServiceRequest::decode(received.bodies("metrics").pop()?).unwrap();
        let resource = latest.resource_metrics.into_iter().next()?;
        let metrics = resource.scope_metrics.into_iter().next()?.metrics;
        let ended = metrics.iter().find(|metric| metric.name == "tidemill_executions_ended_total")?;
        let Some(Data::Sum(sum)) = &ended.data else { panic!("{ended:?}") };
        assert!(sum.is_monotonic && sum.aggregation_temporality == AggregationTemporality::Cumulative as i32);
        let failed =
            sum.data_points.iter().find(|point| text(&point.attributes, "status") == Some("failed"))?;
        assert!(failed.start_time_unix_nano > 0 && failed.start_time_unix_nano <= failed.time_unix_nano);
        let is_counted = failed.value.is_some_and(|value| format!("{value:?}").contains('1'));
        is_counted.then_some((resource.resource.unwrap(), metrics))
    };
    let (resource, metrics) = until("the execution is counted", ended).await;
    assert_eq!(text(&resource.attributes, "service.name"), Some("tidemill-server"));
    assert_eq!(text(&resource.attributes, "deployment.environment.name"), Some("test"));
    let queue = metrics.iter().find(|metric| metric.name == "tidemill_job_queue_seconds").unwrap();
    let Some(Data::Histogram(histogram)) = &queue.data else { panic!("{queue:?}") };
    let point = &histogram.data_points[0];
    assert_eq!((point.count, point.bucket_counts.iter().sum::<u64>()), (2, 2));
    assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);

    let logs = until("logs arrive", async || received.bodies("logs").pop()).await;
    let logs = ExportLogsServiceRequest::decode(logs).unwrap();
    let record = &logs.resource_logs[0].scope_logs[0].log_records[0];
    assert_eq!((record.severity_text.as_str(), record.severity_number), ("WARN", 13));
    assert_eq!(text(&record.attributes, "execution"), Some("e1"));
    let body = record.body.as_ref().unwrap().value.as_ref().unwrap();
    assert_eq!(*body, Value::StringValue("the disk is slow".into()));
    stop.cancel();
    exporting.await.unwrap();
    server.shutdown.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn receiver_that_hangs_delays_neither_jobs_nor_the_end_of_the_process() {
    // It accepts connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server::start().await;
    let stop = CancellationToken::new();
    let sources = OtlpSources {
        services: Some(server.services.clone()),
        metrics: Arc::new(ProcessMetrics::new()),
        logs: None,
    };
    let exporting = tokio::spawn(exporter(silent.local_addr().unwrap()).run(sources, stop.clone()));
    tokio::time::sleep(Duration::from_millis(200)).await;
    let started = Instant::now();
    for commit in ["c1", "c2", "c3"] {
        server.execute(commit, None).await;
    }
    assert_eq!(server.work().await.len(), 2);
    assert!(started.elapsed() < Duration::from_secs(9), "{:?}", started.elapsed());
    stop.cancel();
    // A request has ten seconds at most.
    tokio::time::timeout(Duration::from_secs(30), exporting).await.unwrap().unwrap();
    server.shutdown.cancel();
}

async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    reply
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_have_bounded_labels_and_no_names_and_nothing_else_is_served() {
    let server = Server::start().await;
    let all = Arc::new(AllMetrics::default());
    all.add(Arc::new(ProcessMetrics::new()));
    all.add(Arc::new(server.services.clone()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
    let source: Arc<dyn MetricsSource> = all;
    let serving = tokio::spawn(serve_metrics(listener, source, stop.clone()));
    server.execute("secret-commit", Some(TRACE)).await;
    server.execute("waits", None).await;
    let claimed = server.claim().await.unwrap();
    let waiting = get(address, "/metrics").await;
    let value = |text: &str, line: &str| {
        let found = text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' '));
        found.unwrap_or_else(|| panic!("no {line} in\n{text}")).parse::<f64>().unwrap()
    };
    assert!(waiting.starts_with("HTTP/1.1 200"), "{waiting}");
    assert!((value(&waiting, "tidemill_jobs{status=\"queued\"}") - 3.0).abs() < 0.1, "{waiting}");
    assert!((value(&waiting, "tidemill_jobs{status=\"running\"}") - 1.0).abs() < 0.1);
    assert!((value(&waiting, "tidemill_health_problem{problem=\"store_failed\"}")).abs() < 0.1);
    assert!(value(&waiting, "tidemill_disk_bytes{kind=\"free\"}") > 0.0);
    assert!(value(&waiting, "process_resident_memory_bytes") > 1e6);
    drop(claimed);
    server.work().await;
    // A reading is cached for a second.
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let after = get(address, "/metrics").await;
    assert!(value(&after, "tidemill_jobs{status=\"queued\"}").abs() < 0.1, "{after}");
    assert!((value(&after, "tidemill_executions_started_total{trigger=\"push\"}") - 2.0).abs() < 0.1);
    for name in ["secret-commit", "observed", "good", "checks", "main\"", "busybox"] {
        assert!(!after.contains(name), "{name}: {after}");
    }
    for path in ["/", "/api/health", "/metrics/x"] {
        assert!(get(address, path).await.starts_with("HTTP/1.1 404"), "{path}");
    }
    stop.cancel();
    serving.await.unwrap();
    server.shutdown.cancel();
}
