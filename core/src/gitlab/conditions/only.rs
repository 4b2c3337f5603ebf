//! `only` and `except`, as conditions.

use std::rc::Rc;

use crate::gitlab::conditions::cel::CelExpr;
use crate::gitlab::conditions::expression::native_pattern;
use crate::gitlab::conditions::rules;
use crate::gitlab::findings::Log;
use crate::gitlab::values;
use crate::gitlab::variables::Scope;
use crate::pipeline::finding::{Path, quoted};
use crate::pipeline::yaml::tree::{MapEntry, Node};

/// The default condition of a job: on branches and tags, and not for merge requests.
pub(crate) fn usual() -> CelExpr {
    CelExpr::is_request().not()
}

/// When a job with `only` or `except`, or both, takes part.
pub(crate) fn read(
    only: Option<&MapEntry>,
    except: Option<&MapEntry>,
    path: &Path,
    scope: &Scope,
    log: &mut Log,
) -> CelExpr {
    let mut all = match only {
        None => usual(),
        Some(entry) => {
            let parts = parts(entry, path, scope, log);
            // Other parts of `only` leave the usual refs as they are.
            let refs =
                if parts.iter().any(|(key, _)| *key == "refs") { CelExpr::constant(true) } else { usual() };
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

/// Each part of a policy by its key, its own items joined by "or".
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
            "changes" => {
                let globs = rules::globs(part, &path, scope, log);
                if !globs.is_empty() {
                    all.push(("changes", CelExpr::changed(&globs)));
                }
            }
            "kubernetes" => log.refused(&path, part, "no cluster is known here", "remove it"),
            _ => log.unknown(&path, part, &["refs", "variables", "changes", "kubernetes"]),
        }
    }
    all
}

fn refs(node: &Rc<Node>, path: &Path, log: &mut Log) -> CelExpr {
    let mut any = CelExpr::constant(false);
    for (text, at) in values::texts(node, path, log) {
        any = any.or(reference(text, at, path, log));
    }
    any
}

fn is_source(source: &str) -> CelExpr {
    CelExpr::equal(CelExpr::variable("CI_PIPELINE_SOURCE"), CelExpr::literal(source))
}

/// What one word of `refs` asks for: a kind of event, or the name of a branch or tag, or a pattern of such.
fn reference(text: &str, at: &Node, path: &Path, log: &mut Log) -> CelExpr {
    let set = |name: &str| CelExpr::equal(CelExpr::variable(name), CelExpr::literal("")).not();
    match text {
        "branches" => return set("CI_COMMIT_BRANCH"),
        "tags" => return set("CI_COMMIT_TAG"),
        "merge_requests" | "external_pull_requests" => return CelExpr::is_request(),
        "pushes" => return is_source("push"),
        "schedules" => return is_source("schedule"),
        "web" => return is_source("web"),
        "api" | "triggers" | "pipelines" | "chat" | "external" => {
            log.ignored_at(
                path,
                at.location,
                &format!("`{text}`"),
                "nothing starts an execution here in that way",
            );
            return CelExpr::constant(false);
        }
        _ => {}
    }
    let (name, project) = match text.rsplit_once('@') {
        Some((name, project)) if project.contains('/') => (name, Some(project)),
        _ => (text, None),
    };
    if let Some(project) = project {
        let what = format!("`@{project}`");
        log.ignored_at(path, at.location, &what, "it holds in every repository that has this file");
    }
    let named = CelExpr::variable("CI_COMMIT_REF_NAME");
    let of_name = match native_pattern(name) {
        Some(Ok(pattern)) => CelExpr::matches(named, &pattern),
        Some(Err(why)) => {
            log.wrong(path, at.location, format!("{} is not a valid pattern: {why}", quoted(name)));
            return CelExpr::constant(false);
        }
        None => CelExpr::equal(named, CelExpr::literal(name)),
    };
    // Names are those of branches and tags, never those of a merge request.
    CelExpr::is_request().not().and(of_name)
}
