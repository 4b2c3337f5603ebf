//! Notices of EC2 that this machine will be terminated, read from instance metadata (version 2, with a session token).

use crate::{
    client::{HttpClient, HttpError, read_body},
    log::marks,
};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use serde::Deserialize;
use std::{fmt, time::Duration};
use tidemill_core::time::Timestamp;

/// The address of the instance metadata service.
pub const METADATA: &str = "http://169.254.169.254";
/// Maximum bytes of a reply.
const MAX_REPLY_SIZE: u64 = 64 << 10;
/// Maximum time for an answer: the service is on this machine, or does not exist.
const MAX_REPLY_TIME: Duration = Duration::from_secs(1);
/// Time between two polls.
const POLL_INTERVAL: Duration = Duration::from_secs(5);
const TOKEN_TTL_S: &str = "21600";

/// An announced termination of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TerminationNotice {
    /// EC2 reclaims a spot instance: `terminate`, `stop` or `hibernate`, at a time.
    Spot {
        /// The announced action.
        action: String,
        /// Time until then; `None` if the notice does not contain it.
        time_left: Option<Duration>,
    },
    /// The Auto Scaling group is about to terminate it.
    ScaleIn,
}

impl TerminationNotice {
    /// Returns the time until the termination, if known.
    #[must_use]
    pub const fn time_left(&self) -> Option<Duration> {
        match self {
            Self::Spot { time_left: left, .. } => *left,
            Self::ScaleIn => None,
        }
    }
}

impl fmt::Display for TerminationNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spot { action, time_left: Some(left) } => {
                write!(f, "EC2 will {action} this spot instance in {} s", left.as_secs())
            }
            Self::Spot { action, time_left: None } => write!(f, "EC2 will {action} this spot instance"),
            Self::ScaleIn => f.write_str("the Auto Scaling group will terminate this instance"),
        }
    }
}

/// Why instance metadata cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// There was no answer in time.
    #[error("{0}: no answer within a second")]
    Timeout(String),
    /// There was no answer.
    #[error("{url}: {error}")]
    Request {
        /// The address.
        url: String,
        /// The reason.
        error: HttpError,
    },
    /// The answer is an error.
    #[error("{path} answered {status}")]
    Status {
        /// The path.
        path: String,
        /// The HTTP status.
        status: StatusCode,
    },
    /// The service gives no session token, which version 2 needs.
    #[error("{base} returned no session token: {status}")]
    NoToken {
        /// The address of the service.
        base: String,
        /// The HTTP status.
        status: StatusCode,
    },
    /// A notice has another format.
    #[error(transparent)]
    Notice(#[from] serde_json::Error),
}

/// A notice in the format of EC2.
#[derive(Debug, Deserialize)]
struct InstanceAction {
    action: String,
    time: Option<Timestamp>,
}

/// Polls for notices.
#[derive(Debug)]
pub struct TerminationNotices {
    http: HttpClient,
    base: String,
    token: String,
    interval: Duration,
}

impl TerminationNotices {
    /// Connects to the metadata service at `base`. Fails within a second if there is no such service.
    pub async fn connect(base: &str) -> Result<Self, MetadataError> {
        let http = HttpClient::new(None).with_connect_time(MAX_REPLY_TIME);
        let base = base.trim_end_matches('/').to_owned();
        let mut notices = Self { http, base, token: String::new(), interval: POLL_INTERVAL };
        notices.renew().await?;
        Ok(notices)
    }

    /// Replaces the time between two polls.
    #[must_use]
    pub const fn with_interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Waits for the first notice, which may exist already.
    pub async fn next(&mut self) -> TerminationNotice {
        loop {
            match self.poll().await {
                Ok(Some(notice)) => return notice,
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, "instance metadata could not be read"),
            }
            tokio::time::sleep(self.interval).await;
        }
    }

    async fn poll(&mut self) -> Result<Option<TerminationNotice>, MetadataError> {
        if let Some(text) = self.get("spot/instance-action").await? {
            let notice: InstanceAction = serde_json::from_slice(&text)?;
            return Ok(Some(TerminationNotice::Spot {
                time_left: notice.time.map(time_until),
                action: notice.action,
            }));
        }
        let state = self.get("autoscaling/target-lifecycle-state").await?;
        Ok(state.filter(|state| state.trim_ascii() == b"Terminated").map(|_| TerminationNotice::ScaleIn))
    }

    /// Returns the metadata at `path`, or `None` if there is none.
    async fn get(&mut self, path: &str) -> Result<Option<Bytes>, MetadataError> {
        let path = format!("/latest/meta-data/{path}");
        let (mut status, mut text) =
            self.call(Method::GET, &path, ("x-aws-ec2-metadata-token", &self.token)).await?;
        if status == StatusCode::UNAUTHORIZED {
            // The session token has expired.
            self.renew().await?;
            (status, text) = self.call(Method::GET, &path, ("x-aws-ec2-metadata-token", &self.token)).await?;
        }
        match status {
            StatusCode::OK => Ok(Some(text)),
            StatusCode::NOT_FOUND => Ok(None),
            status => Err(MetadataError::Status { path, status }),
        }
    }

    async fn renew(&mut self) -> Result<(), MetadataError> {
        let ttl = ("x-aws-ec2-metadata-token-ttl-seconds", TOKEN_TTL_S);
        let (status, text) = self.call(Method::PUT, "/latest/api/token", ttl).await?;
        let token =
            String::from_utf8(text.to_vec()).ok().filter(|token| status.is_success() && !token.is_empty());
        self.token = token.ok_or_else(|| MetadataError::NoToken { base: self.base.clone(), status })?;
        Ok(())
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        (name, value): (&str, &str),
    ) -> Result<(StatusCode, Bytes), MetadataError> {
        let url = format!("{}{path}", self.base);
        let request =
            Request::builder().method(method).uri(&url).header(name, value).body(reqwest::Body::default());
        let calling = async {
            let reply = self.http.send(request.map_err(|_| HttpError::Address)?).await?;
            let status = reply.status();
            Ok((status, read_body(reply, MAX_REPLY_SIZE).await?))
        };
        match tokio::time::timeout(MAX_REPLY_TIME, calling).await {
            Ok(called) => called.map_err(|error| MetadataError::Request { url, error }),
            Err(_) => Err(MetadataError::Timeout(url)),
        }
    }
}

fn time_until(then: Timestamp) -> Duration {
    Duration::from_millis(then.since_ms(marks::now()))
}
