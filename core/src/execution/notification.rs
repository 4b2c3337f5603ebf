//! Commit statuses, and notifications of failures and recoveries.

use crate::execution::status::ExecutionStatus;
use crate::repository::{canonical_name, webhook::Provider, webhook::sign};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The state of an execution as reported to a git provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CommitState {
    /// No job has started.
    Pending,
    /// A job has started.
    Running,
    /// It succeeded.
    Success,
    /// It failed.
    Failure,
    /// It was canceled.
    Error,
}

impl CommitState {
    /// Returns the state of an execution with this status.
    #[must_use]
    pub const fn from_status(status: ExecutionStatus) -> Self {
        match status {
            ExecutionStatus::Pending => Self::Pending,
            ExecutionStatus::Running => Self::Running,
            ExecutionStatus::Success => Self::Success,
            ExecutionStatus::Failed => Self::Failure,
            ExecutionStatus::Canceled => Self::Error,
        }
    }

    /// Whether the state is final.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Success | Self::Failure | Self::Error)
    }

    const fn description(self) -> &'static str {
        match self {
            Self::Pending => "is pending",
            Self::Running => "is running",
            Self::Success => "succeeded",
            Self::Failure => "failed",
            Self::Error => "was canceled",
        }
    }
}

/// Returns the state to report next, given that `sent` was reported last and the execution now has `status`. Nothing
/// follows a final state, and states that were passed in between are skipped.
#[must_use]
pub fn next_status(sent: Option<CommitState>, status: ExecutionStatus) -> Option<CommitState> {
    let next = CommitState::from_status(status);
    match sent {
        Some(sent) if sent.is_final() || sent == next => None,
        // A stale read returns an earlier state.
        Some(CommitState::Running) if next == CommitState::Pending => None,
        _ => Some(next),
    }
}

/// An HTTP request that delivers a commit status or a notification.
#[derive(Clone, PartialEq, Eq)]
pub struct OutgoingRequest {
    /// The target.
    pub url: String,
    /// Headers in addition to the content type; some contain secrets.
    pub headers: Vec<(&'static str, String)>,
    /// JSON body.
    pub body: String,
}

/// A commit status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitStatus<'a> {
    /// The git provider.
    pub provider: Provider,
    /// The provider's API; `None`: the default for the repository's host.
    pub api_url: Option<&'a str>,
    /// The repository's address.
    pub repo: &'a str,
    /// The commit's full hash.
    pub commit: &'a str,
    /// The state to report.
    pub state: CommitState,
    /// The pipeline's name.
    pub pipeline: &'a str,
    /// The execution's run number.
    pub run_number: u64,
    /// A page that shows the execution.
    pub target_url: Option<&'a str>,
}

impl CommitStatus<'_> {
    /// Returns the request that writes it.
    #[must_use]
    pub fn request(&self, token: &str) -> OutgoingRequest {
        let name = canonical_name(self.repo);
        let (host, path) = name.split_once('/').unwrap_or(("", &name));
        let base = match (self.api_url, self.provider) {
            (Some(url), _) => url.trim_end_matches('/').to_owned(),
            (None, Provider::Github) if host == "github.com" => "https://api.github.com".to_owned(),
            (None, Provider::Github) => format!("https://{host}/api/v3"),
            (None, Provider::Gitlab) => format!("https://{host}/api/v4"),
            (None, Provider::Gitea) => format!("https://{host}/api/v1"),
            (None, Provider::Bitbucket) => "https://api.bitbucket.org/2.0".to_owned(),
        };
        let (commit, context) = (self.commit, format!("tidemill/{}", self.pipeline));
        let description = format!("run {} {}", self.run_number, self.state.description());
        let state_name = |names: [&'static str; 5]| names[self.state as usize];
        let (url, authorization, mut body) = match self.provider {
            Provider::Github => (
                format!("{base}/repos/{path}/statuses/{commit}"),
                ("authorization", format!("Bearer {token}")),
                json!({ "state": state_name(["pending", "pending", "success", "failure", "error"]), "context": context }),
            ),
            Provider::Gitea => (
                format!("{base}/repos/{path}/statuses/{commit}"),
                ("authorization", format!("token {token}")),
                json!({ "state": state_name(["pending", "pending", "success", "failure", "error"]), "context": context }),
            ),
            Provider::Gitlab => (
                format!("{base}/projects/{}/statuses/{commit}", path.replace('/', "%2F")),
                ("private-token", token.to_owned()),
                json!({ "state": state_name(["pending", "running", "success", "failed", "canceled"]), "name": context }),
            ),
            Provider::Bitbucket => (
                format!("{base}/repositories/{path}/commit/{commit}/statuses/build"),
                ("authorization", format!("Bearer {token}")),
                json!({ "state": state_name(["INPROGRESS", "INPROGRESS", "SUCCESSFUL", "FAILED", "STOPPED"]),
                        "key": context, "name": context, "url": self.target_url.unwrap_or(self.repo) }),
            ),
        };
        body["description"] = json!(description);
        if let (Some(target), true) = (self.target_url, self.provider != Provider::Bitbucket) {
            body["target_url"] = json!(target);
        }
        OutgoingRequest { url, headers: vec![authorization], body: body.to_string() }
    }
}

