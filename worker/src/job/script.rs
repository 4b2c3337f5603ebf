//! The input of a container's boot script: the job's script, variables and secrets.

use indexmap::IndexMap;
use std::fmt::Write as _;
use tidemill_core::execution::assignment::SecretValue;

/// The directory of secrets that are files in a container: in memory, there only, and never in the workspace.
pub const SECRETS_DIR: &str = "/dev/shm/tidemill-secrets";

/// Returns the directory in which the script of a job starts, by its own setting and the path of its workspace.
pub fn script_directory(working_dir: Option<&str>, workspace: &str) -> String {
    match working_dir {
        None => workspace.to_owned(),
        Some(path) if path.starts_with('/') => path.to_owned(),
        Some(path) => format!("{workspace}/{path}"),
    }
}

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
    /// The directory of secrets that are files.
    pub secrets_dir: &'a str,
}

/// What is written to a container's stdin, in this order.
#[derive(Clone, PartialEq, Eq)]
pub struct ScriptText {
    /// Variables and secrets. Nothing runs yet after it.
    pub environment: String,
    /// The script, which runs once this was read.
    pub script: String,
}

impl std::fmt::Debug for ScriptText {
    // Secrets are in it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScriptText").finish_non_exhaustive()
    }
}

impl JobScript<'_> {
    /// Returns the text to write to the container's stdin: the environment, and then the script, which starts it.
    ///
    /// Variables and secrets are passed only here, so that `docker inspect` does not show them.
    #[must_use]
    pub fn text(&self) -> ScriptText {
        let nonce = self.nonce;
        let mut environment = format!("{nonce}\n");
        self.append_environment(&mut environment);
        let _ = writeln!(environment, "{nonce}");
        let mut script = String::new();
        append_items(&mut script, nonce, self.script);
        append_items(&mut script, nonce, self.after_script);
        ScriptText { environment, script }
    }

    /// Appends what both shells read first: variables, secrets, the working directory, and the function that prints markers.
    ///
    /// The function keeps `$?`. It prints to a descriptor of its own, so that redirections of the script do not matter, and its
    /// callers hide it from `set -x`.
    fn append_environment(&self, text: &mut String) {
        let _ = writeln!(
            text,
            r#"tidemill_step() {{ set -- "$?" "$@"; printf '\036tm:{}:%s:%s:%s\036' "$2" "$3" "$4" >&7; return "$1"; }}"#,
            self.nonce
        );
        for (name, value) in self.variables {
            if is_name(name) {
                let _ = writeln!(text, "export {name}={}", quoted(value));
            }
        }
        for secret in self.secrets.iter().filter(|secret| is_name(&secret.variable)) {
            let (name, value) = (&secret.variable, quoted(&secret.value));
            if secret.file {
                let (directory, file) =
                    (quoted(self.secrets_dir), quoted(&format!("{}/{name}", self.secrets_dir)));
                let _ = writeln!(
                    text,
                    "[ -e {file} ] || (umask 077 && mkdir -p {directory} && printf %s {value} >{file})"
                );
                let _ = writeln!(text, "export {name}={file}");
            } else {
                let _ = writeln!(text, "export {name}={value}");
            }
        }
        let (workspace, directory) = (quoted(self.workspace), quoted(self.directory));
        let _ = writeln!(text, "cd {workspace} || exit 1");
        let _ = writeln!(
            text,
            "cd {directory} 2>/dev/null || {{ mkdir -p {directory} && cd {directory}; }} || exit 1"
        );
    }
}

/// Returns the log line that shows a command before it runs.
pub fn echo_line(command: &str) -> String {
    format!("$ {}\n", command.trim_end().replace('\0', ""))
}

/// Appends the items of a script, separated as the boot script expects it, and the nonce.
fn append_items(text: &mut String, nonce: &str, items: &[String]) {
    let mut is_noticed = false;
    for (index, item) in items.iter().enumerate() {
        let item = item.replace('\0', "");
        text.push_str(item.strip_suffix('\n').unwrap_or(&item));
        is_noticed |= REVEALING.iter().any(|text| item.contains(text)) || redirects_markers(&item);
        // These variables would have the marker's values.
        let next = items.get(index + 1);
        let would_notice =
            is_noticed || next.is_some_and(|next| next.contains("PIPESTATUS") || next.contains("$_"));
        let kind = match (would_notice, is_simple(&item)) {
            (true, _) => '!',
            (false, true) => '.',
            (false, false) => '?',
        };
        let _ = writeln!(text, "\n{nonce} {kind}");
    }
    let _ = writeln!(text, "{nonce}");
}

