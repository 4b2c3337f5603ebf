//! The embedded server: stores, API and sweep in one process.

mod compute;
mod server;
mod serving;
mod tls;

pub use compute::ComputeThreads;
pub use server::{EmbeddedConfig, EmbeddedServer, Listeners};
pub use serving::{ConnectionLimits, allowed_connections, raise_open_file_limit};
pub use tidemill_sqlite::SCHEMA_VERSION;
pub use tls::CertificateReloader;