/// The kind of a notification, given the previous execution of the same pipeline and branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NotificationEvent {
    /// It failed.
    Failure,
    /// It succeeded, and the previous one had failed.
    Recovery,
}

/// Returns the event to notify about, if any. A canceled execution is no event.
#[must_use]
pub fn notification_event(failed_before: bool, status: ExecutionStatus) -> Option<NotificationEvent> {
    match status {
        ExecutionStatus::Failed => Some(NotificationEvent::Failure),
        ExecutionStatus::Success if failed_before => Some(NotificationEvent::Recovery),
        _ => None,
    }
}

/// The content of a notification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notification {
    /// The event.
    pub event: NotificationEvent,
    /// The repository's name.
    pub repository: String,
    /// The pipeline's name.
    pub pipeline: String,
    /// The execution's run number.
    pub run_number: u64,
    /// Its id.
    pub execution_id: String,
    /// Its branch or tag.
    pub branch: Option<String>,
    /// Its commit.
    pub commit: Option<String>,
    /// A page that shows the execution.
    pub url: Option<String>,
}

impl Notification {
    /// Returns a webhook request signed with `secret`. The signature covers `delivery` and the time, so that a receiver
    /// can recognize repeated deliveries.
    #[must_use]
    pub fn webhook_request(&self, to: &str, secret: &str, delivery: &str, now: &str) -> OutgoingRequest {
        let mut body = serde_json::to_value(self).unwrap_or(Value::Null);
        body["delivery"] = json!(delivery);
        body["sent_at"] = json!(now);
        let body = body.to_string();
        let signature = format!("sha256={}", sign(secret.as_bytes(), body.as_bytes()));
        let headers =
            vec![("x-tidemill-signature-256", signature), ("x-tidemill-delivery", delivery.to_owned())];
        OutgoingRequest { url: to.to_owned(), headers, body }
    }

