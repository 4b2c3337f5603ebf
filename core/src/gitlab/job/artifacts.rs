//! Translates `artifacts` and `coverage`.

use std::rc::Rc;

use serde_yaml::{Mapping, Value};

use super::paths::paths;
use super::services::sequence;
use crate::execution::coverage;
use crate::gitlab::findings::Log;
use crate::gitlab::job::duration;
use crate::gitlab::values;
use crate::gitlab::variables::{self, Piece, Scope};
use crate::pipeline::finding::{Path, quoted};
use crate::pipeline::yaml::tree::{MapEntry, Node};

/// Allowed retention of artifacts in native files: from one minute to ten years.
const RETENTION_S: std::ops::RangeInclusive<u64> = 60..=10 * 366 * 86_400;

/// Translates `artifacts`; `None` if nothing of it remains.
pub(crate) fn artifacts(entry: &MapEntry, path: &Path, scope: &Scope, log: &mut Log) -> Option<Value> {
    const ARTIFACT_KEYS: [&str; 10] = [
        "paths",
        "exclude",
        "expire_in",
        "expose_as",
        "name",
        "public",
        "access",
        "reports",
        "untracked",
        "when",
    ];
    let path = path.key("artifacts");
    if !values::is_mapping(&entry.value) {
        if !entry.value.is_null() {
            log.wrong_type(&path, &entry.value, "a mapping with `paths`");
        }
        return None;
    }
    let mut all = Mapping::new();
    for part in values::entries(&entry.value) {
        if part.value.is_null() {
            continue;
        }
        let at = path.key(&part.key);
        match part.key.as_str() {
            "paths" => {
                let paths = paths(&part.value, &at, scope, log);
                if !paths.is_empty() {
                    all.insert("paths".into(), sequence(paths));
                }
            }
            "when" => {
                let text = values::text(&part.value).unwrap_or_default();
                if ["on_success", "on_failure", "always"].contains(&text) {
                    all.insert("when".into(), text.into());
                } else {
                    log.wrong_type(&at, &part.value, "`on_success`, `on_failure` or `always`");
                }
            }
            "expire_in" => {
                let text = values::text(&part.value).unwrap_or_default();
                let text = scope.expand(text).unwrap_or_else(|_| text.to_owned());
                if text.trim().eq_ignore_ascii_case("never") {
                    continue;
                }
                match duration::seconds(&text) {
                    Some(seconds) => {
                        let retention = seconds.clamp(*RETENTION_S.start(), *RETENTION_S.end());
                        if retention != seconds {
                            let message = format!("artifacts are kept for {}", duration::native(retention));
                            log.changed(&at, part.value.location, message);
                        }
                        all.insert("expire_in".into(), duration::native(retention).into());
                    }
                    None => {
                        log.invalid(&at, part.value.location, format!("{} is not a duration", quoted(&text)));
                    }
                }
            }
            "reports" => {
                if let Some(reports) = reports(part, &at, scope, log) {
                    all.insert("reports".into(), reports);
                }
            }
            "exclude" => {
                let excluded = paths(&part.value, &at, scope, log);
                if !excluded.is_empty() {
                    all.insert("exclude".into(), sequence(excluded));
                }
            }
            "untracked" => {
                if values::flag_of(part, &path, log) == Some(true) {
                    all.insert("untracked".into(), true.into());
                }
            }
            "name" | "expose_as" => {
                let text = values::text(&part.value).unwrap_or_default();
                if text.trim().is_empty() {
                    log.wrong_type(&at, &part.value, "a text");
                } else {
                    all.insert(part.key.as_str().into(), label(text).into());
                }
            }
            "public" | "access" => {
                log.ignored(&path, part, "everyone who can read the execution can read its artifacts");
            }
            _ => log.unknown_key(&path, part, &ARTIFACT_KEYS),
        }
    }
    let is_complete = ["paths", "reports", "untracked"].iter().any(|key| all.contains_key(*key));
    is_complete.then_some(Value::Mapping(all))
}

/// Translates a text that is shown: its variables are references, which the worker expands.
fn label(text: &str) -> String {
    let piece = |piece: Piece| match piece {
        Piece::Text(text) => text.replace(|c: char| c.is_control(), " "),
        Piece::Name(name) => format!("${{{name}}}"),
    };
    variables::pieces(text).into_iter().map(piece).collect()
}

