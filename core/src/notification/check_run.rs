//! Check runs of GitHub (<https://docs.github.com/en/rest/checks/runs>): one for each execution.

use super::{
    commit_status::CommitState,
    markdown::plain,
    message::{Method, OutgoingRequest},
    report::ExecutionReport,
    repository_api::RepositoryApi,
};
use crate::{
    ids::ExecutionId,
    summary::{
        annotation::{AnnotationLevel, MAX_MESSAGE_LEN, MAX_TITLE_LEN},
        view::JobAnnotation,
    },
    text::prefix,
    time::Timestamp,
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Value, json};

/// Maximum number of annotations of one request.
pub const MAX_BATCH: usize = 50;
/// Maximum number of annotations of a check run; the web UI has the others.
pub const MAX_ANNOTATIONS: usize = 500;
/// Number of check runs of one commit and name that are listed to find one again.
const PAGE_SIZE: usize = 100;

/// A check run as GitHub knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownCheckRun {
    /// Its id.
    pub id: u64,
    /// Number of its annotations.
    pub annotations: usize,
}

/// A check run as it is to be.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckRun<'a> {
    /// The execution, which GitHub keeps as external id.
    pub execution: ExecutionId,
    /// What its output says.
    pub report: &'a ExecutionReport,
    /// When the execution was started.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The next annotations, at most [`MAX_BATCH`].
    pub annotations: &'a [Value],
}

/// Returns the name of the check runs of a pipeline.
#[must_use]
pub fn check_name(pipeline: &str) -> String {
    format!("tidemill/{pipeline}")
}

impl CheckRun<'_> {
    /// Returns the request that creates it.
    #[must_use]
    pub fn create(&self, api: &RepositoryApi, token: &str) -> OutgoingRequest {
        let mut body = self.body();
        body["name"] = json!(check_name(&self.report.pipeline));
        body["head_sha"] = json!(self.report.commit);
        body["external_id"] = json!(self.execution.to_string());
        api.request(Method::Post, "/check-runs", token, &body)
    }

    /// Returns the request that updates the check run with this id.
    #[must_use]
    pub fn update(&self, api: &RepositoryApi, token: &str, id: u64) -> OutgoingRequest {
        api.request(Method::Patch, &format!("/check-runs/{id}"), token, &self.body())
    }

    /// Returns the request that adds its annotations to the check run with this id, and changes nothing else.
    #[must_use]
    pub fn append(&self, api: &RepositoryApi, token: &str, id: u64) -> OutgoingRequest {
        let body = json!({ "output": self.output() });
        api.request(Method::Patch, &format!("/check-runs/{id}"), token, &body)
    }

    fn body(&self) -> Value {
        let state = self.report.state.unwrap_or(CommitState::Pending);
        let status = match state {
            CommitState::Pending => "queued",
            CommitState::Running => "in_progress",
            CommitState::Success | CommitState::Failure | CommitState::Error => "completed",
        };
        let mut body = json!({
            "status": status,
            "started_at": self.started_at.to_string(),
            "output": self.output(),
        });
        let conclusion = match state {
            CommitState::Pending | CommitState::Running => None,
            CommitState::Success => Some("success"),
            CommitState::Failure => Some("failure"),
            CommitState::Error => Some("cancelled"),
        };
        if let Some(conclusion) = conclusion {
            body["conclusion"] = json!(conclusion);
            body["completed_at"] = json!(self.ended_at.unwrap_or(self.started_at).to_string());
        }
        if let Some(url) = &self.report.url {
            body["details_url"] = json!(url);
        }
        body
    }

    fn output(&self) -> Value {
        let mut output = json!({ "title": self.report.title(), "summary": self.report.markdown() });
        if !self.annotations.is_empty() {
            output["annotations"] = json!(self.annotations);
        }
        output
    }
}

/// Returns the annotations of an execution as GitHub takes them. Those without a file cannot be shown there.
#[must_use]
pub fn annotations(all: &[JobAnnotation]) -> Vec<Value> {
    all.iter().filter_map(annotation).take(MAX_ANNOTATIONS).collect()
}

fn annotation(of: &JobAnnotation) -> Option<Value> {
    let JobAnnotation { job_name, annotation, .. } = of;
    let path = annotation.path.as_ref()?;
    let line = annotation.line.unwrap_or(1);
    let end_line = annotation.end_line.unwrap_or(line).max(line);
    let title = match &annotation.title {
        Some(title) => format!("{title} ({job_name})"),
        None => job_name.clone(),
    };
    let title = plain(&title, MAX_TITLE_LEN);
    let message = Some(annotation.message.as_str()).filter(|message| !message.is_empty()).unwrap_or(&title);
    let mut body = json!({
        "path": path,
        "start_line": line,
        "end_line": end_line,
        "annotation_level": match annotation.level {
            AnnotationLevel::Failure => "failure",
            AnnotationLevel::Warning => "warning",
            AnnotationLevel::Notice => "notice",
        },
        "message": prefix(message, MAX_MESSAGE_LEN),
        "title": prefix(&title, MAX_TITLE_LEN),
    });
    // GitHub takes columns within one line only.
    if let (Some(column), true) = (annotation.column, end_line == line) {
        body["start_column"] = json!(column);
        body["end_column"] = json!(annotation.end_column.unwrap_or(column).max(column));
    }
    Some(body)
}

/// Returns the request that reads a check run.
#[must_use]
pub fn read_request(api: &RepositoryApi, token: &str, id: u64) -> OutgoingRequest {
    api.request(Method::Get, &format!("/check-runs/{id}"), token, &Value::Null)
}

