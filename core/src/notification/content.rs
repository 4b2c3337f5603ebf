//! What a notification says.

use crate::{
    execution::status::ExecutionStatus,
    text::{is_control, is_invisible},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// Maximum number of failed jobs that a notification names.
pub const MAX_JOBS: usize = 5;
/// Maximum number of tests that a notification names.
pub const MAX_TESTS: usize = 10;
/// Maximum number of characters of a line. Chats reject messages that are too long, and so would hide what happened.
const MAX_LINE_CHARS: usize = 300;
/// Maximum number of characters of a title of a commit.
const MAX_TITLE_CHARS: usize = 160;
/// Maximum number of characters of a name in a line.
const MAX_NAME_CHARS: usize = 80;

/// What a notification is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NotificationEvent {
    /// An execution failed.
    Failure,
    /// An execution succeeded, and the previous one of the same pipeline and branch had failed.
    Recovery,
    /// A job, or a whole execution, waits for an approval.
    Approval,
    /// A test that had always had one result failed, and succeeded when its job was repeated.
    Flaky,
}

/// Returns the event at the end of an execution, if any. A canceled execution is no event.
#[must_use]
pub fn event_at_end(failed_before: bool, status: ExecutionStatus) -> Option<NotificationEvent> {
    match status {
        ExecutionStatus::Failed => Some(NotificationEvent::Failure),
        ExecutionStatus::Success if failed_before => Some(NotificationEvent::Recovery),
        _ => None,
    }
}

/// A job that a notification names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotifiedJob {
    /// Its name.
    pub name: String,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Lines of its log that probably say why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<String>,
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
    /// The first line of the commit's message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The commit's author, without the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// The failed jobs, or those that wait for an approval; at most [`MAX_JOBS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub jobs: Vec<NotifiedJob>,
    /// Number of such jobs that are not named.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_jobs: usize,
    /// Flaky tests, as `job: suite: test`; at most [`MAX_TESTS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tests: Vec<String>,
    /// A page that shows the execution.
    pub url: Option<String>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// A part of a notification's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Paragraph {
    /// One line of prose.
    Line(String),
    /// Lines of a log, under a heading.
    Excerpt {
        /// The heading.
        heading: String,
        /// The lines.
        lines: Vec<String>,
    },
}

impl Notification {
    /// Returns what happened, in one line without markup.
    #[must_use]
    pub fn headline(&self) -> String {
        let on = self.branch.as_ref().map(|branch| format!(" on {}", cut(branch, MAX_NAME_CHARS)));
        let on = on.unwrap_or_default();
        let what = match self.event {
            NotificationEvent::Failure => "failed",
            NotificationEvent::Recovery => "succeeded again",
            NotificationEvent::Approval => "waits for an approval",
            NotificationEvent::Flaky => "has tests that are flaky now",
        };
        let (pipeline, repository) =
            (cut(&self.pipeline, MAX_NAME_CHARS), cut(&self.repository, MAX_NAME_CHARS));
        one_line(&format!("{pipeline} {} of {repository}{on} {what}", self.run_number))
    }

    /// Returns the details below the headline, without the link.
    #[must_use]
    pub fn paragraphs(&self) -> Vec<Paragraph> {
        let mut all = Vec::new();
        if self.title.is_some() || self.author.is_some() || self.commit.is_some() {
            let mut line = String::new();
            if let Some(commit) = &self.commit {
                let _ = write!(line, "{} ", commit.get(..8).unwrap_or(commit));
            }
            if let Some(title) = &self.title {
                let _ = write!(line, "{} ", cut(title, MAX_TITLE_CHARS));
            }
            if let Some(author) = &self.author {
                let _ = write!(line, "({})", cut(author, MAX_NAME_CHARS));
            }
            all.push(Paragraph::Line(one_line(line.trim_end())));
        }
        for job in &self.jobs {
            let reason = job.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            let heading = one_line(&format!("{}{reason}", job.name));
            all.push(if job.lines.is_empty() {
                Paragraph::Line(heading)
            } else {
                Paragraph::Excerpt { heading, lines: job.lines.clone() }
            });
        }
        if self.more_jobs > 0 {
            all.push(Paragraph::Line(format!("and {} more jobs", self.more_jobs)));
        }
        all.extend(self.tests.iter().map(|test| Paragraph::Line(one_line(test))));
        all
    }
}

/// Replaces what could begin a new line, control a terminal or change the direction of text, and leaves out what is not visible. The
/// end of a very long line is cut off.
fn one_line(text: &str) -> String {
    let visible = text.chars().filter(|c| !is_invisible(*c));
    cut(&visible.map(|c| if is_control(c) { ' ' } else { c }).collect::<String>(), MAX_LINE_CHARS)
}

/// Cuts a text after `max` characters.
pub(super) fn cut(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{NotificationEvent, event_at_end};
    use crate::execution::status::ExecutionStatus::{Canceled, Failed, Pending, Running, Success};

    #[test]
    fn failure_and_recovery_are_events() {
        for before in [false, true] {
            for status in [Pending, Running, Success, Failed, Canceled] {
                let expected = match (before, status) {
                    (_, Failed) => Some(NotificationEvent::Failure),
                    (true, Success) => Some(NotificationEvent::Recovery),
                    _ => None,
                };
                assert_eq!(event_at_end(before, status), expected, "{before} {status:?}");
            }
        }
    }
}
