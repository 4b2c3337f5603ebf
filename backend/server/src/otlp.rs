//! Export to OpenTelemetry: traces of ended executions, metrics, and log events of this process, over OTLP with HTTP and protobuf.
//!
//! Nothing waits for the export. Each of the three signals has a task of its own, with a bounded queue before it: what does not fit is
//! dropped and counted.

mod exporter;
mod log_layer;
mod messages;
mod metric_points;
mod settings;
mod span_messages;

pub use exporter::{OtlpExporter, OtlpSources};
pub use log_layer::{LogLayer, LogRecords, log_layer};
pub use settings::{OtlpOptions, OtlpSettings, OtlpSettingsError};
