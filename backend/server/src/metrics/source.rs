//! What has metrics.

use async_trait::async_trait;
use prometheus::{Registry, proto::MetricFamily};
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};
use tidemill_services::Services;

/// Something with metrics.
#[async_trait]
pub trait MetricsSource: fmt::Debug + Send + Sync {
    /// Returns the metrics as they are now.
    async fn gather(&self) -> Vec<MetricFamily>;
}

#[async_trait]
impl MetricsSource for Services {
    async fn gather(&self) -> Vec<MetricFamily> {
        self.metrics().await
    }
}

#[async_trait]
impl MetricsSource for Registry {
    async fn gather(&self) -> Vec<MetricFamily> {
        Self::gather(self)
    }
}

/// All metrics of a process, whose parts start one after another.
#[derive(Debug, Default)]
pub struct AllMetrics(Mutex<Vec<Arc<dyn MetricsSource>>>);

impl AllMetrics {
    /// Adds metrics. Their names must differ from all others.
    pub fn add(&self, source: Arc<dyn MetricsSource>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(source);
    }
}

#[async_trait]
impl MetricsSource for AllMetrics {
    async fn gather(&self) -> Vec<MetricFamily> {
        let sources = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut all = Vec::new();
        for source in sources {
            all.extend(source.gather().await);
        }
        all.sort_by(|a, b| a.name().cmp(b.name()));
        all
    }
}
