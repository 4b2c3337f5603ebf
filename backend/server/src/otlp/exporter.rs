//! The tasks that export the three signals.

use super::{
    log_layer::{LogRecords, now_ns},
    messages::{
        LogMessage, LogsRequest, MetricsRequest, Resource, ResourceLogs, ResourceMetrics, ResourceSpans,
        Scope, ScopeLogs, ScopeMetrics, ScopeSpans, SpanMessage, TracesRequest, Value, attribute,
    },
    metric_points::{PointTimes, metric_message},
    settings::OtlpSettings,
    span_messages::span_message,
};
use crate::metrics::MetricsSource;
use prometheus::{IntCounterVec, Opts, Registry};
use prost::Message as _;
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tidemill_core::ids::ExecutionId;
use tidemill_services::{HttpMessenger, Services};
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Maximum number of ended executions that wait for their export.
const MAX_WAITING_EXECUTIONS: usize = 1_000;
/// Maximum number of spans or log events of a request.
const MAX_BATCH: usize = 512;
/// How long log events are collected for a request.
const LOG_INTERVAL: Duration = Duration::from_secs(1);
/// The first pause before a request is repeated; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// How long a request is repeated before what it has is dropped.
const MAX_RETRY_TIME: Duration = Duration::from_secs(300);
/// How long what is left at the end of the process is exported.
const LAST_EXPORT_TIME: Duration = Duration::from_secs(1);

/// What an exporter exports.
#[derive(Debug)]
pub struct OtlpSources {
    /// The services whose executions are exported; a worker has none.
    pub services: Option<Services>,
    /// The metrics.
    pub metrics: Arc<dyn MetricsSource>,
    /// The log events of this process.
    pub logs: Option<LogRecords>,
}

/// Exports traces, metrics and logs of this process.
#[derive(Clone)]
pub struct OtlpExporter {
    settings: Arc<OtlpSettings>,
    messenger: Arc<HttpMessenger>,
    exports: IntCounterVec,
    registry: Registry,
}

