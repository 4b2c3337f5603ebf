//! Translates `cache`.

use std::rc::Rc;

use serde_yaml::{Mapping, Value};

use super::paths::paths;
use super::services::{reference_or_empty, sequence};
use crate::gitlab::findings::Log;
use crate::gitlab::values;
use crate::gitlab::variables::{KnownOutputs, Scope, WithoutUnset};
use crate::pipeline::finding::Path;
use crate::pipeline::yaml::tree::{MapEntry, Node};

/// The variable with the key of the cache to use when a job has none under its own keys.
const FALLBACK_KEY: &str = "CACHE_FALLBACK_KEY";

/// Maximum number of caches of a job: GitLab's limit.
const MAX_CACHES: usize = 4;

/// Translates `cache`: one, or a list.
pub(crate) fn caches(entry: &MapEntry, path: &Path, scope: &Scope, log: &mut Log) -> Value {
    let path = path.key("cache");
    let items = values::list(&entry.value);
    if let Some(item) = items.get(MAX_CACHES) {
        log.invalid(&path, item.location, format!("a job has at most {MAX_CACHES} caches"));
    }
    let all = items.into_iter().filter_map(|item| cache(item, &path, scope, log));
    Value::Sequence(all.map(Value::Mapping).collect())
}

fn cache(item: &Rc<Node>, path: &Path, scope: &Scope, log: &mut Log) -> Option<Mapping> {
    if !values::is_mapping(item) {
        log.wrong_type(path, item, "a mapping with `paths`, or a list of mappings");
        return None;
    }
    let mut cache = Mapping::new();
    let mut untracked = None;
    for part in values::entries(item) {
        if part.value.is_null() {
            continue;
        }
        let at = path.key(&part.key);
        match part.key.as_str() {
            "key" => {
                if let Some(key) = cache_key(part, &at, scope, log) {
                    cache.insert("key".into(), key);
                }
            }
            "paths" => {
                cache.insert("paths".into(), sequence(paths(&part.value, &at, scope, log)));
            }
            "fallback_keys" => {
                let keys = values::texts(&part.value, &at, log);
                let keys = keys.into_iter().filter_map(|(text, node)| key_text(text, node, &at, scope, log));
                let keys: Vec<String> = keys.filter(|key| !key.is_empty()).collect();
                cache.insert("fallback_keys".into(), sequence(keys));
            }
            "policy" | "when" => {
                let text = values::text(&part.value).unwrap_or_default();
                let known = scope.expand(text);
                let is_policy = part.key == "policy";
                // A rule may set the variable.
                match known.or_else(|unknown| if is_policy { scope.references(text) } else { Err(unknown) }) {
                    Ok(text) => {
                        cache.insert(part.key.as_str().into(), text.into());
                    }
                    Err(unknown) => {
                        let what = format!("`{}`", part.key);
                        let why = format!("`{unknown}` is not known before the job runs");
                        log.unsupported_at(&at, part.value.location, &what, &why, "write the value directly");
                    }
                }
            }
            "untracked" if values::flag(&part.value) == Some(true) => untracked = Some(part),
            "untracked" => {}
            "unprotect" => log.ignored(path, part, "all branches share caches, except forks"),
            _ => {
                log.unknown_key(
                    path,
                    part,
                    &["key", "paths", "fallback_keys", "policy", "when", "untracked"],
                );
            }
        }
    }
    if let Some(part) = untracked {
        log.ignored(path, part, "only `paths` are kept");
    }
    add_fallback_key(&mut cache, item, path, scope, log);
    // A cache without paths disables the default cache of the job.
    let keeps = cache.get("paths").and_then(Value::as_sequence).is_some_and(|paths| !paths.is_empty());
    keeps.then_some(cache)
}

/// Adds the key of the variable `CACHE_FALLBACK_KEY`, which GitLab tries after those of the cache.
fn add_fallback_key(cache: &mut Mapping, item: &Node, path: &Path, scope: &Scope, log: &mut Log) {
    if !scope.is_set(FALLBACK_KEY) {
        return;
    }
    match scope.references(&format!("${FALLBACK_KEY}")) {
        Ok(key) if !key.is_empty() => {
            let keys = cache.entry("fallback_keys".into()).or_insert(Value::Sequence(Vec::new()));
            if let Some(keys) = keys.as_sequence_mut() {
                keys.push(key.into());
            }
        }
        Err(unknown) => {
            let what = format!("the variable `{FALLBACK_KEY}`");
            let why = format!("`{unknown}` is not known before the job runs");
            log.ignored_at(path, item.location, &what, &why);
        }
        Ok(_) => {}
    }
}

/// Returns a key with native references. Outputs of other jobs are not known where caches are looked up, so that a variable which
/// may be one is empty like one that nobody sets.
fn key_text(text: &str, node: &Node, path: &Path, scope: &Scope, log: &mut Log) -> Option<String> {
    let early = scope.clone().with_outputs(KnownOutputs::default());
    let translated = early.without_unset(text, Scope::references);
    let Some(WithoutUnset { text, unset }) = translated.ok().filter(|_| scope.has_outputs()) else {
        return reference_or_empty(text, node, path, &early, log);
    };
    for variable in unset {
        let message =
            format!("`{variable}` is not known before the job runs, so it is empty in {}", path.label());
        log.changed(path, node.location, message);
    }
    Some(text)
}

fn cache_key(entry: &MapEntry, path: &Path, scope: &Scope, log: &mut Log) -> Option<Value> {
    if !values::is_mapping(&entry.value) {
        let Some(text) = values::text(&entry.value) else {
            log.wrong_type(path, &entry.value, "a string, or a mapping with `files`");
            return None;
        };
        // As in GitLab, one that is empty is the default.
        let key = key_text(text, &entry.value, path, scope, log);
        return key.filter(|key| !key.is_empty() || text.is_empty()).map(Value::from);
    }
    let mut key = Mapping::new();
    for part in values::entries(&entry.value) {
        match part.key.as_str() {
            "files" => {
                key.insert("files".into(), sequence(paths(&part.value, &path.key("files"), scope, log)));
            }
            "files_commits" => {
                log.changed(
                    path,
                    part.key_location,
                    "`files_commits` is replaced by `files`: by content, not by commit",
                );
                key.insert("files".into(), sequence(paths(&part.value, &path.key("files"), scope, log)));
            }
            "prefix" => {
                let text = values::text(&part.value).unwrap_or_default();
                if let Some(prefix) = key_text(text, &part.value, &path.key("prefix"), scope, log) {
                    key.insert("prefix".into(), format!("{prefix}-").into());
                }
            }
            _ => log.unknown_key(path, part, &["files", "files_commits", "prefix"]),
        }
    }
    Some(Value::Mapping(key))
}
