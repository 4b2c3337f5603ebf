//! Check runs of GitHub: one for each execution, as there is one commit status for each. Its name is that of the pipeline, so that a
//! protected branch can require it whatever jobs a file has, and an execution costs a few requests and not some for each job. Jobs are
//! in its output, and their annotations at its lines.

use super::{content::report, tokens::ReportClient};
use crate::{forge::delivery::SendFailure, ports::ExecutionRecord, repositories::record::Repository};
use serde::{Deserialize, Serialize};
use tidemill_core::notification::{
    check_run::{
        CheckRun, KnownCheckRun, MAX_BATCH, list_request, may_write, parse, parse_list, permission_request,
        read_request,
    },
    commit_status::CommitState,
};

/// The status with which GitHub rejects what a request says.
const INVALID: u16 = 422;

/// What is known of the check run of an execution.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckRecord {
    /// Its id, once it was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    /// Whether the effect of the last request is not known, as no reply was received.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_uncertain: bool,
    /// Number of annotations that it has.
    #[serde(default)]
    annotations: usize,
    /// Whether there are more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_more: bool,
}

impl CheckRecord {
    /// Returns what is known while a request is sent.
    pub fn sending(&self) -> Self {
        Self { is_uncertain: true, ..self.clone() }
    }

    /// Returns what is known once the rest is not sent.
    pub fn abandoned(self) -> Self {
        Self { has_more: false, ..self }
    }
}

/// A state of an execution that its check run is to show.
#[derive(Debug, Clone, Copy)]
pub struct CheckState {
    /// The state.
    pub state: CommitState,
    /// Whether it was not reported before; otherwise only annotations are missing.
    pub is_new: bool,
}

impl ReportClient {
    /// Writes the check run of an execution in this state, with the next annotations. Returns what is known of it after that.
    ///
    /// GitHub appends annotations and creates as many check runs as it is asked to. So after a request without a reply, the check run is
    /// read first.
    pub(in crate::forge) async fn write_check_run(
        &self,
        execution: &ExecutionRecord,
        repository: &Repository,
        CheckState { state, is_new }: CheckState,
        mut check: CheckRecord,
    ) -> (CheckRecord, Result<(), SendFailure>) {
        if check.is_uncertain {
            match self.read_check_run(execution, repository, check.id).await {
                Ok(known) => {
                    check.id = known.map(|known| known.id);
                    check.annotations = known.map_or(0, |known| known.annotations);
                }
                Err(failure) => return (check, Err(failure)),
            }
        }
        let url = self.sender.url(execution.spec.id);
        let (report, annotations) = match report(&self.sender.context, execution, state, url).await {
            Ok(content) => content,
            Err(error) => return (check, Err(error.into())),
        };
        let rest = annotations.get(check.annotations..).unwrap_or_default();
        let batch = &rest[..rest.len().min(MAX_BATCH)];
        let run = CheckRun {
            execution: execution.spec.id,
            report: &report,
            started_at: execution.state.start_time.unwrap_or(execution.spec.created_at),
            ended_at: execution.state.end_time,
            annotations: batch,
        };
        let id = check.id;
        let sent = self
            .send(repository, |api, token| match id {
                None => run.create(api, token),
                Some(id) if is_new => run.update(api, token, id),
                Some(id) => run.append(api, token, id),
            })
            .await;
        match sent {
            Ok(reply) => {
                check.is_uncertain = false;
                check.annotations += batch.len();
                check.has_more = rest.len() > batch.len();
                check.id = check.id.or_else(|| parse(&reply.body).map(|known| known.id));
                if check.id.is_none() {
                    check = check.sending();
                    return (check, Err(SendFailure::of_reply("the reply has no id of a check run")));
                }
                (check, Ok(()))
            }
            Err(failure) => {
                check.is_uncertain = failure.is_uncertain();
                if failure.is_gone() && check.id.take().is_some() {
                    check.annotations = 0;
                } else if failure.status == Some(INVALID) {
                    // Jobs write annotations. Those that GitHub does not take must not keep the state from it.
                    check.annotations += batch.len();
                }
                (check, Err(failure))
            }
        }
    }

    /// Returns the check run of an execution, by its id if that is known; `None`: there is none.
    async fn read_check_run(
        &self,
        execution: &ExecutionRecord,
        repository: &Repository,
        id: Option<u64>,
    ) -> Result<Option<KnownCheckRun>, SendFailure> {
        let spec = &execution.spec;
        let commit = spec.commit.as_deref().unwrap_or_default();
        let reply = self
            .send(repository, |api, token| match id {
                Some(id) => read_request(api, token, id),
                None => list_request(api, token, commit, &spec.pipeline_name),
            })
            .await;
        match reply {
            Ok(reply) => {
                let known = match id {
                    Some(_) => parse(&reply.body).map(Some),
                    None => parse_list(&reply.body, spec.id),
                };
                known.ok_or_else(|| SendFailure::of_reply("the reply is not a check run"))
            }
            Err(failure) if failure.is_gone() && id.is_some() => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Whether a user may write to a repository at GitHub.
    pub(in crate::forge) async fn may_write(
        &self,
        repository: &Repository,
        user: &str,
    ) -> Result<bool, SendFailure> {
        match self.send(repository, |api, token| permission_request(api, token, user)).await {
            Ok(reply) => Ok(may_write(&reply.body)),
            Err(failure) if failure.is_gone() => Ok(false),
            Err(failure) => Err(failure),
        }
    }
}