impl std::fmt::Debug for OtlpExporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OtlpExporter").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl OtlpExporter {
    /// Creates an exporter.
    ///
    /// # Panics
    /// Never: names of metrics are constants.
    #[must_use]
    #[expect(clippy::expect_used, reason = "the names are constants")]
    pub fn new(settings: OtlpSettings) -> Self {
        let options = Opts::new(
            "tidemill_otlp_items_total",
            "Spans, metrics and log events of the export to OpenTelemetry, by what happened to them",
        );
        let exports = IntCounterVec::new(options, &["signal", "outcome"]).expect("the names are valid");
        let registry = Registry::new();
        registry.register(Box::new(exports.clone())).expect("there is one metric");
        for signal in ["traces", "metrics", "logs"] {
            for outcome in ["sent", "dropped"] {
                exports.with_label_values(&[signal, outcome]);
            }
        }
        Self { settings: Arc::new(settings), messenger: Arc::default(), exports, registry }
    }

    /// Returns the metrics of the export itself.
    #[must_use]
    pub fn metrics(&self) -> Registry {
        self.registry.clone()
    }

    /// Exports until `stop`, and for a second after it.
    pub async fn run(self, sources: OtlpSources, stop: CancellationToken) {
        let tasks = TaskTracker::new();
        let OtlpSources { services, metrics, logs } = sources;
        if let Some(services) = services {
            let (sender, ended) = mpsc::channel(MAX_WAITING_EXECUTIONS);
            services.send_ended_to(sender);
            tasks.spawn(self.clone().export_traces(services, ended, stop.clone()));
        }
        if let Some(logs) = logs {
            tasks.spawn(self.clone().export_logs(logs, stop.clone()));
        }
        tasks.spawn(self.export_metrics(metrics, stop));
        tasks.close();
        tasks.wait().await;
    }

    async fn export_traces(
        self,
        services: Services,
        mut ended: mpsc::Receiver<ExecutionId>,
        stop: CancellationToken,
    ) {
        while let Some(Some(id)) = stop.run_until_cancelled(ended.recv()).await {
            self.export_trace(&services, id, &stop).await;
        }
        ended.close();
        let last = async {
            while let Some(id) = ended.recv().await {
                self.export_trace(&services, id, &stop).await;
            }
        };
        // What is left is lost with the process.
        let _ = timeout(LAST_EXPORT_TIME, last).await;
    }

    async fn export_trace(&self, services: &Services, id: ExecutionId, stop: &CancellationToken) {
        let spans = match services.pipelines.spans(id).await {
            Ok(spans) => spans,
            Err(error) => {
                tracing::warn!(execution = %id, %error, "cannot read the trace of an execution");
                self.count("traces", "dropped", 1);
                return;
            }
        };
        let mut messages = spans.into_iter().map(span_message);
        loop {
            let batch: Vec<SpanMessage> = messages.by_ref().take(MAX_BATCH).collect();
            if batch.is_empty() {
                return;
            }
            let number = batch.len();
            let scope_spans = vec![ScopeSpans { scope: Some(scope()), spans: batch }];
            let resource_spans = vec![ResourceSpans { resource: Some(self.resource()), scope_spans }];
            self.send("traces", TracesRequest { resource_spans }.encode_to_vec(), number, stop).await;
        }
    }

    async fn export_logs(self, mut logs: LogRecords, stop: CancellationToken) {
        let mut dropped = 0;
        loop {
            let mut batch = Vec::new();
            let received = stop.run_until_cancelled(logs.receiver.recv_many(&mut batch, MAX_BATCH)).await;
            if received.is_none() || received == Some(0) {
                break;
            }
            if batch.len() < MAX_BATCH {
                // More may follow soon.
                let more = async {
                    sleep(LOG_INTERVAL).await;
                    while batch.len() < MAX_BATCH
                        && let Ok(record) = logs.receiver.try_recv()
                    {
                        batch.push(record);
                    }
                };
                stop.run_until_cancelled(more).await;
            }
            self.send_logs(batch, &stop).await;
            let all_dropped = logs.dropped.load(Ordering::Relaxed);
            self.count("logs", "dropped", all_dropped - dropped);
            dropped = all_dropped;
        }
        let mut last = Vec::new();
        while last.len() < MAX_BATCH
            && let Ok(record) = logs.receiver.try_recv()
        {
            last.push(record);
        }
        if !last.is_empty() {
            let _ = timeout(LAST_EXPORT_TIME, self.send_logs(last, &stop)).await;
        }
    }

    async fn send_logs(&self, batch: Vec<LogMessage>, stop: &CancellationToken) {
        let number = batch.len();
        let scope_logs = vec![ScopeLogs { scope: Some(scope()), log_records: batch }];
        let resource_logs = vec![ResourceLogs { resource: Some(self.resource()), scope_logs }];
        self.send("logs", LogsRequest { resource_logs }.encode_to_vec(), number, stop).await;
    }

    async fn export_metrics(self, source: Arc<dyn MetricsSource>, stop: CancellationToken) {
        let start = now_ns();
        let mut ticks = interval(self.settings.metric_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let Some(families) = stop.run_until_cancelled(source.gather()).await else { return };
            let times = PointTimes { start, now: now_ns() };
            let metrics: Vec<_> =
                families.iter().filter_map(|family| metric_message(family, times)).collect();
            let number = metrics.len();
            let scope_metrics = vec![ScopeMetrics { scope: Some(scope()), metrics }];
            let resource_metrics = vec![ResourceMetrics { resource: Some(self.resource()), scope_metrics }];
            let body = MetricsRequest { resource_metrics }.encode_to_vec();
            // The next ones have the same counters, so these are not repeated.
            match self.post("metrics", body).await {
                Ok(()) => self.count("metrics", "sent", number as u64),
                Err(failure) => {
                    tracing::warn!(error = %failure.message, "cannot export metrics to OpenTelemetry");
                    self.count("metrics", "dropped", number as u64);
                }
            }
        }
    }

    fn resource(&self) -> Resource {
        let attributes = self.settings.resource.iter();
        Resource {
            attributes: attributes.map(|(key, value)| attribute(key, Value::Text(value.clone()))).collect(),
        }
    }

    fn count(&self, signal: &str, outcome: &str, number: u64) {
        self.exports.with_label_values(&[signal, outcome]).inc_by(number);
    }

    /// Sends a request, and repeats it with growing pauses while the receiver may accept it later. After `stop`, it is sent once more.
    async fn send(&self, signal: &'static str, body: Vec<u8>, number: usize, stop: &CancellationToken) {
        let started = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let is_last = stop.is_cancelled();
            let failure = match self.post(signal, body.clone()).await {
                Ok(()) => return self.count(signal, "sent", number as u64),
                Err(failure) => failure,
            };
            if !failure.may_succeed_later || is_last || started.elapsed() + pause > MAX_RETRY_TIME {
                tracing::warn!(signal, number, error = %failure.message, "cannot export to OpenTelemetry; the items are dropped");
                return self.count(signal, "dropped", number as u64);
            }
            tracing::debug!(signal, error = %failure.message, "an export to OpenTelemetry is repeated");
            stop.run_until_cancelled(sleep(pause)).await;
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }

    async fn post(&self, signal: &str, body: Vec<u8>) -> Result<(), ExportFailure> {
        let url = format!("{}/v1/{signal}", self.settings.endpoint);
        match self.messenger.post_protobuf(&url, &self.settings.headers, body).await {
            Ok(status) if (200..300).contains(&status) => Ok(()),
            Ok(status) => Err(ExportFailure {
                may_succeed_later: matches!(status, 429 | 502 | 503 | 504),
                message: format!("the receiver answered with status {status}"),
            }),
            Err(error) => Err(ExportFailure { may_succeed_later: true, message: error.to_string() }),
        }
    }
}

/// Why a request did not succeed.
struct ExportFailure {
    may_succeed_later: bool,
    message: String,
}

fn scope() -> Scope {
    Scope { name: "tidemill".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() }
}