    /// Returns a chat message.
    #[must_use]
    pub fn chat_request(&self, to: &str) -> OutgoingRequest {
        let how = match self.event {
            NotificationEvent::Failure => "failed",
            NotificationEvent::Recovery => "succeeded again",
        };
        let on = self.branch.as_ref().map(|branch| format!(" on {branch}")).unwrap_or_default();
        let at = self.url.as_ref().map(|url| format!(": {url}")).unwrap_or_default();
        let text = format!("{} {} of {}{on} {how}{at}", self.pipeline, self.run_number, self.repository);
        // Prevents names from being rendered as links or mentions.
        let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        OutgoingRequest { url: to.to_owned(), headers: Vec::new(), body: json!({ "text": text }).to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        CommitState, CommitStatus, Notification, NotificationEvent, next_status, notification_event,
    };
    use crate::execution::status::ExecutionStatus::{self, Canceled, Failed, Pending, Running, Success};
    use crate::repository::webhook::{Provider, sign};

    const ALL: [ExecutionStatus; 5] = [Pending, Running, Success, Failed, Canceled];

    #[test]
    fn commit_status_moves_forward_once() {
        for sent in [CommitState::Success, CommitState::Failure, CommitState::Error] {
            assert!(ALL.iter().all(|status| next_status(Some(sent), *status).is_none()), "{sent:?}");
        }
        for status in ALL {
            assert_eq!(next_status(None, status), Some(CommitState::from_status(status)));
        }
        assert_eq!(next_status(Some(CommitState::Pending), Pending), None);
        assert_eq!(next_status(Some(CommitState::Pending), Running), Some(CommitState::Running));
        assert_eq!(next_status(Some(CommitState::Pending), Failed), Some(CommitState::Failure));
        assert_eq!(next_status(Some(CommitState::Running), Pending), None);
        assert_eq!(next_status(Some(CommitState::Running), Canceled), Some(CommitState::Error));
    }

    #[test]
    fn each_provider_gets_its_status_format() {
        let status = |provider, repo, api_url, state| {
            let commit = "c0ffee";
            let target_url = Some("https://ci.example.org/x");
            let run = 7;
            let of = CommitStatus {
                provider,
                api_url,
                repo,
                commit,
                state,
                pipeline: "ci",
                run_number: run,
                target_url,
            };
            let post = of.request("T");
            let body: serde_json::Value = serde_json::from_str(&post.body).unwrap_or_default();
            (post.url, post.headers[0].1.clone(), body)
        };
        let (url, header, body) =
            status(Provider::Github, "git@github.com:o/r.git", None, CommitState::Running);
        assert_eq!(
            (url.as_str(), header.as_str()),
            ("https://api.github.com/repos/o/r/statuses/c0ffee", "Bearer T")
        );
        assert_eq!((&body["state"], &body["context"]), (&"pending".into(), &"tidemill/ci".into()));
        assert_eq!(
            (&body["description"], &body["target_url"]),
            (&"run 7 is running".into(), &"https://ci.example.org/x".into())
        );
        let (url, ..) = status(Provider::Github, "https://ghe.example.org/o/r", None, CommitState::Failure);
        assert_eq!(url, "https://ghe.example.org/api/v3/repos/o/r/statuses/c0ffee");
        let (url, header, body) =
            status(Provider::Gitlab, "https://gl.example.org/a/b/r", None, CommitState::Failure);
        assert_eq!(
            (url.as_str(), header.as_str()),
            ("https://gl.example.org/api/v4/projects/a%2Fb%2Fr/statuses/c0ffee", "T")
        );
        assert_eq!((&body["state"], &body["name"]), (&"failed".into(), &"tidemill/ci".into()));
        let (url, header, body) = status(
            Provider::Gitea,
            "https://x/o/r",
            Some("http://127.0.0.1:3000/api/v1/"),
            CommitState::Error,
        );
        assert_eq!(
            (url.as_str(), header.as_str()),
            ("http://127.0.0.1:3000/api/v1/repos/o/r/statuses/c0ffee", "token T")
        );
        assert_eq!(body["state"], "error");
        let (url, _, body) =
            status(Provider::Bitbucket, "https://bitbucket.org/o/r", None, CommitState::Success);
        assert_eq!(url, "https://api.bitbucket.org/2.0/repositories/o/r/commit/c0ffee/statuses/build");
        assert_eq!((&body["state"], &body["key"]), (&"SUCCESSFUL".into(), &"tidemill/ci".into()));
    }

    #[test]
    fn failure_and_recovery_are_notified() {
        assert_eq!(notification_event(false, Failed), Some(NotificationEvent::Failure));
        assert_eq!(notification_event(true, Failed), Some(NotificationEvent::Failure));
        assert_eq!(notification_event(true, Success), Some(NotificationEvent::Recovery));
        for (before, status) in [(false, Success), (true, Canceled), (false, Canceled), (true, Running)] {
            assert_eq!(notification_event(before, status), None);
        }
    }

    #[test]
    fn notice_is_signed_webhook_or_plain_chat_text() {
        let notice = Notification {
            event: NotificationEvent::Failure,
            repository: "x/y".into(),
            pipeline: "<!channel>".into(),
            run_number: 3,
            execution_id: "e".into(),
            branch: Some("main".into()),
            commit: None,
            url: None,
        };
        let post = notice.webhook_request("https://n", "secret", "d-1", "2026-01-01T00:00:00Z");
        assert!(post.body.contains("\"event\":\"failure\"") && post.body.contains("2026-01-01T00:00:00Z"));
        assert_eq!(post.headers[0].1, format!("sha256={}", sign(b"secret", post.body.as_bytes())));
        let chat = notice.chat_request("https://c").body;
        assert_eq!(chat, r#"{"text":"&lt;!channel&gt; 3 of x/y on main failed"}"#);
    }
}
