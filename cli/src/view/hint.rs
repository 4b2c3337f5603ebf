//! Commands that users can paste, for messages.

use crate::output::printable;
use tidemill_core::{api::page, ids::ExecutionId};

/// Writes commands that act on executions of one deployment.
#[derive(Debug, Clone, Default)]
pub struct CommandHints {
    /// Flags that select the deployment, with a leading space; empty for this machine.
    flags: String,
    /// URL of a remote deployment, which serves a page for each execution.
    url: Option<String>,
}

impl CommandHints {
    /// Creates hints with these flags, and the URL of a remote deployment.
    pub const fn new(flags: String, url: Option<String>) -> Self {
        Self { flags, url }
    }

    /// Returns the command that watches an execution.
    pub fn watch(&self, id: ExecutionId) -> String {
        format!("tidemill watch {id}{}", self.flags)
    }

    /// Returns the command that prints the log of an execution's only job, as far as it is written.
    pub fn logs(&self, id: ExecutionId) -> String {
        format!("tidemill logs {id} --follow{}", self.flags)
    }

    /// Returns the command that approves an execution, or a job of it.
    pub fn approve(&self, id: ExecutionId, job: Option<&str>) -> String {
        let job = job.map(|job| format!(" {}", quoted(job))).unwrap_or_default();
        format!("tidemill approve {id}{job}{}", self.flags)
    }

    /// Returns the command that prints the log of an attempt of a job.
    pub fn attempt_log(&self, id: ExecutionId, job: &str) -> String {
        format!("tidemill logs {id} {} --attempt N{}", quoted(job), self.flags)
    }

    /// Returns the command that runs the unsuccessful jobs of an execution again.
    pub fn retry(&self, id: ExecutionId) -> String {
        format!("tidemill retry {id}{}", self.flags)
    }

    /// Returns a command about the environments of a repository, which is the one that a user gave.
    pub fn environments(&self, command: &str, name: Option<&str>, repo: Option<&str>) -> String {
        let name = name.map(|name| format!(" {}", quoted(name))).unwrap_or_default();
        let repo = repo.map(|repo| format!(" --repo {}", quoted(repo))).unwrap_or_default();
        format!("tidemill environments {command}{name}{repo}{}", self.flags)
    }

    /// Returns the address of an execution's page, if its deployment has one.
    pub fn page(&self, id: ExecutionId) -> Option<String> {
        self.url.as_ref().map(|url| page_address(url, id))
    }
}

/// Returns the address of an execution's page on the server at `url`.
pub fn page_address(url: &str, id: ExecutionId) -> String {
    page::execution_page(url, id)
}

/// Quotes an argument for a shell, if necessary.
pub fn quoted(text: &str) -> String {
    let text = printable(text);
    shlex::try_quote(&text).map_or_else(|_| text.clone(), std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::{CommandHints, quoted};
    use tidemill_core::ids::ExecutionId;
    use uuid::Uuid;

    #[test]
    fn commands_about_environments_keep_repository_and_server() {
        let hints = CommandHints::new(" --profile ci".to_owned(), None);
        assert_eq!(
            hints.environments("rollback", Some("a b"), Some("https://git.example.org/a/b.git")),
            "tidemill environments rollback 'a b' --repo https://git.example.org/a/b.git --profile ci"
        );
        assert_eq!(hints.environments("list", None, None), "tidemill environments list --profile ci");
    }

    #[test]
    fn arguments_are_quoted_only_if_necessary() {
        assert_eq!(quoted("unit"), "unit");
        assert_eq!(quoted("unit [os=debian]"), "'unit [os=debian]'");
        assert_eq!(quoted("it's; rm -rf"), "\"it's; rm -rf\"");
        let hints = CommandHints::new(" --profile ci".into(), Some("https://ci.example.org/".into()));
        let id = ExecutionId(Uuid::nil());
        assert!(
            hints.approve(id, Some("a b")).ends_with(" 'a b' --profile ci"),
            "{}",
            hints.approve(id, None)
        );
        assert_eq!(hints.page(id), Some(format!("https://ci.example.org/executions/{id}")));
        assert_eq!(CommandHints::default().page(id), None);
    }
}
