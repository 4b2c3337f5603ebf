//! Annotations in report files: SARIF, Code Climate (GitLab's `codequality`), and the security reports of GitLab (`sast`). The content
//! of a file shows its format.

mod formats;
mod lists;
mod stream;

use super::annotation::Annotation;
use formats::{Issue, RunRules};
use lists::Each;
use serde::de::DeserializeSeed;
use stream::{FileReader, Pass};

/// Why a file is not read. Its annotations are read completely or not at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReportFileError {
    /// It is not JSON, or has a value of another type than its format says.
    #[error("line {line}, column {column}: {message}")]
    Malformed {
        /// Line, from 1.
        line: usize,
        /// Byte in the line, from 1.
        column: usize,
        /// What is wrong there.
        message: String,
    },
    /// It is of another format.
    #[error(
        "the file is neither SARIF (`runs`), nor a list of Code Climate issues, nor a security report of GitLab (`vulnerabilities`)"
    )]
    UnknownFormat,
}

impl From<serde_json::Error> for ReportFileError {
    fn from(error: serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        let text = error.to_string();
        // The position is a field of its own.
        let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message).to_owned();
        Self::Malformed { line, column, message }
    }
}

/// Passes each finding in a file to `sink`. Takes memory for the rules of SARIF only, of which there may be [`MAX_RULES`].
pub fn read(bytes: &[u8], mut sink: impl FnMut(Annotation)) -> Result<(), ReportFileError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let is_list = bytes.trim_ascii_start().starts_with(b"[");
    let parse = |mut pass: Pass<'_>| {
        let mut json = serde_json::Deserializer::from_slice(bytes);
        let is_known = if is_list {
            let add = |issue: Issue| {
                pass.add(issue.annotation());
                Ok(())
            };
            Each::new(add).deserialize(&mut json)?
        } else {
            FileReader(&mut pass).deserialize(&mut json)?
        };
        json.end()?;
        if is_known { Ok(()) } else { Err(ReportFileError::UnknownFormat) }
    };
    // The rules of a run may stand behind its results. What is malformed anywhere is found before the first annotation is passed on.
    let mut rules = RunRules::default();
    parse(Pass::Rules(&mut rules))?;
    parse(Pass::Findings(&rules, &mut sink))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::formats::{MAX_RULES, MAX_RUNS};
    use super::{ReportFileError, read};
    use crate::summary::annotation::AnnotationSet;
    use proptest::prelude::*;

    /// Returns a line for each annotation in a file.
    fn lines(text: &str) -> Vec<String> {
        let mut set = AnnotationSet::default();
        read(text.as_bytes(), |annotation| set.add(annotation)).unwrap();
        let line = |one: crate::summary::annotation::Annotation| {
            let end = one.end_line.map(|end| format!("-{end}")).unwrap_or_default();
            let place = one.place().map(|place| format!(" {place}{end}")).unwrap_or_default();
            let title = one.title.map(|title| format!(" [{title}]")).unwrap_or_default();
            format!("{}{place}{title} {}", one.level.as_str(), one.message)
        };
        set.into_parts().0.into_iter().map(line).collect()
    }

    #[test]
    fn sarif_has_levels_of_results_and_rules() {
        let text = r#"{
          "$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0",
          "runs": [{
            "tool": { "driver": { "name": "lint", "rules": [
              { "id": "unused", "defaultConfiguration": { "level": "note" }, "shortDescription": { "text": "unused item" } },
              { "id": "overflow", "defaultConfiguration": { "level": "error" } } ] } },
            "results": [
              { "ruleId": "overflow", "ruleIndex": 1, "message": { "text": "may overflow" }, "locations": [{ "physicalLocation": {
                "artifactLocation": { "uri": "src/my%20file.rs", "uriBaseId": "%SRCROOT%" },
                "region": { "startLine": 3, "startColumn": 5, "endLine": 9, "endColumn": 2 } } }] },
              { "ruleId": "unused", "message": {}, "locations": [{ "physicalLocation": {
                "artifactLocation": { "uri": "file:///workspace/src/b.rs" }, "region": null } }] },
              { "ruleId": "x", "level": "error", "message": { "text": "elsewhere" }, "locations": [{ "physicalLocation": {
                "artifactLocation": { "uri": "https://example.org/a.rs" }, "region": { "startLine": 1 } } }] },
              { "message": { "markdown": "no *place*" }, "locations": [] },
              { "kind": "open", "message": { "text": "unsure" } },
              { "kind": "pass", "message": { "text": "fine" } },
              { "level": "error", "message": { "text": "hidden" }, "suppressions": [{ "kind": "inSource" }] },
              { "level": "error", "message": { "text": "fixed" }, "baselineState": "absent" }
            ] }, { "tool": { "driver": { "name": "empty" } }, "results": null }]
        }"#;
        assert_eq!(
            lines(text),
            [
                "failure [x] elsewhere",
                "failure src/my file.rs:3:5-9 [overflow] may overflow",
                "warning no *place*",
                "notice unsure",
                "notice src/b.rs [unused] unused item",
            ]
        );
    }

    #[test]
    fn code_climate_issues_have_severity_and_lines() {
        let text = r#"[
          { "type": "issue", "description": "'x' is unused", "check_name": "no-unused", "fingerprint": "7815", "severity": "minor",
            "location": { "path": "lib/index.js", "lines": { "begin": 42, "end": 44 } } },
          { "description": "breaks", "severity": "blocker",
            "location": { "path": "./a.js", "positions": { "begin": { "line": 4, "column": 2 }, "end": { "line": 4, "column": 9 } } } },
          { "description": "style", "severity": "info", "location": { "path": "/etc/passwd", "lines": { "begin": 1 } } }
        ]"#;
        assert_eq!(
            lines(text),
            [
                "failure a.js:4:2 breaks",
                "warning lib/index.js:42-44 [no-unused] 'x' is unused",
                "notice style"
            ]
        );
        assert_eq!(lines(" []"), [""; 0]);
    }

    #[test]
    fn security_report_of_gitlab_has_severity_and_lines() {
        let text = r#"{ "version": "15.0.7", "scan": { "type": "sast" }, "vulnerabilities": [
          { "id": "1", "name": "SQL injection", "description": "Input reaches a query.", "severity": "High",
            "location": { "file": "app/db.py", "start_line": 12, "end_line": 12 }, "identifiers": [] },
          { "id": "2", "message": "Weak hash", "severity": "Medium", "location": { "file": "app/hash.py", "start_line": 3 } },
          { "id": "3", "name": "Note", "severity": "Info", "location": {} } ] }"#;
        assert_eq!(
            lines(text),
            [
                "failure app/db.py:12 [SQL injection] Input reaches a query.",
                "warning app/hash.py:3 [Weak hash] Weak hash",
                "notice [Note] ",
            ]
        );
    }

    #[test]
    fn other_files_are_errors_with_a_position() {
        let error = |text: &str| read(text.as_bytes(), |_| ()).unwrap_err();
        assert_eq!(error("{}"), ReportFileError::UnknownFormat);
        let malformed = error("{\"runs\": [{\"results\": 5}]}");
        assert_eq!(
            malformed.to_string(),
            "line 1, column 23: invalid type: integer `5`, expected a sequence"
        );
        for text in ["", "<xml/>", "{\"runs\": [", "[1]", "\"x\"", "{\"runs\": 1}"] {
            assert!(matches!(error(text), ReportFileError::Malformed { .. }), "{text}");
        }
        let deep = format!("{{\"runs\": {}", "[".repeat(100_000));
        assert!(matches!(error(&deep), ReportFileError::Malformed { .. }));
    }

    #[test]
    fn results_find_rules_that_stand_behind_them_and_by_id_the_first() {
        let text = r#"{ "runs": [
          { "results": [{ "ruleId": "a", "message": {} }, { "ruleIndex": 1, "message": {} }, { "ruleId": "b", "message": {} }],
            "tool": { "driver": { "rules": [
              { "id": "a", "shortDescription": { "text": "first" } }, { "id": "a", "shortDescription": { "text": "second" } } ] } } },
          { "results": [{ "ruleId": "b", "message": {} }],
            "tool": { "driver": { "rules": [{ "id": "b", "shortDescription": { "text": "of the second run" } }] } } } ] }"#;
        let mut found = lines(text);
        found.sort();
        assert_eq!(
            found,
            ["warning [a] first", "warning [a] second", "warning [b] ", "warning [b] of the second run"]
        );
    }

    #[test]
    fn annotations_of_a_malformed_file_are_not_passed_on() {
        for text in [
            r#"{ "runs": [{ "results": [{ "message": { "text": "a" } }, 5] }] }"#,
            r#"{ "vulnerabilities": [{ "name": "a" }, 5] }"#,
            r#"[{ "description": "a" }, 5]"#,
            r#"[{ "description": "a" }] []"#,
        ] {
            let error = read(text.as_bytes(), |_| panic!("{text}")).unwrap_err();
            assert!(matches!(error, ReportFileError::Malformed { .. }), "{text}: {error}");
        }
    }

    #[test]
    fn rules_and_runs_are_limited() {
        let error = |text: String| read(text.as_bytes(), |_| ()).unwrap_err().to_string();
        let rules = format!("{{}}{}", ",{}".repeat(MAX_RULES));
        let found = error(format!(r#"{{"runs":[{{"tool":{{"driver":{{"rules":[{rules}]}}}}}}]}}"#));
        assert!(found.contains("more than 100000 rules"), "{found}");
        let found = error(format!(r#"{{"runs":[{{}}{}]}}"#, ",{}".repeat(MAX_RUNS)));
        assert!(found.contains("more than 1000 runs"), "{found}");
    }

    proptest! {
        #[test]
        fn any_file_is_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), json in "[\\[\\]{}\",:a-z0-9runsvulei ]{0,80}") {
            let _ = read(&bytes, |_| ());
            let _ = read(json.as_bytes(), |_| ());
            let _ = read(format!("{{\"runs\": [{json}]}}").as_bytes(), |_| ());
        }
    }
}
