//! Translates `only` and `except` into conditions.

use std::rc::Rc;

use crate::condition;
use crate::gitlab::conditions::cel::CelExpr;
use crate::gitlab::conditions::expression::native_pattern;
use crate::gitlab::conditions::rules;
use crate::gitlab::findings::Log;
use crate::gitlab::values;
use crate::gitlab::variables::Scope;
use crate::pipeline::finding::{Path, quoted};
use crate::pipeline::yaml::tree::{MapEntry, Node};

/// Returns the default condition of a job: on branches and tags, but not for merge requests.
pub(crate) fn default_condition() -> CelExpr {
    CelExpr::is_pull_request().not()
}

/// Returns the condition of a job with `only` or `except`, or both.
pub(crate) fn read(
    only: Option<&MapEntry>,
    except: Option<&MapEntry>,
    path: &Path,
    scope: &Scope,
    log: &mut Log,
) -> CelExpr {
    let mut all = match only {
        None => default_condition(),
        Some(entry) => {
            let parts = parts(entry, path, scope, log);
            // Without `refs` in `only`, the default refs apply.
            let refs = if parts.iter().any(|(key, _)| *key == "refs") {
                CelExpr::constant(true)
            } else {
                default_condition()
            };
            parts.into_iter().fold(refs, |all, (_, part)| all.and(part))
        }
    };
    if let Some(entry) = except {
        for (_, part) in parts(entry, path, scope, log) {
            all = all.and(part.not());
        }
    }
    all
}

/// Returns the condition of each part of a policy by its key; the items of a part are alternatives.
fn parts(entry: &MapEntry, path: &Path, scope: &Scope, log: &mut Log) -> Vec<(&'static str, CelExpr)> {
    let path = path.key(&entry.key);
    if !values::is_mapping(&entry.value) {
        return vec![("refs", refs(&entry.value, &path, log))];
    }
    let mut all = Vec::new();
    for part in values::entries(&entry.value) {
        match part.key.as_str() {
            "refs" => all.push(("refs", refs(&part.value, &path, log))),
            "variables" => {
                let mut any = CelExpr::constant(false);
                for item in values::list(&part.value) {
                    if let Some(condition) = rules::condition(item, &path.key("variables"), scope, log) {
                        any = any.or(condition);
                    }
                }
                all.push(("variables", any));
            }
            "changes" if values::is_mapping(&part.value) => {
                log.wrong_type(&path.key("changes"), &part.value, "a list of paths");
            }
            "changes" => {
                let globs = rules::globs(part, &path, scope, log);
                if !globs.is_empty() {
                    all.push(("changes", CelExpr::changed(&globs)));
                }
            }
            "kubernetes" => log.unsupported(&path, part, "there is no cluster", "remove it"),
            _ => log.unknown_key(&path, part, &["refs", "variables", "changes", "kubernetes"]),
        }
    }
    all
}

fn refs(node: &Rc<Node>, path: &Path, log: &mut Log) -> CelExpr {
    let mut any = CelExpr::constant(false);
    let refs = values::texts(node, path, log);
    let count = refs.len();
    for (text, at) in refs {
        any = any.or(reference(text, at, path, log));
    }
    // Room for the other parts of the job's condition.
    if any.len() > condition::MAX_LEN / 2 {
        let message =
            format!("{} has {count} names and patterns, which are too many or too long", path.label());
        let help = "match several names with one pattern, as in `/^release-/`";
        log.invalid_with_help(path, node.location, message, help);
        return CelExpr::constant(false);
    }
    any
}

fn is_source(source: &str) -> CelExpr {
    CelExpr::equal(CelExpr::variable("CI_PIPELINE_SOURCE"), CelExpr::literal(source))
}

/// Translates an item of `refs`: a kind of event, or the name or pattern of a branch or tag, each with `@group/project` if it is
/// for one repository only.
fn reference(text: &str, at: &Node, path: &Path, log: &mut Log) -> CelExpr {
    let (name, project) = match text.rsplit_once('@') {
        Some((name, project)) if project.contains('/') && is_whole(name) => (name, Some(project)),
        _ => (text, None),
    };
    let condition = reference_of_any(name, at, path, log);
    match project {
        Some(project) => {
            let repository = CelExpr::variable("CI_PROJECT_PATH");
            CelExpr::equal(repository, CelExpr::literal(project)).and(condition)
        }
        None => condition,
    }
}

/// Whether a text is a name or a whole pattern, not the beginning of a pattern.
fn is_whole(name: &str) -> bool {
    !name.starts_with('/') || native_pattern(name).is_some()
}

/// Translates an item of `refs` without a repository.
fn reference_of_any(name: &str, at: &Node, path: &Path, log: &mut Log) -> CelExpr {
    let set = |name: &str| CelExpr::equal(CelExpr::variable(name), CelExpr::literal("")).not();
    match name {
        "branches" => return set("CI_COMMIT_BRANCH"),
        "tags" => return set("CI_COMMIT_TAG"),
        "merge_requests" | "external_pull_requests" => return CelExpr::is_pull_request(),
        "pushes" => return is_source("push"),
        "schedules" => return is_source("schedule"),
        "web" => return is_source("web"),
        "pipelines" => return is_source("pipeline"),
        "api" | "triggers" | "chat" | "external" => {
            log.ignored_at(path, at.location, &format!("`{name}`"), "executions cannot be started this way");
            return CelExpr::constant(false);
        }
        _ => {}
    }
    let ref_name = CelExpr::variable("CI_COMMIT_REF_NAME");
    let matches_name = match native_pattern(name) {
        Some(Ok(pattern)) => CelExpr::matches(ref_name, &pattern),
        Some(Err(why)) => {
            log.invalid(path, at.location, format!("{} is not a valid pattern: {why}", quoted(name)));
            return CelExpr::constant(false);
        }
        None => CelExpr::equal(ref_name, CelExpr::literal(name)),
    };
    // Names apply to branches and tags, not to merge requests.
    CelExpr::is_pull_request().not().and(matches_name)
}
