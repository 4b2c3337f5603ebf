//! What a parked container is told to do: the text that its boot script reads from stdin.

use indexmap::IndexMap;
use std::fmt::Write as _;

/// Runs as the container's first process; see the file.
pub const BOOT: &str = include_str!("boot.sh");

/// The text to write to a parked container's stdin, so that it runs `script` in `directory`.
///
/// Variables travel here and nowhere else, so that no `docker inspect` shows them.
#[must_use]
pub fn orders(
    nonce: &str,
    script: &[String],
    variables: &IndexMap<String, String>,
    directory: &str,
    workspace: &str,
) -> String {
    let mut text = format!("{nonce}\nexec </dev/null\n");
    for (name, value) in variables {
        if is_name(name) {
            let _ = writeln!(text, "export {name}={}", quoted(value));
        }
    }
    let _ = writeln!(text, "cd {} || exit 1", quoted(workspace));
    let _ = writeln!(text, "mkdir -p {dir} && cd {dir} || exit 1", dir = quoted(directory));
    text.push_str("set -e\nif (set -o pipefail) 2>/dev/null; then set -o pipefail; fi\n");
    for (index, command) in script.iter().enumerate() {
        let _ = writeln!(text, "printf '\\036tm:{nonce}:step:{index}\\036'");
        let _ = writeln!(text, "printf '%s\\n' {}", quoted(&format!("$ {}", command.trim_end())));
        let _ = writeln!(text, "eval {}", quoted(command));
    }
    let _ = writeln!(text, "{nonce}");
    text
}

/// `text` as one word of a POSIX shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\0', "").replace('\'', "'\\''"))
}

/// Whether a shell can export a variable of this name.
fn is_name(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_')
        && chars.all(|other| other.is_ascii_alphanumeric() || other == '_')
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::{orders, quoted};
    use indexmap::IndexMap;
    use proptest::prelude::*;

    fn run(script: &[&str], variables: &[(&str, &str)]) -> (String, i32) {
        let script: Vec<String> = script.iter().map(|line| (*line).to_owned()).collect();
        let variables: IndexMap<String, String> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let text = orders("nonce", &script, &variables, "/", "/");
        let body = text.strip_prefix("nonce\n").and_then(|rest| rest.strip_suffix("nonce\n")).unwrap();
        let done = std::process::Command::new("sh").arg("-c").arg(body).output().unwrap();
        (String::from_utf8_lossy(&done.stdout).into_owned(), done.status.code().unwrap_or(-1))
    }

    #[test]
    fn commands_share_one_shell_and_stop_at_the_first_failure() {
        let (out, code) = run(&["cd /tmp; X=it\\'s", "echo \"$X $PWD\"", "(exit 7)", "echo never"], &[]);
        assert_eq!(code, 7);
        assert!(out.contains("$ (exit 7)\n") && out.contains("\nit's /tmp\n"), "{out}");
        assert!(!out.contains("never"), "{out}");
    }

    #[test]
    fn a_value_reaches_the_script_whatever_is_in_it() {
        let (out, code) = run(&["printf '%s' \"$V\""], &[("V", "a'b\"c$d`e\nf\\"), ("bad name", "x")]);
        assert_eq!(code, 0);
        assert!(out.ends_with("a'b\"c$d`e\nf\\"), "{out}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn quoting_is_undone_by_the_shell(text in "[^\0\r]{0,40}") {
            let done = std::process::Command::new("sh")
                .arg("-c").arg(format!("printf %s {}", quoted(&text))).output().unwrap();
            prop_assert_eq!(String::from_utf8(done.stdout).unwrap(), text);
        }
    }
}
