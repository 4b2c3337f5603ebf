//! Checks the shapes of values as GitLab does, before anything is translated.

use std::collections::HashSet;
use std::rc::Rc;

use crate::gitlab::findings::Log;
use crate::gitlab::job::duration;
use crate::gitlab::values::{self, is_list, is_mapping};
use crate::pipeline::finding::{Path, quoted};
use crate::pipeline::yaml::scalars::ScalarType;
use crate::pipeline::yaml::tree::{Kind, MapEntry, Node};

/// Maximum nesting depth of the lists of a script, or of rules.
const MAX_LIST_DEPTH: usize = 10;

/// What a key takes.
#[derive(Debug, Clone, Copy)]
enum Shape {
    Text,
    Boolean,
    /// A list of strings.
    Texts,
    /// A string, or a list of strings.
    TextOrTexts,
    /// A string, or lists of strings within each other.
    Script,
    Mapping,
    List,
    TextOrMapping,
    BooleanOrMapping,
    BooleanOrTexts,
    NumberOrMapping,
    ListOrMapping,
    /// A list of mappings, which is not empty.
    Rules,
    /// A string with a duration.
    Duration,
    /// A list of names of images and of mappings.
    Services,
    /// A key of a cache.
    CacheKey,
    OneOf(&'static [&'static str]),
}

const WHEN: Shape = Shape::OneOf(&["on_success", "on_failure", "always"]);

/// What the keys of jobs take; lists on the way have the key in each item.
const JOB: &[(&[&str], Shape)] = &[
    (&["after_script"], Shape::Script),
    (&["allow_failure"], Shape::BooleanOrMapping),
    (&["artifacts"], Shape::Mapping),
    (&["artifacts", "access"], Shape::OneOf(&["none", "developer", "maintainer", "all"])),
    (&["artifacts", "exclude"], Shape::Texts),
    (&["artifacts", "expire_in"], Shape::Duration),
    (&["artifacts", "expose_as"], Shape::Text),
    (&["artifacts", "name"], Shape::Text),
    (&["artifacts", "paths"], Shape::Texts),
    (&["artifacts", "public"], Shape::Boolean),
    (&["artifacts", "reports"], Shape::Mapping),
    (&["artifacts", "reports", "codequality"], Shape::TextOrTexts),
    (&["artifacts", "reports", "dotenv"], Shape::TextOrTexts),
    (&["artifacts", "reports", "junit"], Shape::TextOrTexts),
    (&["artifacts", "reports", "sast"], Shape::TextOrTexts),
    (&["artifacts", "reports", "secret_detection"], Shape::TextOrTexts),
    (&["artifacts", "untracked"], Shape::Boolean),
    (&["artifacts", "when"], WHEN),
    (&["before_script"], Shape::Script),
    (&["cache"], Shape::ListOrMapping),
    (&["cache", "fallback_keys"], Shape::Texts),
    (&["cache", "key"], Shape::CacheKey),
    (&["cache", "key", "files"], Shape::Texts),
    (&["cache", "key", "prefix"], Shape::Text),
    (&["cache", "paths"], Shape::Texts),
    (&["cache", "policy"], Shape::Text),
    (&["cache", "unprotect"], Shape::Boolean),
    (&["cache", "untracked"], Shape::Boolean),
    (&["cache", "when"], WHEN),
    (&["coverage"], Shape::Text),
    (&["dependencies"], Shape::Texts),
    (&["environment"], Shape::TextOrMapping),
    (&["environment", "action"], Shape::OneOf(&["start", "stop", "prepare", "verify", "access"])),
    (&["environment", "auto_stop_in"], Shape::Duration),
    (
        &["environment", "deployment_tier"],
        Shape::OneOf(&["production", "staging", "testing", "development", "other"]),
    ),
    (&["environment", "name"], Shape::Text),
    (&["environment", "on_stop"], Shape::Text),
    (&["environment", "url"], Shape::Text),
    (&["except"], Shape::ListOrMapping),
    (&["except", "changes"], Shape::Texts),
    (&["except", "refs"], Shape::Texts),
    (&["except", "variables"], Shape::Texts),
    (&["id_tokens"], Shape::Mapping),
    (&["image"], Shape::TextOrMapping),
    (&["image", "entrypoint"], Shape::Texts),
    (&["image", "name"], Shape::Text),
    (&["image", "pull_policy"], Shape::TextOrTexts),
    (&["inherit"], Shape::Mapping),
    (&["inherit", "default"], Shape::BooleanOrTexts),
    (&["inherit", "variables"], Shape::BooleanOrTexts),
    (&["interruptible"], Shape::Boolean),
    (&["needs"], Shape::ListOrMapping),
    (&["needs", "artifacts"], Shape::Boolean),
    (&["needs", "job"], Shape::Text),
    (&["needs", "optional"], Shape::Boolean),
    (&["only"], Shape::ListOrMapping),
    (&["only", "changes"], Shape::Texts),
    (&["only", "refs"], Shape::Texts),
    (&["only", "variables"], Shape::Texts),
    (&["parallel"], Shape::NumberOrMapping),
    (&["parallel", "matrix"], Shape::List),
    (&["release"], Shape::Mapping),
    (&["resource_group"], Shape::Text),
    (&["retry"], Shape::NumberOrMapping),
    (&["retry", "when"], Shape::TextOrTexts),
    (&["rules"], Shape::Rules),
    (&["rules", "allow_failure"], Shape::Boolean),
    (&["rules", "changes"], Shape::ListOrMapping),
    (&["rules", "changes", "paths"], Shape::Texts),
    (&["rules", "exists"], Shape::ListOrMapping),
    (&["rules", "exists", "paths"], Shape::Texts),
    (&["rules", "if"], Shape::Text),
    (&["rules", "interruptible"], Shape::Boolean),
    (&["rules", "needs"], Shape::ListOrMapping),
    (&["rules", "needs", "artifacts"], Shape::Boolean),
    (&["rules", "needs", "job"], Shape::Text),
    (&["rules", "needs", "optional"], Shape::Boolean),
    (&["rules", "start_in"], Shape::Duration),
    (&["rules", "variables"], Shape::Mapping),
    (&["script"], Shape::Script),
    (&["services"], Shape::Services),
    (&["services", "alias"], Shape::Text),
    (&["services", "command"], Shape::Texts),
    (&["services", "entrypoint"], Shape::Texts),
    (&["services", "name"], Shape::Text),
    (&["services", "variables"], Shape::Mapping),
    (&["stage"], Shape::Text),
    (&["start_in"], Shape::Duration),
    (&["tags"], Shape::Texts),
    (&["timeout"], Shape::Duration),
    (&["variables"], Shape::Mapping),
];

