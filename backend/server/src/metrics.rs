//! Metrics in the form that Prometheus reads, on a listener of their own.

mod listener;
mod process;
mod source;

pub use listener::{metrics_text, serve_metrics};
pub use process::ProcessMetrics;
pub use source::{AllMetrics, MetricsSource};
