//! The retention service: settings, and passes at intervals.

use super::usage::{CachedMeter, DiskMeter};
use crate::{
    context::service_context::Context,
    error::Result,
    storage::{artifacts::ArtifactService, caches::CacheService},
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tidemill_core::{
    ids::ExecutionId,
    retention::api::{DiskUsage, GcReport, GcRequest, RetentionRequest, RetentionView},
};
use tokio::time::Instant;

/// Interval between two passes.
const PASS_INTERVAL: Duration = Duration::from_secs(3_600);
/// Time after which a part of a pass that a request waits for ends.
const REQUEST_LIMIT: Duration = Duration::from_secs(15);
/// Number of caches that are removed at once when the disk is nearly full.
const MAX_EVICTED: usize = 20;

/// Service for retention.
#[derive(Debug, Clone)]
pub struct RetentionService {
    pub(super) context: Arc<Context>,
    pub(super) artifacts: ArtifactService,
    caches: CacheService,
    progress: Arc<Mutex<Progress>>,
    meter: Arc<CachedMeter>,
}

/// Where the passes of this process are.
#[derive(Debug, Default)]
struct Progress {
    /// When the next pass begins; `None`: at once.
    next_pass: Option<Instant>,
    /// Where the current pass continues.
    after: Option<ExecutionId>,
}

impl RetentionService {
    pub(crate) fn new(context: Arc<Context>, artifacts: ArtifactService, caches: CacheService) -> Self {
        Self { context, artifacts, caches, progress: Arc::default(), meter: Arc::default() }
    }

    /// Returns the settings of a repository, or of the server.
    pub async fn settings(&self, repo: Option<&str>) -> Result<RetentionView> {
        self.context.retention_view(repo).await
    }

    /// Replaces the settings of a repository, or of the server. The next pass begins at once.
    pub async fn set(&self, request: &RetentionRequest) -> Result<RetentionView> {
        let view = self.context.set_retention(request).await?;
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner) = Progress::default();
        Ok(view)
    }

    /// Measures the use of the disk with `meter`; only the first call has an effect.
    pub fn measure_with(&self, meter: Arc<dyn DiskMeter>) {
        self.meter.set(meter);
    }

    /// Returns what the stores use of the disk, measured at most a minute ago; without a time if nothing measures it.
    pub async fn disk_usage(&self) -> Result<DiskUsage> {
        self.meter.usage(self.context.now()).await
    }

    /// Runs a part of a pass for a request.
    pub async fn collect(&self, request: GcRequest) -> Result<GcReport> {
        self.run(request, Some(Instant::now() + REQUEST_LIMIT)).await
    }

    /// Begins or continues a pass if one is due, for at most `limit`, and returns the number of removed items. To be called often.
    pub async fn run_due(&self, limit: Duration) -> Result<usize> {
        let after = {
            let progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
            if progress.next_pass.is_some_and(|next| Instant::now() < next) {
                return Ok(0);
            }
            progress.after
        };
        let report =
            self.run(GcRequest { after, ..GcRequest::default() }, Some(Instant::now() + limit)).await?;
        self.record(report.next);
        let removed = report.executions + report.logs + report.artifacts;
        if removed > 0 {
            tracing::info!(
                executions = report.executions,
                logs = report.logs,
                artifacts = report.artifacts,
                bytes = report.artifact_bytes,
                "retention removed what its rules do not keep"
            );
        }
        Ok(usize::try_from(removed).unwrap_or(usize::MAX))
    }

    fn record(&self, next: Option<ExecutionId>) {
        let next_pass = next.is_none().then(|| Instant::now() + PASS_INTERVAL);
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner) = Progress { next_pass, after: next };
    }

    /// Removes the least recently used caches, because the disk is nearly full. Returns their number.
    pub async fn evict_caches(&self) -> Result<usize> {
        self.caches.evict(MAX_EVICTED).await
    }
}
