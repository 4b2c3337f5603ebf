//! Translates `allow_failure` and `retry`.

use std::collections::HashSet;

use serde_yaml::{Mapping, Value};

use super::services::sequence;
use crate::gitlab::findings::Log;
use crate::gitlab::values;
use crate::pipeline::finding::{Path, quoted};
use crate::pipeline::yaml::tree::{Kind, MapEntry, Node};

/// Returns the exit codes that a process can end with. GitLab takes others too, which no failure has.
fn codes(entry: &MapEntry, path: &Path, log: &mut Log) -> Vec<Value> {
    let path = path.key("exit_codes");
    let mut all = Vec::new();
    for (text, node) in values::texts(&entry.value, &path, log) {
        match text.parse::<i64>() {
            Ok(code @ 1..=255) => all.push(Value::from(code)),
            Ok(code) => {
                let why = "no failed process ends with it, but with 1 to 255";
                log.ignored_at(&path, node.location, &format!("the exit code {code}"), why);
            }
            Err(_) => log.invalid(&path, node.location, format!("{} is not an exit code", quoted(text))),
        }
    }
    all
}

/// Translates `allow_failure`: a boolean, or exit codes.
pub(crate) fn allow_failure(entry: &MapEntry, path: &Path, log: &mut Log) -> Option<Value> {
    if !values::is_mapping(&entry.value) {
        return values::flag_of(entry, path, log).map(Value::from);
    }
    let path = path.key("allow_failure");
    let mut all = Mapping::new();
    for part in values::entries(&entry.value) {
        match part.key.as_str() {
            "exit_codes" => {
                let codes = codes(part, &path, log);
                if !codes.is_empty() {
                    all.insert("exit_codes".into(), Value::Sequence(codes));
                }
            }
            _ => log.unknown_key(&path, part, &["exit_codes"]),
        }
    }
    (!all.is_empty()).then_some(Value::Mapping(all))
}

/// Returns the native failure kinds for one of GitLab's; `None` if it is unknown.
fn kinds(name: &str) -> Option<&'static [&'static str]> {
    Some(match name {
        "always" => &["script_failed", "timed_out", "out_of_memory", "image_unavailable"],
        "script_failure" => &["script_failed", "out_of_memory"],
        "stuck_or_timeout_failure" | "job_execution_timeout" => &["timed_out", "preparation_timed_out"],
        "runner_system_failure" => {
            &["engine_failed", "disk_full", "worker_lost", "image_pull_failed", "service_failed"]
        }
        "runner_interrupted" => &["worker_lost"],
        "api_failure" | "unknown_failure" | "scheduler_failure" => &["internal"],
        "data_integrity_failure" => &["source_unavailable", "artifact_failed"],
        // These failures do not exist here.
        "runner_unsupported" | "stale_schedule" | "archived_failure" | "unmet_prerequisites" => &[],
        _ => return None,
    })
}

/// Translates `retry`: a number, or a mapping.
pub(crate) fn retry(entry: &MapEntry, path: &Path, log: &mut Log) -> Option<Value> {
    let path = path.key("retry");
    let count = |node: &Node, log: &mut Log| {
        let count = values::text(node).and_then(|text| text.parse::<u64>().ok()).filter(|count| *count <= 2);
        if count.is_none() {
            log.wrong_type(&path, node, "a number from 0 to 2");
        }
        count
    };
    if !values::is_mapping(&entry.value) {
        return count(&entry.value, log).map(Value::from);
    }
    let mut all = Mapping::new();
    let mut max = Some(0);
    let mut narrowed = false;
    let mut is_empty = false;
    let mut requested_kinds: Vec<&str> = Vec::new();
    for part in values::entries(&entry.value) {
        match part.key.as_str() {
            "max" => max = count(&part.value, log),
            "when" => {
                is_empty = matches!(&part.value.kind, Kind::Sequence(items) if items.is_empty());
                for (name, node) in values::texts(&part.value, &path.key("when"), log) {
                    narrowed |= name != "always";
                    if let Some(kinds) = kinds(name) {
                        requested_kinds.extend(kinds);
                    } else {
                        let message = format!("{} is not a kind of failure", quoted(name));
                        log.invalid(&path, node.location, message);
                    }
                }
            }
            "exit_codes" => {
                let codes = codes(part, &path, log);
                if codes.is_empty() {
                    // Only with these codes, or for the kinds of `when`.
                    narrowed = true;
                } else {
                    all.insert("exit_codes".into(), Value::Sequence(codes));
                }
            }
            _ => log.unknown_key(&path, part, &["max", "when", "exit_codes"]),
        }
    }
    all.insert("max".into(), max?.into());
    if is_empty {
        all.insert("when".into(), Value::Sequence(Vec::new()));
    }
    if narrowed {
        let mut unique = HashSet::new();
        requested_kinds.retain(|kind| unique.insert(*kind));
        if requested_kinds.is_empty() && !all.contains_key("exit_codes") {
            return Some(0.into());
        }
        if !requested_kinds.is_empty() {
            all.insert("when".into(), sequence(requested_kinds.into_iter().map(str::to_owned).collect()));
        }
    }
    Some(Value::Mapping(all))
}
