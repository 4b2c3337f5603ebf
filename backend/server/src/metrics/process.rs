//! Metrics of this process, with the names that client libraries of Prometheus use.

use super::source::MetricsSource;
use async_trait::async_trait;
use prometheus::{Gauge, IntGaugeVec, Opts, Registry, proto::MetricFamily};
use std::time::SystemTime;

/// Version, memory, open files and the start of this process.
#[derive(Debug)]
pub struct ProcessMetrics {
    registry: Registry,
    memory: Gauge,
    files: Gauge,
}

impl ProcessMetrics {
    /// Creates metrics of a process that starts now.
    ///
    /// # Panics
    /// Never: names of metrics are constants.
    #[must_use]
    #[expect(clippy::expect_used, reason = "the names are constants, and differ")]
    pub fn new() -> Self {
        let registry = Registry::new();
        let gauge = |name: &str, help: &str| {
            let gauge = Gauge::new(name, help).expect("the name is valid");
            registry.register(Box::new(gauge.clone())).expect("the name is not used");
            gauge
        };
        let version = Opts::new("tidemill_build_info", "Version of this program; always 1");
        let version = IntGaugeVec::new(version, &["version"]).expect("the names are valid");
        version.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        registry.register(Box::new(version)).expect("the name is not used");
        let start = gauge("process_start_time_seconds", "When the process started, in seconds since 1970");
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        start.set(now.as_secs_f64());
        Self {
            memory: gauge("process_resident_memory_bytes", "Resident memory of the process"),
            files: gauge("process_open_fds", "Open file descriptors of the process"),
            registry: registry.clone(),
        }
    }
}

impl Default for ProcessMetrics {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl MetricsSource for ProcessMetrics {
    async fn gather(&self) -> Vec<MetricFamily> {
        // Elsewhere than on Linux they stay at zero.
        if let Some(kib) = std::fs::read_to_string("/proc/self/status").ok().as_deref().and_then(resident_kib)
        {
            self.memory.set(kib * 1024.0);
        }
        if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
            // The listing itself has one.
            let open = u32::try_from(files.count().saturating_sub(1)).unwrap_or(u32::MAX);
            self.files.set(f64::from(open));
        }
        self.registry.gather()
    }
}

/// Returns the resident memory in `/proc/self/status`, in KiB.
fn resident_kib(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{ProcessMetrics, resident_kib};
    use crate::metrics::MetricsSource as _;

    #[test]
    fn resident_memory_is_read() {
        assert_eq!(resident_kib("Name:\tx\nVmRSS:\t   36864 kB\nVmSize: 1 kB\n"), Some(36_864.0));
        assert_eq!(resident_kib("Name:\tx\n"), None);
    }

    #[tokio::test]
    async fn process_has_memory_and_files() {
        for family in ProcessMetrics::new().gather().await {
            assert!(family.get_metric()[0].get_gauge().get_value() > 0.0, "{}", family.name());
        }
    }
}
