//! What becomes of a job's end: artifacts, allowed failures, further tries.

use serde_yaml::{Mapping, Value};

use super::duration;
use super::log::Log;
use super::parts::{paths, sequence};
use super::reading;
use super::variables::Scope;
use crate::coverage;
use crate::pipeline::finding::{Path, quoted};
use crate::pipeline::tree::Entry;

/// The least and the most that artifacts are kept by native files: a minute, and ten years.
const KEPT_S: std::ops::RangeInclusive<u64> = 60..=10 * 366 * 86_400;

/// `artifacts`; `None` where nothing of them is left.
pub(super) fn artifacts(entry: &Entry, path: &Path, scope: &Scope, log: &mut Log) -> Option<Value> {
    const KEYS: [&str; 10] = [
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
    if !reading::is_mapping(&entry.value) {
        if !entry.value.is_null() {
            log.wrong_type(&path, &entry.value, "a mapping with `paths`");
        }
        return None;
    }
    let mut all = Mapping::new();
    for part in reading::entries(&entry.value) {
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
                let text = reading::text(&part.value).unwrap_or_default();
                if ["on_success", "on_failure", "always"].contains(&text) {
                    all.insert("when".into(), text.into());
                } else {
                    log.wrong_type(&at, &part.value, "`on_success`, `on_failure` or `always`");
                }
            }
            "expire_in" => {
                let text = reading::text(&part.value).unwrap_or_default();
                let text = scope.known(text).unwrap_or_else(|_| text.to_owned());
                if text.trim().eq_ignore_ascii_case("never") {
                    continue;
                }
                match duration::seconds(&text) {
                    Some(seconds) => {
                        let kept = seconds.clamp(*KEPT_S.start(), *KEPT_S.end());
                        if kept != seconds {
                            let message = format!("artifacts are kept for {}", duration::native(kept));
                            log.changed(&at, part.value.location, message);
                        }
                        all.insert("expire_in".into(), duration::native(kept).into());
                    }
                    None => log.wrong(&at, part.value.location, format!("{} is no time span", quoted(&text))),
                }
            }
            "reports" => {
                if let Some(reports) = reports(part, &at, scope, log) {
                    all.insert("reports".into(), reports);
                }
            }
            "exclude" => log.ignored(&path, part, "files that it names are kept as well"),
            "untracked" if reading::flag(&part.value) == Some(false) => {}
            "untracked" => {
                log.refused(&path, part, "files are kept by `paths` only", "name the files under `paths`");
            }
            "name" => log.ignored(&path, part, "artifacts are called after their job"),
            "expose_as" | "public" | "access" => {
                log.ignored(&path, part, "artifacts are for those who may read the execution");
            }
            _ => log.unknown(&path, part, &KEYS),
        }
    }
    (all.contains_key("paths") || all.contains_key("reports")).then_some(Value::Mapping(all))
}

fn reports(entry: &Entry, path: &Path, scope: &Scope, log: &mut Log) -> Option<Value> {
    let mut junit = Vec::new();
    for part in reading::entries(&entry.value) {
        match part.key.as_str() {
            "junit" => junit.extend(paths(&part.value, &path.key("junit"), scope, log)),
            "dotenv" => log.refused(
                path,
                part,
                "variables of one job are not those of another",
                "keep the file under `artifacts: paths` and read it in the other job's script: `. ./build.env`",
            ),
            "accessibility" | "annotations" | "api_fuzzing" | "browser_performance" | "codequality"
            | "container_scanning" | "coverage_fuzzing" | "coverage_report" | "cyclonedx" | "dast"
            | "dependency_scanning" | "license_scanning" | "load_performance" | "metrics" | "performance"
            | "repository_xray" | "requirements" | "requirements_v2" | "sast" | "secret_detection" | "terraform"
            | "lsif" | "sbom" => {
                log.ignored(path, part, "only reports of JUnit are read; keep the file under `artifacts: paths`");
            }
            _ => log.unknown(path, part, &["junit", "dotenv", "coverage_report"]),
        }
    }
    if junit.is_empty() {
        return None;
    }
    let mut all = Mapping::new();
    all.insert("junit".into(), sequence(junit));
    Some(Value::Mapping(all))
}

