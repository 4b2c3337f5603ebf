//! Commit statuses of git providers.

use super::{
    message::{Method, OutgoingRequest},
    repository_api::RepositoryApi,
};
use crate::execution::status::ExecutionStatus;
use crate::repository::webhook::Provider;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

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

    /// Returns what an execution in this state does, as the end of a sentence.
    #[must_use]
    pub const fn description(self) -> &'static str {
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

/// A commit status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitStatus<'a> {
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
    pub fn request(&self, api: &RepositoryApi, token: &str) -> OutgoingRequest {
        let (commit, context) = (self.commit, format!("tidemill/{}", self.pipeline));
        let description = format!("run {} {}", self.run_number, self.state.description());
        let state_name = |names: [&'static str; 5]| names[self.state as usize];
        let mut path = format!("/statuses/{commit}");
        let mut body = match api.provider {
            Provider::Github | Provider::Gitea => {
                json!({ "state": state_name(["pending", "pending", "success", "failure", "error"]), "context": context })
            }
            Provider::Gitlab => {
                json!({ "state": state_name(["pending", "running", "success", "failed", "canceled"]), "name": context })
            }
            Provider::Bitbucket => {
                path = format!("/commit/{commit}/statuses/build");
                // It needs a link.
                let repository = format!("https://bitbucket.org/{}", api.path);
                json!({ "state": state_name(["INPROGRESS", "INPROGRESS", "SUCCESSFUL", "FAILED", "STOPPED"]),
                        "key": context, "name": context, "url": self.target_url.unwrap_or(&repository) })
            }
        };
        body["description"] = json!(description);
        if let (Some(target), true) = (self.target_url, api.provider != Provider::Bitbucket) {
            body["target_url"] = json!(target);
        }
        api.request(Method::Post, &path, token, &body)
    }
}

#[cfg(test)]
mod tests {
    use super::{CommitState, CommitStatus, RepositoryApi, next_status};
    use crate::execution::status::ExecutionStatus::{self, Canceled, Failed, Pending, Running, Success};
    use crate::repository::webhook::Provider;

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
            let of = CommitStatus { commit, state, pipeline: "ci", run_number: run, target_url };
            let post = of.request(&RepositoryApi::new(provider, api_url, repo), "T");
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
}
