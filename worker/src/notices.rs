//! Notices of EC2 that this machine will be taken away, read from instance metadata (version 2, with a session token).

use crate::client::{HttpClient, read_body};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use serde::Deserialize;
use std::{
    fmt,
    time::{Duration, SystemTime},
};
use tidemill_core::time::Timestamp;

/// Where instances find their metadata.
pub const METADATA: &str = "http://169.254.169.254";
/// Bytes of a reply.
const MAX_REPLY_SIZE: u64 = 64 << 10;
/// The longest that the service may take to answer; it is on this machine, or not there at all.
const MAX_REPLY_TIME: Duration = Duration::from_secs(1);
/// Time between two polls.
const POLL_INTERVAL: Duration = Duration::from_secs(5);
const TOKEN_TTL_S: &str = "21600";

/// An announced end of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// EC2 takes a spot instance back: `terminate`, `stop` or `hibernate`, at a time.
    Spot {
        /// The announced action.
        action: String,
        /// How long from now; `None` when the notice does not say.
        left: Option<Duration>,
    },
    /// The Auto Scaling group is about to terminate it.
    ScaleIn,
}

impl Notice {
    /// How long the machine is still there, if that is known.
    #[must_use]
    pub const fn left(&self) -> Option<Duration> {
        match self {
            Self::Spot { left, .. } => *left,
            Self::ScaleIn => None,
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spot { action, left: Some(left) } => {
                write!(f, "EC2 will {action} this spot instance in {} s", left.as_secs())
            }
            Self::Spot { action, left: None } => write!(f, "EC2 will {action} this spot instance"),
            Self::ScaleIn => f.write_str("the Auto Scaling group will terminate this instance"),
        }
    }
}

/// The notice as EC2 writes it.
#[derive(Debug, Deserialize)]
struct InstanceAction {
    action: String,
    time: Option<Timestamp>,
}

/// Polls for notices.
#[derive(Debug)]
pub struct Notices {
    http: HttpClient,
    base: String,
    token: String,
    interval: Duration,
}

impl Notices {
    /// The notices of this instance, from the metadata service at `base`; why there is no such service otherwise, within
    /// a second.
    pub async fn connect(base: &str) -> Result<Self, String> {
        let http = HttpClient::new(None).with_connect_time(MAX_REPLY_TIME);
        let base = base.trim_end_matches('/').to_owned();
        let mut notices = Self { http, base, token: String::new(), interval: POLL_INTERVAL };
        notices.renew().await?;
        Ok(notices)
    }

    /// The same, with this time between two polls.
    #[must_use]
    pub const fn every(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// The first notice, once there is one. It may be there already.
    pub async fn next(&mut self) -> Notice {
        loop {
            match self.poll().await {
                Ok(Some(notice)) => return notice,
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, "instance metadata cannot be read now"),
            }
            tokio::time::sleep(self.interval).await;
        }
    }

    async fn poll(&mut self) -> Result<Option<Notice>, String> {
        if let Some(text) = self.get("spot/instance-action").await? {
            let notice: InstanceAction = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
            return Ok(Some(Notice::Spot { left: notice.time.map(time_until), action: notice.action }));
        }
        let state = self.get("autoscaling/target-lifecycle-state").await?;
        Ok(state.filter(|state| state.trim_ascii() == b"Terminated").map(|_| Notice::ScaleIn))
    }

    /// What is at `path`, if anything.
    async fn get(&mut self, path: &str) -> Result<Option<Bytes>, String> {
        let path = format!("/latest/meta-data/{path}");
        let (mut status, mut text) =
            self.call(Method::GET, &path, ("x-aws-ec2-metadata-token", &self.token)).await?;
        if status == StatusCode::UNAUTHORIZED {
            // The session is over; one that was just begun is not refused.
            self.renew().await?;
            (status, text) = self.call(Method::GET, &path, ("x-aws-ec2-metadata-token", &self.token)).await?;
        }
        match status {
            StatusCode::OK => Ok(Some(text)),
            StatusCode::NOT_FOUND => Ok(None),
            other => Err(format!("{path} answered {other}")),
        }
    }

    async fn renew(&mut self) -> Result<(), String> {
        let ttl = ("x-aws-ec2-metadata-token-ttl-seconds", TOKEN_TTL_S);
        let (status, text) = self.call(Method::PUT, "/latest/api/token", ttl).await?;
        let token =
            String::from_utf8(text.to_vec()).ok().filter(|token| status.is_success() && !token.is_empty());
        self.token = token.ok_or_else(|| format!("{} gave no token: {status}", self.base))?;
        Ok(())
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        (name, value): (&str, &str),
    ) -> Result<(StatusCode, Bytes), String> {
        let url = format!("{}{path}", self.base);
        let request =
            Request::builder().method(method).uri(&url).header(name, value).body(reqwest::Body::default());
        let request = request.map_err(|error| error.to_string())?;
        let calling = async {
            let reply = self.http.send(request).await.map_err(|error| error.to_string())?;
            let status = reply.status();
            let body = read_body(reply, MAX_REPLY_SIZE).await.map_err(|error| error.to_string())?;
            Ok((status, body))
        };
        let called: Result<Result<_, String>, _> = tokio::time::timeout(MAX_REPLY_TIME, calling).await;
        called
            .unwrap_or_else(|_| Err("no answer within a second".into()))
            .map_err(|error| format!("{url}: {error}"))
    }
}

fn time_until(then: Timestamp) -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = Timestamp(i64::try_from(now.as_millis()).unwrap_or(i64::MAX));
    Duration::from_millis(then.since_ms(now))
}
