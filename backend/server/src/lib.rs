//! The embedded server: stores, API and sweep in one process.

mod compute;
pub mod doctor;
mod metrics;
mod otlp;
mod server;
mod serving;
mod tls;

pub use compute::ComputeThreads;
pub use metrics::{AllMetrics, MetricsSource, ProcessMetrics, metrics_text, serve_metrics};
pub use otlp::{
    LogLayer, LogRecords, OtlpExporter, OtlpOptions, OtlpSettings, OtlpSettingsError, OtlpSources, log_layer,
};
pub use server::{EmbeddedConfig, EmbeddedServer, Listeners};
pub use serving::{ConnectionLimits, allowed_connections, raise_open_file_limit};
/// Backups of a data directory, and the version of its schema.
pub use tidemill_sqlite::{SCHEMA_VERSION, backup};
pub use tls::CertificateReloader;
