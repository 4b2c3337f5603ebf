//! Logs as JSON lines, and metrics in CloudWatch's embedded metric format: a log line that is also a metric, so metrics need no
//! API call.

use crate::settings;
use serde_json::json;
use std::{
    env,
    io::Write,
    time::{SystemTime, UNIX_EPOCH},
};
use tidemill_core::execution::cost::Usage;
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

/// Starts logging to standard output, one JSON object per line.
pub fn start() {
    let filter = env::var(settings::LOG).ok().filter(|filter| !filter.is_empty());
    let filter = filter.as_deref().unwrap_or("info").parse::<Targets>();
    let is_valid = filter.is_ok();
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        // `Targets` filters before this limit does.
        .with_max_level(LevelFilter::TRACE)
        .with_writer(std::io::stdout)
        .finish()
        .with(filter.unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO)))
        .init();
    if !is_valid {
        tracing::warn!(
            "{} has no valid filter; use levels such as `info` or `tidemill_aws=debug`",
            settings::LOG
        );
    }
}

/// One request, for the metrics.
#[derive(Debug, Clone)]
pub struct RequestMetrics<'a> {
    /// Lambda's id of the request.
    pub request_id: &'a str,
    /// The operation: the route, or the function's name.
    pub operation: &'a str,
    /// HTTP status; 200 for other invocations.
    pub status: u16,
    /// Duration in milliseconds.
    pub milliseconds: f64,
    /// Usage of AWS services.
    pub usage: Usage,
    /// Trace context of the caller.
    pub trace: Option<&'a str>,
}

/// The line for one request (Amazon CloudWatch User Guide, embedded metric format specification).
#[must_use]
pub fn metric_line(metrics: &RequestMetrics<'_>, deployment: &str, at_ms: u64) -> String {
    let metric = |name: &str, unit: &str| json!({ "Name": name, "Unit": unit });
    let halves = |count: u64| f64::from(u32::try_from(count).unwrap_or(u32::MAX)) / 2.0;
    json!({
        "_aws": {
            "Timestamp": at_ms,
            "CloudWatchMetrics": [{
                "Namespace": "Tidemill",
                "Dimensions": [["Deployment"]],
                "Metrics": [
                    metric("Requests", "Count"),
                    metric("ServerErrors", "Count"),
                    metric("Latency", "Milliseconds"),
                    metric("WriteUnits", "Count"),
                    metric("ReadUnits", "Count"),
                ],
            }],
        },
        "Deployment": deployment,
        "Requests": 1,
        "ServerErrors": u8::from(metrics.status >= 500),
        "Latency": metrics.milliseconds,
        "WriteUnits": halves(metrics.usage.table_write_halves),
        "ReadUnits": halves(metrics.usage.table_read_halves),
        "operation": metrics.operation,
        "status": metrics.status,
        "request_id": metrics.request_id,
        "trace": metrics.trace,
    })
    .to_string()
}

/// Writes the line for one request, if the deployment wants them: the metrics and the bytes of the log are billed, and API Gateway and
/// DynamoDB have metrics of their own.
pub fn write_metrics(metrics: &RequestMetrics<'_>) {
    if !env::var(settings::REQUEST_METRICS).is_ok_and(|value| value == "true") {
        return;
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let at_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    let deployment = env::var(settings::TABLE).unwrap_or_default();
    let line = metric_line(metrics, &deployment, at_ms);
    // A failed log write must not fail the request.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Memory of this function in MiB, by which its time is billed.
#[must_use]
pub fn memory_mib() -> u64 {
    env::var("AWS_LAMBDA_FUNCTION_MEMORY_SIZE").ok().and_then(|text| text.parse().ok()).unwrap_or(128)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{RequestMetrics, metric_line};
    use serde_json::Value;
    use tidemill_core::execution::cost::Usage;

    #[test]
    fn every_declared_metric_has_a_value() {
        let metrics = RequestMetrics {
            request_id: "r",
            operation: "/api/job/status",
            status: 503,
            milliseconds: 4.5,
            usage: Usage { table_write_halves: 3, ..Usage::default() },
            trace: None,
        };
        let line: Value = serde_json::from_str(&metric_line(&metrics, "t", 7)).unwrap();
        let directive = &line["_aws"]["CloudWatchMetrics"][0];
        for metric in directive["Metrics"].as_array().unwrap() {
            assert!(line[metric["Name"].as_str().unwrap()].is_number(), "{metric}");
        }
        assert_eq!((&line["ServerErrors"], &line["WriteUnits"]), (&1.into(), &1.5.into()));
        assert!(line[directive["Dimensions"][0][0].as_str().unwrap()].is_string());
    }
}