/// Texts of items after which a script may notice markers: traps of bash on each command, traces that go elsewhere, input that is
/// shown, a shell that is restricted, and functions in place of what a marker uses.
const REVEALING: [&str; 10] = [
    "DEBUG",
    "RETURN",
    "BASH_XTRACEFD",
    "set -v",
    "set -o verbose",
    "set -r",
    "enable -n",
    "printf()",
    "printf ()",
    "function printf",
];

/// Whether an item may open, close or use the descriptor to which markers go, such as `exec 7>file` or `>&7`. Bash chooses one
/// itself for `{name}>file`, from 10 on.
fn redirects_markers(item: &str) -> bool {
    let compact: String = item.split_whitespace().collect();
    let opens = |(at, _): (usize, &str)| {
        item[at + 1..].starts_with(['<', '>'])
            && !item[..at].ends_with(|before: char| before.is_ascii_digit())
    };
    compact.contains(">&7") || compact.contains("<&7") || item.match_indices('7').any(opens)
}

/// Words that begin or end a compound command.
const RESERVED_WORDS: [&str; 19] = [
    "if", "then", "elif", "else", "fi", "for", "select", "while", "until", "do", "done", "case", "in",
    "esac", "function", "coproc", "time", "!", "[[",
];

/// Whether an item is certainly a list of complete commands: words, simple quotes and variables, and nothing that continues.
/// False means only that the shell has to decide.
fn is_simple(item: &str) -> bool {
    let mut rest = item.trim_end();
    let mut word = String::new();
    let mut last = '\n';
    let mut is_in_word = false;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '\'' => match rest.split_once('\'') {
                Some((_, after)) => rest = after,
                None => return false,
            },
            '"' => match rest.split_once('"') {
                Some((quoted, after))
                    if !quoted.contains(['`', '\\']) && !quoted.contains("$(") && !quoted.contains("${") =>
                {
                    rest = after;
                }
                _ => return false,
            },
            '$' if rest.starts_with('{') => match rest[1..].split_once('}') {
                Some((name, after)) if is_name(name) => rest = after,
                _ => return false,
            },
            '`' | '\\' | '(' | ')' | '{' | '}' => return false,
            '$' if rest.starts_with(['\'', '"']) => return false,
            '<' if rest.starts_with('<') => return false,
            '#' if !is_in_word => rest = rest.find('\n').map_or("", |end| &rest[end..]),
            _ => {}
        }
        let ends_word = c.is_whitespace() || matches!(c, ';' | '&' | '|' | '<' | '>');
        if ends_word {
            if RESERVED_WORDS.contains(&word.as_str()) {
                return false;
            }
            word.clear();
        } else {
            word.push(c);
        }
        is_in_word = !ends_word;
        if !c.is_whitespace() && c != '#' {
            last = if last == '&' && c == '&' { '|' } else { c };
        }
    }
    !RESERVED_WORDS.contains(&word.as_str()) && !matches!(last, '|' | '<' | '>')
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
    use super::{JobScript, SECRETS_DIR, quoted};
    use indexmap::IndexMap;
    use proptest::prelude::*;

    const SHELLS: [&str; 2] = ["sh", "bash"];

    /// Output (without markers), markers, and exit code.
    type Run = (String, Vec<String>, i32);

    fn start(shell: &str, script: &[String], variables: &[(&str, &str)]) -> Run {
        let variables: IndexMap<String, String> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let text = JobScript {
            nonce: "nonce",
            script,
            after_script: &[],
            variables: &variables,
            secrets: &[],
            directory: "/",
            workspace: "/",
            secrets_dir: SECRETS_DIR,
        }
        .text();
        let directory = tempfile::tempdir().unwrap();
        let input = directory.path().join("input");
        std::fs::write(&input, text.environment + &text.script).unwrap();
        // What the boot script does, without a container around it.
        let boot = format!(
            "exec 3<\"$1\" </dev/null 2>&1\n{}tm_dir=$2 tm_shell=$3\nIFS= read -r tm_nonce <&3\n\
             copy >\"$tm_dir/environment\"\nscript step >\"$tm_dir/script\"\ntm_options=\n\
             [ \"$tm_shell\" = sh ] || tm_options='-o pipefail'\n\
             exec \"$tm_shell\" -e $tm_options \"$tm_dir/script\" 3<&- 7>&1\n",
            include_str!("../engine/script_files.sh")
        );
        let done = std::process::Command::new("sh")
            .args(["-c", &boot, "boot"])
            .args([&input, directory.path()])
            .arg(shell)
            .output()
            .unwrap();
        let printed =
            String::from_utf8_lossy(&done.stdout).replace(&format!("{}/", directory.path().display()), "");
        let (mut output, mut markers) = (String::new(), Vec::new());
        for (index, part) in printed.split('\u{1e}').enumerate() {
            if index % 2 == 0 {
                output.push_str(part);
            } else {
                markers.push(part.strip_prefix("tm:nonce:step:").unwrap().to_owned());
            }
        }
        (output, markers, done.status.code().unwrap_or(-1))
    }

    /// The items' text as one file of a shell.
    fn run_as_file(shell: &str, script: &[String]) -> (String, i32) {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("script"), script.join("\n") + "\n").unwrap();
        let options: &[&str] = if shell == "sh" { &["-e"] } else { &["-eo", "pipefail"] };
        let file = directory.path().join("script");
        let done = std::process::Command::new("sh")
            .args(["-c", "cd / && exec \"$@\" 2>&1 </dev/null", "sh", shell])
            .args(options)
            .arg(&file)
            .output()
            .unwrap();
        let output =
            String::from_utf8_lossy(&done.stdout).replace(&format!("{}/", directory.path().display()), "");
        (output, done.status.code().unwrap_or(-1))
    }

    fn items(script: &[&str]) -> Vec<String> {
        script.iter().map(|item| (*item).to_owned()).collect()
    }

    #[test]
    fn commands_share_one_shell_and_stop_at_first_failure() {
        for shell in SHELLS {
            let script = items(&["cd /tmp; X=it\\'s", "echo \"$X $PWD\"", "(exit 7)", "echo never"]);
            let (output, markers, code) = start(shell, &script, &[]);
            assert_eq!((output.as_str(), code), ("it's /tmp\n", 7));
            assert_eq!(markers, ["0:0", "1:1", "2:2"], "{shell}");
        }
    }

    #[test]
    fn items_that_continue_each_other_are_one_group() {
        for shell in SHELLS {
            for (script, groups) in [
                (vec!["echo a", "if false; then", "echo b", "fi", "echo c"], vec!["0:0", "1:3", "4:4"]),
                (vec!["cat <<E", "text )", "E", "echo c"], vec!["0:2", "3:3"]),
                (vec!["true &&", "echo a \\", "b", "echo c"], vec!["0:2", "3:3"]),
                (vec!["case x in", "x) echo 1;;", "esac", "echo '", "'"], vec!["0:2", "3:4"]),
                (vec!["f() {", "echo \"in f\"", "}", "f"], vec!["0:2", "3:3"]),
                (vec!["for i in 1 2; do echo $i; done", "X=$(echo y)", "echo $X"], vec!["0:0", "1:1", "2:2"]),
                (vec!["# it's a comment", "", "echo \"a b\""], vec!["0:0", "1:1", "2:2"]),
            ] {
                let script = items(&script);
                let (output, markers, code) = start(shell, &script, &[]);
                assert_eq!((output, code), run_as_file(shell, &script), "{shell}: {script:?}");
                assert_eq!(markers, groups, "{shell}: {script:?}");
            }
        }
    }

    #[test]
    fn marker_does_not_show_in_the_script() {
        for shell in SHELLS {
            for script in [
                vec!["[ -n \"$UNSET\" ] && echo no", "echo $?", "! true", "echo $?"],
                vec!["exec >/dev/null", "echo hidden", "exit 3"],
                vec!["set -x", "echo a", "[ a = b ] && echo c", "echo d"],
                vec!["set -u; IFS=0123456789", "echo a", "set -f", "echo *"],
                vec!["trap 'echo end $?' EXIT", "false", "echo never"],
                vec!["set +e", "false", "echo \"$? $LINENO\"", "no_such_command", "exit 4"],
                vec!["echo 1\necho 2\nno_such_command"],
                vec![
                    "exec 7>/dev/null",
                    "echo shown",
                    "echo \"$?\" >&7",
                    "exec 7>&1",
                    "echo x >&7",
                    "exec 7>&-",
                    "echo y",
                ],
                vec!["echo a; exec 7>&2", "echo b", "exec 7</dev/null", "cat <&7", "echo c"],
            ] {
                let script = items(&script);
                let (output, _, code) = start(shell, &script, &[]);
                assert_eq!((output, code), run_as_file(shell, &script), "{shell}: {script:?}");
            }
        }
        let script = items(&[
            "false | true | (exit 3) || true",
            "echo ${PIPESTATUS[*]}",
            "trap 'echo d' DEBUG",
            "echo x",
            "echo y",
        ]);
        let (output, _, code) = start("bash", &script, &[]);
        assert_eq!((output, code), run_as_file("bash", &script));
    }

    #[test]
    fn long_item_runs_unchanged() {
        let long = (0..3_000).map(|n| format!("echo {n}")).collect::<Vec<_>>().join("\n");
        let script = vec![long, "echo end".to_owned()];
        let (output, markers, code) = start("sh", &script, &[]);
        assert_eq!((output, code), run_as_file("sh", &script));
        assert_eq!(markers, ["0:0", "1:1"]);
    }

    #[test]
    fn variable_reaches_the_script_unchanged_with_any_characters() {
        let script = items(&["printf '%s' \"$V\""]);
        let (output, _, code) = start("sh", &script, &[("V", "a'b\"c$d`e\nf\\"), ("bad name", "x")]);
        assert_eq!((output.as_str(), code), ("a'b\"c$d`e\nf\\", 0));
    }

    /// The first item of generated scripts: at the end, it prints the options, the traps and every variable but those that differ
    /// from run to run, and those that a script has to name for markers to keep them.
    const DUMP: &str = "trap 'echo \"end $? $- $#\"; trap; ([ -z \"${BASH_VERSION-}\" ] || set -o posix; set) | grep -Ev \
        \"^(_|PPID|OLDPWD|PIPESTATUS|LINENO|BASH[A-Z_]*|FUNCNAME|S?RANDOM|SECONDS|EPOCH[A-Z]*|SHLVL)=\"' EXIT";

    fn item() -> impl Strategy<Value = String> {
        // Nothing whose output depends on timing (a writer into a closed pipe, a trace of a pipeline), and no function calls itself.
        let items = [
            "X=1",
            "X=$((X + 1))",
            "echo \"X=$X\"",
            "echo $?",
            "false",
            "true",
            "! false",
            "! true",
            "[ \"$X\" = 2 ] && echo two",
            "false || echo or",
            "(exit 3)",
            "if [ \"$X\" = 1 ]; then",
            "else",
            "fi",
            "for i in a b; do",
            "echo $i",
            "done",
            "while false; do",
            "case $X in",
            "1) echo one;;",
            "*) echo other;;",
            "esac",
            "cat <<END",
            "END",
            "echo a &&",
            "true |",
            "cat",
            "echo c \\",
            "{",
            "}",
            "f() { echo in f; }",
            "g() {",
            "f",
            "set +e",
            "set -e",
            "exec 4>&1",
            "echo four >&4",
            "exit 5",
            "'",
            "\"",
            "$(",
            ")",
            "#'",
            "echo \"a",
            "b\"",
            "trap 'echo bye' EXIT",
            "unset X",
            "true | false",
            "cd /tmp",
            "export Y=y",
            "Z='a b'",
            "readonly R=r",
            "set -- p q",
            "set -u",
            "echo \"$UNSET\"",
            "local_to() ( X=inner; Y=inner )",
            "local_to",
            "trap 'echo usr' USR1",
            "false | true",
            "echo `echo q`",
            "",
        ];
        prop::sample::select(items.to_vec()).prop_map(str::to_owned)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn script_runs_as_its_text_in_a_file(mut script in prop::collection::vec(item(), 1..9)) {
            script.insert(0, DUMP.to_owned());
            for shell in SHELLS {
                let (output, _, code) = start(shell, &script, &[]);
                prop_assert_eq!((output, code), run_as_file(shell, &script), "{}: {:?}", shell, script);
            }
        }

        #[test]
        fn shell_reads_quoted_text_unchanged(text in "[^\0\r]{0,40}") {
            let done = std::process::Command::new("sh")
                .arg("-c").arg(format!("printf %s {}", quoted(&text))).output().unwrap();
            prop_assert_eq!(String::from_utf8(done.stdout).unwrap(), text);
        }
    }
}