/// Returns the request that lists the check runs of a pipeline at a commit.
#[must_use]
pub fn list_request(api: &RepositoryApi, token: &str, commit: &str, pipeline: &str) -> OutgoingRequest {
    let name = check_name(pipeline);
    let name = utf8_percent_encode(&name, NON_ALPHANUMERIC);
    let path = format!("/commits/{commit}/check-runs?check_name={name}&filter=all&per_page={PAGE_SIZE}");
    api.request(Method::Get, &path, token, &Value::Null)
}

/// Returns the request for the rights of a user at the repository.
#[must_use]
pub fn permission_request(api: &RepositoryApi, token: &str, user: &str) -> OutgoingRequest {
    let path = format!("/collaborators/{}/permission", utf8_percent_encode(user, NON_ALPHANUMERIC));
    api.request(Method::Get, &path, token, &Value::Null)
}

/// Whether the user of a reply to [`permission_request`] may write to the repository.
#[must_use]
pub fn may_write(body: &[u8]) -> bool {
    // GitHub reports `maintain` as `write`, and `triage` as `read`.
    serde_json::from_slice::<PermissionBody>(body)
        .is_ok_and(|body| matches!(body.permission.as_str(), "admin" | "write"))
}

#[derive(Deserialize)]
struct PermissionBody {
    permission: String,
}

#[derive(Deserialize)]
struct CheckRunBody {
    id: u64,
    external_id: Option<String>,
    output: Option<OutputBody>,
}

#[derive(Deserialize)]
struct OutputBody {
    annotations_count: Option<usize>,
}

#[derive(Deserialize)]
struct CheckRunList {
    check_runs: Vec<CheckRunBody>,
}

impl From<&CheckRunBody> for KnownCheckRun {
    fn from(body: &CheckRunBody) -> Self {
        let count = body.output.as_ref().and_then(|output| output.annotations_count);
        Self { id: body.id, annotations: count.unwrap_or_default() }
    }
}

/// Returns the check run in a reply.
#[must_use]
pub fn parse(body: &[u8]) -> Option<KnownCheckRun> {
    serde_json::from_slice::<CheckRunBody>(body).ok().as_ref().map(KnownCheckRun::from)
}

/// Returns the check run of an execution in a list; `Some(None)`: it has none.
#[must_use]
pub fn parse_list(body: &[u8], execution: ExecutionId) -> Option<Option<KnownCheckRun>> {
    let list: CheckRunList = serde_json::from_slice(body).ok()?;
    let id = execution.to_string();
    let of_execution = list.check_runs.iter().find(|run| run.external_id.as_deref() == Some(&id));
    Some(of_execution.map(KnownCheckRun::from))
}

#[cfg(test)]
mod tests {
    use super::{KnownCheckRun, MAX_ANNOTATIONS, annotations, list_request, parse, parse_list};
    use crate::{
        ids::{ExecutionId, JobId},
        notification::repository_api::RepositoryApi,
        repository::webhook::Provider,
        summary::{
            annotation::{Annotation, AnnotationLevel},
            view::JobAnnotation,
        },
    };
    use serde_json::json;
    use uuid::Uuid;

    fn job_annotation(annotation: Annotation) -> JobAnnotation {
        JobAnnotation { job_id: JobId(Uuid::nil()), job_name: "lint".into(), other_jobs: 0, annotation }
    }

    #[test]
    fn annotations_have_lines_and_columns_of_one_line() {
        let at = |path: Option<&str>, line, end_line| Annotation {
            path: path.map(str::to_owned),
            line,
            end_line,
            column: Some(4),
            title: Some("unused".into()),
            ..Annotation::new(AnnotationLevel::Warning, "remove it")
        };
        let all = [at(Some("a.rs"), Some(3), None), at(Some("a.rs"), Some(3), Some(5)), at(None, None, None)];
        let all: Vec<JobAnnotation> = all.into_iter().map(job_annotation).collect();
        let expected = json!([
            { "path": "a.rs", "start_line": 3, "end_line": 3, "start_column": 4, "end_column": 4,
              "annotation_level": "warning", "message": "remove it", "title": "unused (lint)" },
            { "path": "a.rs", "start_line": 3, "end_line": 5, "annotation_level": "warning",
              "message": "remove it", "title": "unused (lint)" },
        ]);
        assert_eq!(json!(annotations(&all)), expected);
        let many = vec![all[0].clone(); MAX_ANNOTATIONS + 1];
        assert_eq!(annotations(&many).len(), MAX_ANNOTATIONS);
    }

    #[test]
    fn check_run_is_found_by_its_execution() {
        let id = ExecutionId(Uuid::from_u128(7));
        let run = |id: u64, external: &str| json!({ "id": id, "external_id": external, "output": { "annotations_count": 3 } });
        let list = json!({ "total_count": 2, "check_runs": [run(1, "x"), run(2, &id.to_string())] });
        let known = KnownCheckRun { id: 2, annotations: 3 };
        assert_eq!(parse_list(list.to_string().as_bytes(), id), Some(Some(known)));
        assert_eq!(parse_list(b"{\"check_runs\":[]}", id), Some(None));
        assert_eq!(parse_list(b"<html>", id), None);
        assert_eq!(parse(run(2, "x").to_string().as_bytes()), Some(known));
        let api = RepositoryApi::new(Provider::Github, None, "https://github.com/o/r");
        assert_eq!(
            list_request(&api, "T", "c0ffee", "a b").url,
            "https://api.github.com/repos/o/r/commits/c0ffee/check-runs?check_name=tidemill%2Fa%20b&filter=all&per_page=100"
        );
    }
}
