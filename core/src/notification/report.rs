//! What git providers show of an execution beside its state: in the output of a check run, and in the note of a pull request.

use super::{
    commit_status::CommitState,
    content::{MAX_JOBS, MAX_TESTS, NotifiedJob},
    error_lines::MAX_LINE_CHARS,
    markdown::{code, code_block, plain},
};
use crate::{api::page::job_page, execution::test_report::TestCounts, summary::view::AnnotationCounts};

/// Maximum length of the details in bytes, so that those of many pipelines fit into a document and into a note.
pub const MAX_DETAILS_LEN: usize = 8 << 10;
/// Maximum number of characters of a name, and of a reason.
const MAX_NAME_CHARS: usize = 200;
const MAX_REASON_CHARS: usize = 300;
/// Number of characters of a commit that are shown.
const SHORT_COMMIT_LEN: usize = 8;

/// The report about an execution. Its texts come from repositories, pipeline files and logs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecutionReport {
    /// The pipeline's name.
    pub pipeline: String,
    /// The execution's run number.
    pub run_number: u64,
    /// Its state; `None`: it waits for an approval as a whole.
    pub state: Option<CommitState>,
    /// Its commit.
    pub commit: String,
    /// The failed jobs, at most [`MAX_JOBS`].
    pub jobs: Vec<NotifiedJob>,
    /// Number of other failed jobs.
    pub more_jobs: usize,
    /// Its tests, if it has some.
    pub tests: Option<TestCounts>,
    /// Failed tests, as `job: suite: test`; at most [`MAX_TESTS`].
    pub failed_tests: Vec<String>,
    /// Number of remarks on lines of the sources.
    pub annotations: AnnotationCounts,
    /// A page that shows the execution.
    pub url: Option<String>,
}

impl ExecutionReport {
    /// Returns what happened, in one line without markup.
    #[must_use]
    pub fn title(&self) -> String {
        format!("run {} {}", self.run_number, self.outcome())
    }

    fn outcome(&self) -> &'static str {
        self.state.map_or("waits for an approval", CommitState::description)
    }

    /// Returns what happened, in one line of Markdown with a link.
    #[must_use]
    pub fn headline(&self) -> String {
        let icon = match self.state {
            None => "⏸️",
            Some(CommitState::Pending) => "🕓",
            Some(CommitState::Running) => "▶️",
            Some(CommitState::Success) => "✅",
            Some(CommitState::Failure) => "❌",
            Some(CommitState::Error) => "⏹️",
        };
        let run = match &self.url {
            Some(url) => format!("[run {}]({url})", self.run_number),
            None => format!("run {}", self.run_number),
        };
        let commit: String = self.commit.chars().take(SHORT_COMMIT_LEN).collect();
        format!(
            "{icon} {} {run} {} at {}",
            code(&self.pipeline, MAX_NAME_CHARS),
            self.outcome(),
            code(&commit, SHORT_COMMIT_LEN)
        )
    }

    /// Returns the failed jobs with the first lines of their errors, the tests and the number of annotations, as Markdown of at most
    /// [`MAX_DETAILS_LEN`] bytes.
    #[must_use]
    pub fn details(&self) -> String {
        let mut details = Details::default();
        for job in self.jobs.iter().take(MAX_JOBS) {
            let name = code(&job.name, MAX_NAME_CHARS);
            let name = match &self.url {
                Some(url) => format!("{name} ([log](<{}>))", job_page(url, &job.name)),
                None => name,
            };
            let reason = job.reason.as_deref().map(|reason| plain(reason, MAX_REASON_CHARS));
            let reason = reason.filter(|reason| !reason.is_empty());
            let reason = reason.map(|reason| format!(": {}", code(&reason, MAX_REASON_CHARS)));
            let mut paragraph = format!("**failed:** {name}{}", reason.unwrap_or_default());
            if !job.lines.is_empty() {
                paragraph = format!("{paragraph}\n\n{}", code_block(&job.lines, MAX_LINE_CHARS));
            }
            details.add(&paragraph);
        }
        if self.more_jobs > 0 {
            details.add(&format!("and {} more failed jobs", self.more_jobs));
        }
        if let Some(tests) = &self.tests {
            details.add(&tests.to_string());
        }
        let tests: Vec<String> = self
            .failed_tests
            .iter()
            .take(MAX_TESTS)
            .map(|test| format!("- {}", code(test, MAX_NAME_CHARS)))
            .collect();
        if !tests.is_empty() {
            details.add(&tests.join("\n"));
        }
        let annotations = self.annotations.to_string();
        if !annotations.is_empty() {
            details.add(&format!("annotations: {annotations}"));
        }
        details.text
    }

    /// Returns headline and details.
    #[must_use]
    pub fn markdown(&self) -> String {
        let details = self.details();
        if details.is_empty() { self.headline() } else { format!("{}\n\n{details}", self.headline()) }
    }
}

/// Whole paragraphs up to a maximum length: a paragraph that is cut could leave its block of code open.
#[derive(Default)]
struct Details {
    text: String,
    is_full: bool,
}

impl Details {
    fn add(&mut self, paragraph: &str) {
        const OMITTED: &str = "\n\n…";
        if self.is_full {
            return;
        }
        let separator = if self.text.is_empty() { "" } else { "\n\n" };
        if self.text.len() + separator.len() + paragraph.len() + OMITTED.len() > MAX_DETAILS_LEN {
            self.is_full = true;
            self.text.push_str(OMITTED);
        } else {
            self.text.push_str(separator);
            self.text.push_str(paragraph);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ExecutionReport, MAX_DETAILS_LEN};
    use crate::notification::{commit_status::CommitState, content::NotifiedJob};

    fn report() -> ExecutionReport {
        ExecutionReport {
            pipeline: "ci".into(),
            run_number: 7,
            state: Some(CommitState::Failure),
            commit: "c0ffee1234567".into(),
            jobs: vec![NotifiedJob {
                name: "test @all".into(),
                reason: Some("exit code 1 [x](http://e.example)".into()),
                lines: vec!["error: ``` @team #1".into(), "/close".into()],
            }],
            more_jobs: 2,
            failed_tests: vec!["unit: gate: opens <b>".into()],
            url: Some("https://ci.example.org/executions/e".into()),
            ..ExecutionReport::default()
        }
    }

    #[test]
    fn report_has_jobs_first_error_lines_tests_and_links() {
        let expected = "❌ `ci` [run 7](https://ci.example.org/executions/e) failed at `c0ffee12`\n\n\
            **failed:** `test @all` ([log](<https://ci.example.org/executions/e/jobs/test%20%40all>)): \
            `exit code 1 [x](http://e.example)`\n\n\
            ```text\nerror: `\u{200b}`\u{200b}`\u{200b} @team #1\n /close\n```\n\n\
            and 2 more failed jobs\n\n- `unit: gate: opens <b>`";
        assert_eq!(report().markdown(), expected);
        assert_eq!(report().title(), "run 7 failed");
        let held = ExecutionReport { state: None, url: None, jobs: Vec::new(), ..report() };
        assert_eq!(held.headline(), "⏸️ `ci` run 7 waits for an approval at `c0ffee12`");
    }

    #[test]
    fn details_are_whole_paragraphs_within_their_limit() {
        let job = NotifiedJob { name: "é".repeat(1_000), reason: None, lines: vec!["é".repeat(300); 6] };
        let report = ExecutionReport { jobs: vec![job; 5], ..report() };
        let details = report.details();
        assert!(details.len() <= MAX_DETAILS_LEN && details.ends_with("\n\n…"), "{}", details.len());
        assert_eq!(details.matches("```").count() % 2, 0);
    }
}