/// `coverage`: a pattern between slashes. One that cannot be read changes nothing of what runs, and is left out.
pub(super) fn coverage(entry: &Entry, path: &Path, log: &mut Log) -> Option<Value> {
    if entry.value.is_null() {
        return None;
    }
    let path = path.key("coverage");
    let delimited = reading::text(&entry.value).and_then(|text| text.strip_prefix('/')?.rsplit_once('/'));
    // A slash within it needs no backslash: it ends with the last one.
    let Some((body, flags)) =
        delimited.filter(|(body, flags)| !body.is_empty() && flags.chars().all(|flag| "imsU".contains(flag)))
    else {
        log.wrong_type(&path, &entry.value, "a regular expression between slashes");
        return None;
    };
    let pattern = if flags.is_empty() { body.to_owned() } else { format!("(?{flags}){body}") };
    match coverage::Pattern::new(&pattern) {
        Ok(_) => Some(pattern.into()),
        Err(why) => {
            log.ignored_at(
                &path,
                entry.value.location,
                "`coverage`",
                &format!("its pattern cannot be read: {why}"),
            );
            None
        }
    }
}

fn codes(entry: &Entry, path: &Path, log: &mut Log) -> Value {
    let path = path.key("exit_codes");
    let mut all = Vec::new();
    for (text, node) in reading::texts(&entry.value, &path, log) {
        match text.parse::<u64>() {
            Ok(code @ 1..=255) => all.push(Value::from(code)),
            _ => log.wrong(&path, node.location, format!("{} is no exit code from 1 to 255", quoted(text))),
        }
    }
    Value::Sequence(all)
}

/// `allow_failure`: a truth value, or exit codes.
pub(super) fn allow_failure(entry: &Entry, path: &Path, log: &mut Log) -> Option<Value> {
    if !reading::is_mapping(&entry.value) {
        return reading::flag_of(entry, path, log).map(Value::from);
    }
    let path = path.key("allow_failure");
    let mut all = Mapping::new();
    for part in reading::entries(&entry.value) {
        match part.key.as_str() {
            "exit_codes" => {
                all.insert("exit_codes".into(), codes(part, &path, log));
            }
            _ => log.unknown(&path, part, &["exit_codes"]),
        }
    }
    (!all.is_empty()).then_some(Value::Mapping(all))
}

/// The failures that a word of GitLab's stands for; `None` for all of the job's own.
fn kinds(word: &str) -> Option<&'static [&'static str]> {
    Some(match word {
        "always" => &["script_failed", "timed_out", "out_of_memory", "image_unavailable"],
        "script_failure" => &["script_failed", "out_of_memory"],
        "stuck_or_timeout_failure" | "job_execution_timeout" => &["timed_out", "preparation_timed_out"],
        "runner_system_failure" => {
            &["engine_failed", "disk_full", "worker_lost", "image_pull_failed", "service_failed"]
        }
        "api_failure" | "unknown_failure" | "scheduler_failure" => &["internal"],
        "data_integrity_failure" => &["source_unavailable", "artifact_failed"],
        // Nothing of that kind happens here.
        "runner_unsupported" | "stale_schedule" | "archived_failure" | "unmet_prerequisites" => &[],
        _ => return None,
    })
}

/// `retry`: a number, or a mapping.
pub(super) fn retry(entry: &Entry, path: &Path, log: &mut Log) -> Option<Value> {
    let path = path.key("retry");
    let count = |node: &crate::pipeline::tree::Node, log: &mut Log| {
        let count = reading::text(node).and_then(|text| text.parse::<u64>().ok()).filter(|count| *count <= 2);
        if count.is_none() {
            log.wrong_type(&path, node, "a number from 0 to 2");
        }
        count
    };
    if !reading::is_mapping(&entry.value) {
        return count(&entry.value, log).map(Value::from);
    }
    let mut all = Mapping::new();
    let mut max = Some(0);
    let mut narrowed = false;
    let mut wanted: Vec<&str> = Vec::new();
    for part in reading::entries(&entry.value) {
        match part.key.as_str() {
            "max" => max = count(&part.value, log),
            "when" => {
                for (word, node) in reading::texts(&part.value, &path.key("when"), log) {
                    narrowed |= word != "always";
                    if let Some(kinds) = kinds(word) {
                        wanted.extend(kinds);
                    } else {
                        let what = quoted(word);
                        log.ignored_at(&path, node.location, &what, "no failure here is called so");
                    }
                }
            }
            "exit_codes" => {
                all.insert("exit_codes".into(), codes(part, &path, log));
            }
            _ => log.unknown(&path, part, &["max", "when", "exit_codes"]),
        }
    }
    all.insert("max".into(), max?.into());
    if narrowed {
        let mut once = std::collections::HashSet::new();
        wanted.retain(|kind| once.insert(*kind));
        if wanted.is_empty() && !all.contains_key("exit_codes") {
            return Some(0.into());
        }
        if !wanted.is_empty() {
            all.insert("when".into(), sequence(wanted.into_iter().map(str::to_owned).collect()));
        }
    }
    Some(Value::Mapping(all))
}
