//! CheckCommand: every mistake of the given files, for people or for programs.

use crate::{
    args::{Check, CheckFormat},
    failure::{Exit, Failure, Outcome},
    file,
    output::{self, Printable},
};
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    path::Path,
};
use tidemill_core::{
    diagnostics::{Diagnostic, Severity, render_files},
    pipeline::{MAX_FILE_BYTES, SourceFile},
};

/// One file, what it includes, and what was found in all of it.
struct Checked {
    name: String,
    files: Vec<SourceFile>,
    found: Vec<Diagnostic>,
}

/// `tidemill check`.
pub fn check(args: &Check) -> Outcome {
    let mut files = args.files.clone();
    if files.is_empty() {
        files = match (&args.file.file, &args.file.pipeline) {
            (None, None) => file::all()?,
            _ => vec![file::find(&args.file)?],
        };
    }
    let mut checked = Vec::with_capacity(files.len());
    for path in &files {
        let (name, text) = if path.as_os_str() == "-" {
            ("standard input".to_owned(), standard_input()?)
        } else {
            (path.display().to_string(), file::read(path)?)
        };
        // What standard input includes is looked for here.
        let place = if path.as_os_str() == "-" { Path::new(&name) } else { path };
        let kind = file::Kind::of(place, args.file.gitlab, true);
        let (found, files) = match file::assemble(place, &text, kind) {
            Ok(made) => (made.parsed.warnings, made.files),
            Err(mistakes) => (mistakes.found, mistakes.files),
        };
        checked.push(Checked { name, files, found });
    }
    let bad = checked
        .iter()
        .filter(|file| file.found.iter().any(|found| found.severity == Severity::Error))
        .count();
    match args.format {
        CheckFormat::Human => human(&checked)?,
        CheckFormat::Json => output::print_json(&Value::Array(checked.iter().flat_map(as_json).collect()))?,
        CheckFormat::Sarif => output::print_json(&sarif(&checked))?,
    }
    if bad == 0 { Ok(()) } else { Err(Failure::silent(Exit::Usage)) }
}

fn standard_input() -> Outcome<String> {
    let mut bytes = Vec::new();
    std::io::stdin().lock().take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES as u64 {
        return Err(Failure::usage(format!("standard input has more than {MAX_FILE_BYTES} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| Failure::usage("standard input is not UTF-8 text"))
}

fn human(checked: &[Checked]) -> std::io::Result<()> {
    let mut out = output::stdout();
    let colour = output::stdout_has_colours();
    for file in checked {
        if file.found.is_empty() {
            writeln!(out, "{}: no mistakes", Printable(&file.name))?;
        } else {
            let files: Vec<(&str, &str)> =
                file.files.iter().map(|file| (file.name.as_str(), file.text.as_str())).collect();
            write!(out, "{}", render_files(&files, &file.found, colour))?;
        }
    }
    out.flush()
}

fn as_json(file: &Checked) -> Vec<Value> {
    let with_file = |found: &Diagnostic| {
        let mut value = serde_json::to_value(found).unwrap_or_default();
        value["file"] = json!(found.file.as_ref().unwrap_or(&file.name));
        value
    };
    file.found.iter().map(with_file).collect()
}

/// SARIF 2.1.0, <https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>.
fn sarif(checked: &[Checked]) -> Value {
    let results: Vec<Value> = checked
        .iter()
        .flat_map(|file| file.found.iter().map(move |found| (file, found)))
        .map(|(file, found)| {
            let mut place =
                json!({ "artifactLocation": { "uri": found.file.as_ref().unwrap_or(&file.name) } });
            if let Some(at) = &found.location {
                place["region"] = json!({ "startLine": at.line, "startColumn": at.column });
            }
            let level = if found.severity == Severity::Error { "error" } else { "warning" };
            json!({
                "ruleId": found.code,
                "level": level,
                "message": { "text": found.to_string() },
                "locations": [{ "physicalLocation": place }],
            })
        })
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "tidemill", "version": env!("CARGO_PKG_VERSION") } },
            "results": results,
        }],
    })
}
