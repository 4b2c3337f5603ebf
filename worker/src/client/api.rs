//! API calls of a worker.

use super::{
    error::ApiError,
    http,
    request::{ApiClient, RequestOptions},
    retry::retry,
};
use ::http::{Method, header::LOCATION};
use bytes::Bytes;
use futures_util::{Stream, TryStreamExt};
use reqwest::Body;
use std::{collections::BTreeMap, fs::File, io, sync::atomic::Ordering, time::Duration};
use tidemill_core::api::{
    ArtifactUploadReply, ArtifactUploadRequest, CacheLookupReply, CacheLookupRequest, JobExecuteReply,
    JobExecuteRequest, JobReport, JobReportReply, WorkerReport, WorkerReportReply, path,
};
use tidemill_core::execution::discovery::{ChildReply, ChildReport, DiscoveryReply, DiscoveryReport};
use tidemill_core::execution::test_report::{TestsReply, TestsRequest};
use tidemill_core::summary::view::{SummaryReply, SummaryRequest};

const MAX_REDIRECTS: u32 = 4;

impl ApiClient {
    /// Claims a job, if there is one. The server holds the request for up to its `wait_ms`.
    pub async fn execute(&self, request: &JobExecuteRequest) -> Result<JobExecuteReply, ApiError> {
        let limit = Duration::from_millis(request.wait_ms) + Duration::from_secs(10);
        self.post(path::JOB_EXECUTE, request, limit).await
    }

    /// Reports on a running attempt.
    pub async fn report(&self, report: &JobReport) -> Result<JobReportReply, ApiError> {
        self.post(path::JOB_STATUS, report, Duration::from_secs(15)).await
    }

    /// Reports that a worker is there.
    pub async fn report_worker(&self, report: &WorkerReport) -> Result<WorkerReportReply, ApiError> {
        self.post(path::WORKER_REPORT, report, Duration::from_secs(15)).await
    }

    /// Reports the result of a discovery.
    pub async fn report_discovery(&self, report: &DiscoveryReport) -> Result<DiscoveryReply, ApiError> {
        retry(|| self.post(path::DISCOVERY_REPORT, report, Duration::from_secs(60))).await
    }

    /// Reports the pipeline that a job starts.
    pub async fn start_child(&self, report: &ChildReport) -> Result<ChildReply, ApiError> {
        retry(|| self.post(path::CHILD_REPORT, report, Duration::from_secs(60))).await
    }

    /// Looks up a cache by its keys.
    pub async fn look_up_cache(&self, request: &CacheLookupRequest) -> Result<CacheLookupReply, ApiError> {
        self.post(path::CACHE_LOOKUP, request, Duration::from_secs(30)).await
    }

    /// Stores the test report of an attempt.
    pub async fn store_test_report(&self, request: &TestsRequest) -> Result<TestsReply, ApiError> {
        retry(|| self.post(path::JOB_TESTS, request, Duration::from_secs(60))).await
    }

    /// Stores the summary and the annotations of an attempt.
    pub async fn store_summary(&self, request: &SummaryRequest) -> Result<SummaryReply, ApiError> {
        retry(|| self.post(path::JOB_SUMMARY, request, Duration::from_secs(60))).await
    }

    /// Requests an upload URL for an artifact, or records a completed artifact.
    pub async fn upload(&self, request: &ArtifactUploadRequest) -> Result<ArtifactUploadReply, ApiError> {
        let call = || self.post(path::ARTIFACT_UPLOAD, request, Duration::from_secs(60));
        let reply: ArtifactUploadReply = retry(call).await?;
        if reply.url.is_none() && request.complete.is_none() {
            self.requires_checksums.store(true, Ordering::Relaxed);
        }
        Ok(reply)
    }

    /// Uploads `bytes` to `path`, a path of the API.
    pub async fn put<S>(&self, path: &str, bytes: S) -> Result<(), ApiError>
    where
        S: Stream<Item = io::Result<Bytes>> + Send + Sync + 'static,
    {
        let options = RequestOptions { content: Some("application/x-tar"), ..RequestOptions::default() };
        self.send(Method::PUT, path, options, http::streamed(bytes)).await.map(drop)
    }

    /// Uploads the content of `file` with these headers to `url`: a path of the API, or an absolute URL that needs no token.
    pub async fn put_file(
        &self,
        url: &str,
        headers: &BTreeMap<String, String>,
        file: &File,
    ) -> Result<(), ApiError> {
        let unreadable = |error: io::Error| {
            let message = format!("the file to send cannot be read: {error}");
            ApiError::unreachable(&self.display_url(&self.address(url)), message)
        };
        let length = file.metadata().map_err(unreadable)?.len();
        let headers: Vec<(&str, String)> =
            headers.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        let call = async || {
            let content = Some("application/octet-stream");
            let options = RequestOptions {
                content,
                length: Some(length),
                headers: &headers,
                ..RequestOptions::default()
            };
            let body = http::from_file(file).map_err(unreadable)?;
            self.send(Method::PUT, url, options, body).await
        };
        retry(call).await.map(drop)
    }

    /// Returns whether the server is known to require the checksum before an upload.
    #[must_use]
    pub fn requires_checksums(&self) -> bool {
        self.requires_checksums.load(Ordering::Relaxed)
    }

    /// Downloads `url`: a path of the API, or an absolute URL that needs no token. Follows redirects.
    pub async fn get(
        &self,
        url: &str,
    ) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + use<>, ApiError> {
        let mut url = url.to_owned();
        for _ in 0..MAX_REDIRECTS {
            let options = RequestOptions::default;
            let reply = retry(|| self.send(Method::GET, &url, options(), Body::default())).await?;
            if !reply.status().is_redirection() {
                return Ok(reply.bytes_stream().map_err(|error| io::Error::other(error.without_url())));
            }
            let next = reply.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            url = next.ok_or_else(|| ApiError::Address(self.display_url(&self.address(&url))))?.to_owned();
        }
        Err(ApiError::Address(self.display_url(&self.address(&url))))
    }
}