const STAGES: &[(&[&str], Shape)] = &[(&["stages"], Shape::Texts)];

/// What the other keys at the top take, besides those that jobs have as well.
const TOP: &[(&[&str], Shape)] = &[
    (&["default"], Shape::Mapping),
    (&["variables"], Shape::Mapping),
    (&["workflow"], Shape::Mapping),
    (&["workflow", "name"], Shape::Text),
    (&["workflow", "rules"], Shape::Rules),
    (&["workflow", "rules", "changes"], Shape::ListOrMapping),
    (&["workflow", "rules", "exists"], Shape::ListOrMapping),
    (&["workflow", "rules", "if"], Shape::Text),
    (&["workflow", "rules", "variables"], Shape::Mapping),
];

/// Checks the keys at the top of the file.
pub(crate) fn check_top(root: &Rc<Node>, log: &mut Log) {
    let path = Path::default();
    if let Some(node) = root.get("stages").map(|entry| &entry.value).filter(|node| has_mapping(node)) {
        let message = "`stages` takes names of stages, not mappings".to_owned();
        let help = "write their names, `stages: [build, test]`, and each job at the top of the file, with its `stage`";
        log.invalid_with_help(&path.key("stages"), node.location, message, help);
    } else {
        check(root, STAGES, &path, log);
    }
    check(root, TOP, &path, log);
}

/// Whether a value is a mapping, or a list with one.
pub(crate) fn has_mapping(node: &Rc<Node>) -> bool {
    values::list(node).into_iter().any(|item| is_mapping(item))
}

