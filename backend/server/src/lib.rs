//! The whole backend in one process: the embedded stores, the API on a listener, and the sweep.

mod compute;
mod server;
mod serving;
mod tls;

pub use compute::ComputeThreads;
pub use server::{EmbeddedConfig, EmbeddedServer, Listeners};
pub use serving::{ConnectionLimits, connections_within, raise_open_files};
pub use tls::CertificateReloader;
