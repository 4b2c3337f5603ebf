//! The input of a container's boot script: the job's script, variables and secrets.

use indexmap::IndexMap;
use std::fmt::Write as _;
use tidemill_core::execution::assignment::SecretValue;

/// The directory of secrets that are files: in memory, in the container only, and never in the workspace.
const SECRETS_DIR: &str = "/dev/shm/tidemill-secrets";

/// A job's script with its environment.
#[derive(Debug, Clone, Copy)]
pub struct JobScript<'a> {
    /// Ends each part of the text and identifies markers. A job that reads it can forge only its own log.
    pub nonce: &'a str,
    /// Commands, run in order in one shell until one fails.
    pub script: &'a [String],
    /// Commands that run afterwards in their own shell, also after a failed script.
    pub after_script: &'a [String],
    /// Environment variables.
    pub variables: &'a IndexMap<String, String>,
    /// Secrets, which override variables.
    pub secrets: &'a [SecretValue],
    /// The working directory of the script.
    pub directory: &'a str,
    /// The directory of the sources.
    pub workspace: &'a str,
}

impl JobScript<'_> {
    /// Returns the text to write to the container's stdin.
    ///
    /// Variables and secrets are passed only here, so that `docker inspect` does not show them.
    #[must_use]
    pub fn text(&self) -> String {
        let nonce = self.nonce;
        let mut text = format!("{nonce}\n");
        self.append_prologue(&mut text);
        text.push_str("set -e\nif (set -o pipefail) 2>/dev/null; then set -o pipefail; fi\n");
        for (index, command) in self.script.iter().enumerate() {
            let _ = writeln!(text, "printf '\\036tm:{nonce}:step:{index}\\036'");
            append_command(&mut text, command);
        }
        let _ = writeln!(text, "{nonce}");
        if !self.after_script.is_empty() {
            self.append_prologue(&mut text);
            let _ = writeln!(text, "printf '\\036tm:{nonce}:after\\036'");
            for command in self.after_script {
                append_command(&mut text, command);
            }
        }
        let _ = writeln!(text, "{nonce}");
        text
    }

    /// Appends the prologue of both shells.
    fn append_prologue(&self, text: &mut String) {
        text.push_str("exec </dev/null\n");
        for (name, value) in self.variables {
            if is_name(name) {
                let _ = writeln!(text, "export {name}={}", quoted(value));
            }
        }
        for secret in self.secrets.iter().filter(|secret| is_name(&secret.variable)) {
            let (name, value) = (&secret.variable, quoted(&secret.value));
            if secret.file {
                let file = format!("{SECRETS_DIR}/{name}");
                let _ = writeln!(
                    text,
                    "[ -e {file} ] || (umask 077 && mkdir -p {SECRETS_DIR} && printf %s {value} >{file})"
                );
                let _ = writeln!(text, "export {name}={file}");
            } else {
                let _ = writeln!(text, "export {name}={value}");
            }
        }
        let (workspace, directory) = (quoted(self.workspace), quoted(self.directory));
        let _ = writeln!(text, "cd {workspace} || exit 1");
        let _ = writeln!(text, "mkdir -p {directory} && cd {directory} || exit 1");
    }
}

/// Returns the log line that shows a command before it runs.
pub fn echo_line(command: &str) -> String {
    format!("$ {}\n", command.trim_end().replace('\0', ""))
}

/// Appends code that shows a command and runs it.
fn append_command(text: &mut String, command: &str) {
    let _ = writeln!(text, "printf '%s' {}", quoted(&echo_line(command)));
    let _ = writeln!(text, "eval {}", quoted(command));
}

/// Quotes `text` as one word of a POSIX shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\0', "").replace('\'', "'\\''"))
}

/// Whether a shell can export a variable with this name.
fn is_name(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && chars.all(|other| other.is_ascii_alphanumeric() || other == '_')
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::{JobScript, quoted};
    use indexmap::IndexMap;
    use proptest::prelude::*;

    fn run(script: &[&str], variables: &[(&str, &str)]) -> (String, i32) {
        let script: Vec<String> = script.iter().map(|line| (*line).to_owned()).collect();
        let variables: IndexMap<String, String> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let script_text = JobScript {
            nonce: "nonce",
            script: &script,
            after_script: &[],
            variables: &variables,
            secrets: &[],
            directory: "/",
            workspace: "/",
        };
        let text = script_text.text();
        let body = text.strip_prefix("nonce\n").and_then(|rest| rest.strip_suffix("nonce\nnonce\n")).unwrap();
        let done = std::process::Command::new("sh").arg("-c").arg(body).output().unwrap();
        (String::from_utf8_lossy(&done.stdout).into_owned(), done.status.code().unwrap_or(-1))
    }

    #[test]
    fn commands_share_one_shell_and_stop_at_first_failure() {
        let (out, code) = run(&["cd /tmp; X=it\\'s", "echo \"$X $PWD\"", "(exit 7)", "echo never"], &[]);
        assert_eq!(code, 7);
        assert!(out.contains("$ (exit 7)\n") && out.contains("\nit's /tmp\n"), "{out}");
        assert!(!out.contains("never"), "{out}");
    }

    #[test]
    fn variable_reaches_the_script_unchanged_with_any_characters() {
        let (out, code) = run(&["printf '%s' \"$V\""], &[("V", "a'b\"c$d`e\nf\\"), ("bad name", "x")]);
        assert_eq!(code, 0);
        assert!(out.ends_with("a'b\"c$d`e\nf\\"), "{out}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn shell_reads_quoted_text_unchanged(text in "[^\0\r]{0,40}") {
            let done = std::process::Command::new("sh")
                .arg("-c").arg(format!("printf %s {}", quoted(&text))).output().unwrap();
            prop_assert_eq!(String::from_utf8(done.stdout).unwrap(), text);
        }
    }
}