/// Checks the keys that jobs inherit.
pub(crate) fn check_default(node: &Rc<Node>, path: &Path, log: &mut Log) {
    check(node, JOB, path, log);
}

/// Checks the types of the values of a job.
pub(crate) fn check_types(job: &Rc<Node>, path: &Path, log: &mut Log) {
    check(job, JOB, path, log);
}

/// Checks a job.
pub(crate) fn check_job(node: &Rc<Node>, path: &Path, log: &mut Log) {
    check_types(node, path, log);
    delays(node, path, log);
    let (environment, artifacts) = (node.get("environment"), node.get("artifacts"));
    if let Some(entry) = environment {
        check_environment(&entry.value, &path.key("environment"), log);
    }
    if let Some(entry) = artifacts {
        check_artifacts(&entry.value, &path.key("artifacts"), log);
    }
    for rule in node.get("rules").map(|entry| values::list(&entry.value)).unwrap_or_default() {
        delays(rule, &path.key("rules"), log);
        for key in ["changes", "exists"] {
            if let Some(entry) = rule.get(key).filter(|entry| is_list(&entry.value)) {
                let at = path.key("rules").key(key);
                texts(&entry.value, &at, log);
                if values::list(&entry.value).len() > 50 {
                    log.invalid(&at, entry.key_location, format!("`{key}` has more than 50 items"));
                }
            }
        }
    }
}

/// Checks that `start_in` and `when: delayed` come together, in a job or a rule.
fn delays(node: &Node, path: &Path, log: &mut Log) {
    let start = node.get("start_in").filter(|entry| !entry.value.is_null());
    let when = node.get("when");
    let delayed = when.filter(|entry| values::text(&entry.value) == Some("delayed"));
    match (delayed, start) {
        (Some(when), None) => {
            log.invalid(&path.key("when"), when.value.location, "`when: delayed` needs `start_in`");
        }
        (None, Some(start)) => {
            let message = "`start_in` takes effect with `when: delayed` only";
            log.invalid(&path.key("start_in"), start.key_location, message);
        }
        (Some(_), Some(start)) => {
            let text = values::text(&start.value).unwrap_or_default();
            if duration::seconds(text).is_some_and(|seconds| seconds > 7 * 86_400) {
                log.invalid(&path.key("start_in"), start.value.location, "`start_in` is at most one week");
            }
        }
        (None, None) => {}
    }
}

fn check_environment(node: &Node, path: &Path, log: &mut Log) {
    let name = node.get("name").map_or(node, |entry| &entry.value);
    let Some(text) = values::text(name) else {
        if is_mapping(node) && node.get("name").is_none() {
            let message =
                "`environment` needs a `name`: that of the place that the job deploys to".to_owned();
            log.invalid_with_help(path, node.location, message, "variables of a job are called `variables`");
        }
        return;
    };
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "_/\\${}. -".contains(c);
    if text.is_empty() || !text.chars().all(is_allowed) || text.starts_with('/') || text.ends_with('/') {
        let message = format!("{} is not the name of an environment", quoted(text));
        let help = "use letters, digits, spaces and `- _ / . $ { }`, without `/` at both ends";
        log.invalid_with_help(&path.key("name"), name.location, message, help);
    }
}

fn check_artifacts(node: &Node, path: &Path, log: &mut Log) {
    if let (Some(_), Some(access)) = (node.get("public"), node.get("access")) {
        log.invalid(path, access.key_location, "artifacts have `public` or `access`, not both");
    }
    let Some(expose) = node.get("expose_as").filter(|entry| !entry.value.is_null()) else { return };
    let text = values::text(&expose.value).unwrap_or_default();
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let is_valid = text.starts_with(is_word)
        && text.chars().all(|c| is_word(c) || matches!(c, '-' | ' '))
        && text.chars().count() <= 100;
    if !is_valid {
        let message =
            format!("{} is not a title of up to 100 letters, digits, `-`, `_` and spaces", quoted(text));
        log.invalid(&path.key("expose_as"), expose.value.location, message);
    }
    match node.get("paths") {
        None => log.invalid(path, expose.key_location, "`expose_as` needs `paths`"),
        Some(paths) => {
            for item in values::list(&paths.value) {
                if values::text(item).is_some_and(|text| text.contains('*')) {
                    let message = "a path of artifacts with `expose_as` has no `*`";
                    log.invalid(&path.key("paths"), item.location, message);
                }
            }
        }
    }
}

