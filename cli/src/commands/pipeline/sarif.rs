//! Diagnostics as SARIF 2.1.0, <https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>.

use serde_json::{Value, json};
use tidemill_core::text::diagnostics::{Diagnostic, Severity};

/// Returns a SARIF log of diagnostics, each with the name of the checked file.
pub fn log<'a>(diagnostics: impl Iterator<Item = (&'a str, &'a Diagnostic)>) -> Value {
    let results: Vec<Value> = diagnostics.map(|(file, diagnostic)| result(file, diagnostic)).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "tidemill", "version": env!("CARGO_PKG_VERSION") } },
            "results": results,
        }],
    })
}

fn result(file: &str, diagnostic: &Diagnostic) -> Value {
    let file = diagnostic.file.as_deref().unwrap_or(file);
    let mut location = json!({ "artifactLocation": { "uri": file } });
    if let Some(start) = &diagnostic.location {
        location["region"] = json!({ "startLine": start.line, "startColumn": start.column });
    }
    let level = if diagnostic.severity == Severity::Error { "error" } else { "warning" };
    json!({
        "ruleId": diagnostic.code,
        "level": level,
        "message": { "text": diagnostic.to_string() },
        "locations": [{ "physicalLocation": location }],
    })
}
