//! The examples of docs/pipeline-reference.md, as whole files. Other packages' tests include this file too.

/// The `yaml` blocks of the reference. Those marked `yaml job` hold the keys of one job, those marked `yaml
/// top` hold top-level keys of a file with one job; the others are whole files.
pub fn examples() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/pipeline-reference.md"))
        .unwrap();
    let mut examples = Vec::new();
    let mut open: Option<(String, usize, String)> = None;
    for (at, line) in text.lines().enumerate() {
        match &mut open {
            None => {
                if let Some(kind) = line.strip_prefix("```yaml") {
                    open = Some((kind.trim().to_owned(), at + 1, String::new()));
                }
            }
            Some((kind, start, body)) if line == "```" => {
                let source = match kind.as_str() {
                    "job" => {
                        let mut lines =
                            body.lines().map(|line| ["    ", line, "\n"].concat()).collect::<String>();
                        for (key, value) in [("image", "busybox"), ("script", "[echo]")] {
                            if !body.lines().any(|line| line.starts_with(&format!("{key}:"))) {
                                lines.push_str(&["    ", key, ": ", value, "\n"].concat());
                            }
                        }
                        format!(
                            "name: reference\njobs:\n  compile: {{ stage: build, image: busybox, script: echo }}\n  example:\n{lines}"
                        )
                    }
                    "top" => {
                        let name = if body.contains("name:") { "" } else { "name: reference\n" };
                        let stage = if body.contains("stages:") { "stage: compile, " } else { "" };
                        format!("{name}{body}jobs:\n  example: {{ {stage}image: busybox, script: echo }}\n")
                    }
                    _ => body.clone(),
                };
                examples.push((format!("docs/pipeline-reference.md:{start}"), source));
                open = None;
            }
            Some((_, _, body)) => {
                body.push_str(line);
                body.push('\n');
            }
        }
    }
    examples
}