fn check(node: &Rc<Node>, shapes: &[(&[&str], Shape)], path: &Path, log: &mut Log) {
    for (keys, shape) in shapes {
        visit(node, keys, *shape, path, log);
    }
}

/// Checks the values that `keys` lead to.
fn visit(node: &Rc<Node>, keys: &[&str], shape: Shape, path: &Path, log: &mut Log) {
    let Some((first, rest)) = keys.split_first() else {
        if !node.is_null() {
            value(node, shape, path, log);
        }
        return;
    };
    for item in values::list(node) {
        if let Some(entry) = item.get(first) {
            visit(&entry.value, rest, shape, &path.key(first), log);
        }
    }
}

/// Reports services that are written as a mapping with their names.
fn named_services(node: &Node, path: &Path, log: &mut Log) {
    let first = values::entries(node).first();
    let named = first.filter(|entry| entry.value.is_null() || is_mapping(&entry.value));
    let image = |entry: &MapEntry| {
        let image = ["image", "name"].into_iter().find_map(|key| entry.value.get(key));
        image.and_then(|image| values::text(&image.value)).unwrap_or("IMAGE").to_owned()
    };
    let item = named.map_or_else(
        || "{ name: \"IMAGE\" }".to_owned(),
        |entry| format!("{{ name: \"{}\", alias: {} }}", image(entry), entry.key),
    );
    let message = format!("{} takes a list, not a mapping", path.label());
    log.invalid_with_help(path, node.location, message, &format!("write each as an item: `- {item}`"));
}

fn value(node: &Rc<Node>, shape: Shape, path: &Path, log: &mut Log) {
    let kind = values::kind(node);
    let is_text = kind == ScalarType::Text && matches!(node.kind, Kind::Scalar { .. });
    let expected = match shape {
        Shape::Text => (!is_text).then_some("a string"),
        Shape::Boolean => (kind != ScalarType::Boolean).then_some("`true` or `false`"),
        Shape::Mapping => (!is_mapping(node)).then_some("a mapping"),
        Shape::Services if is_mapping(node) => {
            named_services(node, path, log);
            None
        }
        Shape::List | Shape::Services => (!is_list(node)).then_some("a list"),
        Shape::TextOrMapping => (!is_text && !is_mapping(node)).then_some("a string or a mapping"),
        Shape::BooleanOrMapping => {
            (kind != ScalarType::Boolean && !is_mapping(node)).then_some("`true`, `false` or a mapping")
        }
        Shape::NumberOrMapping => {
            (kind != ScalarType::Integer && !is_mapping(node)).then_some("a number or a mapping")
        }
        Shape::ListOrMapping => (!is_list(node) && !is_mapping(node)).then_some("a list or a mapping"),
        Shape::BooleanOrTexts => {
            (kind != ScalarType::Boolean && !is_list(node)).then_some("`true`, `false` or a list of names")
        }
        Shape::Duration => match values::text(node) {
            Some(text)
                if is_text
                    && (text.contains('$') || text == "never" || duration::seconds(text).is_some()) =>
            {
                None
            }
            _ => Some("a string with a duration, such as `1h 30m`"),
        },
        Shape::OneOf(choices) => {
            if let Some(text) =
                values::text(node).filter(|text| !choices.contains(text) && !text.contains('$'))
            {
                let message =
                    format!("{} takes one of {}, not {}", path.label(), choices.join(", "), quoted(text));
                log.invalid(path, node.location, message);
                return;
            }
            (!is_text).then_some("a string")
        }
        Shape::Texts => {
            if is_list(node) {
                texts(node, path, log);
            }
            (!is_list(node)).then_some("a list of strings")
        }
        Shape::TextOrTexts => {
            if is_list(node) {
                texts(node, path, log);
            }
            (!is_text && !is_list(node)).then_some("a string, or a list of strings")
        }
        Shape::Script => {
            script(node, 1, path, log);
            None
        }
        Shape::Rules => {
            rules(node, path, log);
            None
        }
        Shape::CacheKey => {
            if let Some(text) = values::text(node).filter(|_| is_text) {
                cache_key(text, node, path, log);
            }
            (!is_text && kind != ScalarType::Integer && !is_mapping(node)).then_some("a string or a mapping")
        }
    };
    if let Some(expected) = expected {
        log.wrong_type(path, node, expected);
    }
}

