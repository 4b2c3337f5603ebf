//! The embedded server: stores, API and sweep in one process.

mod compute;
mod metrics;
mod otlp;
pub mod doctor;
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
<<<<<<< HEAD
/// Backups of a data directory.
pub use tidemill_sqlite::backup;
||||||| 69cb2199
=======
pub use tidemill_sqlite::SCHEMA_VERSION;
>>>>>>> d87fc28184b99a8295cd0f24d8119f5ece60f574
pub use tls::CertificateReloader;