fn reports(entry: &MapEntry, path: &Path, scope: &Scope, log: &mut Log) -> Option<Value> {
    let (mut junit, mut coverage) = (Vec::new(), Vec::new());
    let (mut codequality, mut sast) = (Vec::new(), Vec::new());
    for part in values::entries(&entry.value) {
        match part.key.as_str() {
            "junit" => junit.extend(paths(&part.value, &path.key("junit"), scope, log)),
            "coverage_report" => {
                coverage.extend(coverage_report(&part.value, &path.key("coverage_report"), scope, log));
            }
            "codequality" => codequality.extend(paths(&part.value, &path.key("codequality"), scope, log)),
            // Both have the format of GitLab's security reports.
            key @ ("sast" | "secret_detection") => {
                sast.extend(paths(&part.value, &path.key(key), scope, log));
            }
            // A key of its own in native files.
            "dotenv" => {}
            "accessibility"
            | "annotations"
            | "api_fuzzing"
            | "browser_performance"
            | "container_scanning"
            | "coverage_fuzzing"
            | "cyclonedx"
            | "dast"
            | "dependency_scanning"
            | "license_scanning"
            | "load_performance"
            | "metrics"
            | "performance"
            | "repository_xray"
            | "requirements"
            | "requirements_v2"
            | "terraform"
            | "lsif"
            | "sbom" => {
                log.ignored(
                    path,
                    part,
                    "reports of this kind are not processed; keep the file under `artifacts: paths`",
                );
            }
            "cobertura" => log.invalid_with_help(
                &path.key(&part.key),
                part.key_location,
                "GitLab has no `cobertura` any more".to_owned(),
                "write `coverage_report: { coverage_format: cobertura, path: ... }`",
            ),
            _ => log.unknown_key(path, part, &["junit", "dotenv", "coverage_report", "codequality", "sast"]),
        }
    }
    let mut all = Mapping::new();
    let found = [("junit", junit), ("coverage", coverage), ("codequality", codequality), ("sast", sast)];
    for (key, files) in found {
        if !files.is_empty() {
            all.insert(key.into(), sequence(files));
        }
    }
    (!all.is_empty()).then_some(Value::Mapping(all))
}

/// Returns the files of a `coverage_report`. The worker sees which of the two formats they have.
fn coverage_report(node: &Rc<Node>, path: &Path, scope: &Scope, log: &mut Log) -> Vec<String> {
    let mut files = Vec::new();
    for part in values::entries(node) {
        let at = path.key(&part.key);
        match (part.key.as_str(), values::text(&part.value)) {
            ("path", Some(_)) => files = paths(&part.value, &at, scope, log),
            ("path", None) => log.wrong_type(&at, &part.value, "a path"),
            ("coverage_format", Some("cobertura" | "jacoco")) => {}
            ("coverage_format", _) => {
                let message = "`coverage_format` takes `cobertura` or `jacoco`";
                log.invalid(&at, part.value.location, message);
            }
            _ => log.unknown_key(path, part, &["path", "coverage_format"]),
        }
    }
    for key in ["path", "coverage_format"] {
        if node.get(key).is_none() {
            log.invalid(path, node.location, format!("this coverage report has no `{key}`"));
        }
    }
    files
}

/// Translates the files of `reports: dotenv`, which natively are `outputs`.
pub(crate) fn outputs(entry: &MapEntry, path: &Path, scope: &Scope, log: &mut Log) -> Option<Value> {
    let dotenv = entry.value.get("reports")?.value.get("dotenv")?;
    let path = path.key("artifacts").key("reports").key("dotenv");
    let files = paths(&dotenv.value, &path, scope, log);
    (!files.is_empty()).then(|| sequence(files))
}

/// Translates `coverage`, a pattern between slashes. An invalid pattern does not affect what runs, and is omitted.
pub(crate) fn coverage(entry: &MapEntry, path: &Path, log: &mut Log) -> Option<Value> {
    if entry.value.is_null() {
        return None;
    }
    let path = path.key("coverage");
    let delimited = values::text(&entry.value).and_then(|text| text.strip_prefix('/')?.rsplit_once('/'));
    // A slash within the pattern needs no backslash: the pattern ends at the last one.
    let Some((body, flags)) =
        delimited.filter(|(body, flags)| !body.is_empty() && flags.chars().all(|flag| "imsU".contains(flag)))
    else {
        log.wrong_type(&path, &entry.value, "a regular expression between slashes");
        return None;
    };
    let pattern = if flags.is_empty() { body.to_owned() } else { format!("(?{flags}){body}") };
    match coverage::CoveragePattern::new(&pattern) {
        Ok(_) => Some(pattern.into()),
        Err(why) => {
            log.ignored_at(
                &path,
                entry.value.location,
                "`coverage`",
                &format!("its pattern is not valid: {why}"),
            );
            None
        }
    }
}