/// Checks that the items of a list are strings.
fn texts(node: &Rc<Node>, path: &Path, log: &mut Log) {
    for item in values::list(node) {
        if values::kind(item) != ScalarType::Text || !matches!(item.kind, Kind::Scalar { .. }) {
            log.wrong_type(path, item, "a list of strings");
        }
    }
}

fn script(node: &Rc<Node>, depth: usize, path: &Path, log: &mut Log) {
    match &node.kind {
        Kind::Sequence(items) if depth > MAX_LIST_DEPTH && !items.is_empty() => {
            let message = format!("the lists of a script are nested at most {MAX_LIST_DEPTH} deep");
            log.invalid(path, node.location, message);
        }
        Kind::Sequence(items) => items.iter().for_each(|item| script(item, depth + 1, path, log)),
        Kind::Scalar { .. } if values::kind(node) == ScalarType::Text => {}
        Kind::Scalar { .. } => {
            let message =
                format!("{} takes strings; a number, a boolean and nothing are not one", path.label());
            log.invalid_with_help(path, node.location, message, "write it between quotes");
        }
        Kind::Mapping(_) => {
            let message = format!("{} takes strings, not a mapping", path.label());
            log.invalid_with_help(path, node.location, message, "put a line with `: ` between quotes");
        }
    }
}

fn rules(node: &Rc<Node>, path: &Path, log: &mut Log) {
    if !is_list(node) {
        log.wrong_type(path, node, "a list of rules, each a mapping");
        return;
    }
    let rules = values::list(node);
    if rules.is_empty() {
        let message = format!("{} is empty, which GitLab refuses", path.label());
        log.invalid_with_help(path, node.location, message, "remove it, or add a rule");
    }
    for rule in rules {
        if !is_mapping(rule) || values::entries(rule).is_empty() {
            log.wrong_type(path, rule, "a list of rules, each a mapping with at least one key");
        }
    }
}

fn cache_key(text: &str, node: &Node, path: &Path, log: &mut Log) {
    let decoded = text.replace("%2F", "/").replace("%2f", "/").replace("%2E", ".").replace("%2e", ".");
    if decoded.contains('/') || decoded == "." || decoded == ".." {
        let message =
            format!("{} is not a key of a cache: it is a dot or two, or contains a `/`", quoted(text));
        log.invalid(path, node.location, message);
    }
}

/// Checks that the job that stops an environment exists, and stops it.
pub(crate) fn check_stops(jobs: &[&MapEntry], incomplete: &HashSet<String>, log: &mut Log) {
    let environment = |job: &MapEntry, key: &str| {
        let entry = job.value.get("environment")?;
        let part = entry.value.get(key)?;
        values::text(&part.value).map(str::to_owned)
    };
    for job in jobs {
        let Some(entry) = job.value.get("environment").and_then(|entry| entry.value.get("on_stop")) else {
            continue;
        };
        let Some(name) = values::text(&entry.value) else { continue };
        if incomplete.contains(name) || incomplete.contains(&job.key) {
            continue;
        }
        let problem = match jobs.iter().find(|job| job.key == name) {
            None => "there is no such job",
            Some(stop) if environment(stop, "action").as_deref() != Some("stop") => {
                "that job has no `environment` with `action: stop`"
            }
            Some(stop) if environment(stop, "name") != environment(job, "name") => {
                "that job is of another environment"
            }
            Some(_) => continue,
        };
        let path = Path::default().key(&job.key).key("environment").key("on_stop");
        log.invalid(
            &path,
            entry.value.location,
            format!("{} cannot stop the environment: {problem}", quoted(name)),
        );
    }
}
