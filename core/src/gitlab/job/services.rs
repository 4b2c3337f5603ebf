//! Translates `image` and `services`.

use std::rc::Rc;

use serde_yaml::{Mapping, Value};

use crate::execution::predefined;
use crate::gitlab::findings::Log;
use crate::gitlab::predefined_names::is_never_set;
use crate::gitlab::values;
use crate::gitlab::variables::{self, Scope, WithoutUnset};
use crate::pipeline::finding::{Path, quoted};
use crate::pipeline::is_docker_engine;
use crate::pipeline::yaml::tree::{MapEntry, Node};
use crate::text::diagnostics::Location;

/// The variable of a service with the port that GitLab waits for.
const HEALTH_CHECK_PORT: &str = "HEALTHCHECK_TCP_PORT";

/// Returns a list of strings.
pub(crate) fn sequence(texts: Vec<String>) -> Value {
    Value::Sequence(texts.into_iter().map(Value::String).collect())
}

/// Returns a text with native references; an unknown variable is reported.
pub(crate) fn reference(
    text: &str,
    node: &Node,
    path: &Path,
    scope: &Scope,
    log: &mut Log,
) -> Option<String> {
    reference_at(text, node.location, path, scope, log)
}

/// Like [`reference`], for a text at `location`.
pub(super) fn reference_at(
    text: &str,
    location: Location,
    path: &Path,
    scope: &Scope,
    log: &mut Log,
) -> Option<String> {
    known(scope.references(text), (text, location), path, scope, log)
}

/// Like [`reference`], for a text in which a variable that nobody sets is empty, as in GitLab.
pub(crate) fn reference_or_empty(
    text: &str,
    node: &Node,
    path: &Path,
    scope: &Scope,
    log: &mut Log,
) -> Option<String> {
    match scope.without_unset(text, Scope::references) {
        Ok(WithoutUnset { text, unset }) => {
            report_unset(&unset, node.location, path, log);
            Some(text)
        }
        Err(unknown) => known(Err(unknown), (text, node.location), path, scope, log),
    }
}

/// Reports the variables that are empty in the value at `path`. Those of GitLab are reported with their first use.
pub(crate) fn report_unset(unset: &[String], location: Location, path: &Path, log: &mut Log) {
    for variable in unset.iter().filter(|variable| !is_never_set(variable)) {
        let message = format!("nobody sets `{variable}`, so it is empty in {}", path.label());
        log.changed(path, location, message);
    }
}

/// Returns the name of an image like [`reference_or_empty`], which may also refer to outputs of other jobs. A variable that nobody
/// sets is an error if no name of an image is left.
fn image_name(text: &str, node: &Node, path: &Path, scope: &Scope, log: &mut Log) -> Option<String> {
    if let Ok(name) = scope.due_references(text) {
        return Some(name);
    }
    match scope.without_unset(text, Scope::due_references) {
        Ok(WithoutUnset { text: name, unset }) if unset.is_empty() || is_image_name(&name) => {
            report_unset(&unset, node.location, path, log);
            Some(name)
        }
        _ => known(scope.due_references(text), (text, node.location), path, scope, log),
    }
}

/// Whether no part of the name of an image is empty.
fn is_image_name(name: &str) -> bool {
    let is_separator = |c: char| "/:@".contains(c);
    let mut parts = name.split(is_separator);
    parts.all(|part| !part.trim_matches(['-', '_', '.']).is_empty())
}

/// Returns a translated text, or reports the unknown variable in it.
fn known(
    translated: Result<String, String>,
    (text, location): (&str, Location),
    path: &Path,
    scope: &Scope,
    log: &mut Log,
) -> Option<String> {
    match translated {
        Ok(text) => Some(text),
        Err(unknown) if unknown == "$" => {
            log.invalid(
                path,
                location,
                format!("{} contains a `$` that does not belong to a variable", quoted(text)),
            );
            None
        }
        Err(hidden) if scope.is_hidden(&hidden) => {
            log.invalid_with_help(
                path,
                location,
                format!(
                    "{} refers to `{hidden}`, whose value only jobs get, and would be recorded here",
                    path.label()
                ),
                "use a variable that is neither masked nor a file nor of one environment",
            );
            None
        }
        Err(unknown) if predefined::is_predefined(&unknown) => {
            log.invalid(
                path,
                location,
                format!("{} refers to `{unknown}`, which is set only when the job runs", path.label()),
            );
            None
        }
        Err(unknown) => {
            log.invalid_with_help(
                path,
                location,
                format!("{} refers to `{unknown}`, which nobody sets", path.label()),
                &format!(
                    "set it under `variables`, for the repository with `tidemill variable set {unknown}`, or for one run with \
                     `-e {unknown}=VALUE`"
                ),
            );
            None
        }
    }
}

/// Translates `image`: a name, or a mapping with `name`. Returns it with its pull policy.
pub(crate) fn image(
    entry: &MapEntry,
    path: &Path,
    scope: &Scope,
    log: &mut Log,
) -> (Option<Value>, Option<&'static str>) {
    let path = path.key("image");
    let mut pull_policy = None;
    let mut name = None;
    let mut options = Mapping::new();
    if values::is_mapping(&entry.value) {
        for part in values::entries(&entry.value) {
            match part.key.as_str() {
                "name" => name = Some(&part.value),
                "entrypoint" => {
                    let words = values::texts(&part.value, &path.key("entrypoint"), log);
                    let words: Vec<String> = words.into_iter().map(|(word, _)| word.to_owned()).collect();
                    // An empty list has no effect.
                    if !words.is_empty() {
                        options.insert("entrypoint".into(), sequence(words));
                    }
                }
                "pull_policy" => pull_policy = self::pull_policy(part, &path, log),
                "docker" => options.extend(docker_options(part, &path.key("docker"), scope, log)),
                "kubernetes" => {
                    log.ignored(&path, part, "images run with the settings of the worker's engine");
                }
                _ => log.unknown_key(
                    &path,
                    part,
                    &["name", "entrypoint", "pull_policy", "docker", "kubernetes"],
                ),
            }
        }
    } else {
        name = Some(&entry.value);
    }
    let Some((text, node)) = name.and_then(|node| values::text(node).map(|text| (text, node))) else {
        log.wrong_type(&path, &entry.value, "the name of an image");
        return (None, pull_policy);
    };
    let Some(name) = image_name(text, node, &path, scope, log) else { return (None, pull_policy) };
    if options.is_empty() {
        return (Some(name.into()), pull_policy);
    }
    let mut image = Mapping::from_iter([("name".into(), name.into())]);
    image.extend(options);
    (Some(Value::Mapping(image)), pull_policy)
}

/// Translates `docker` of an image or a service: `user` and `platform`.
fn docker_options(entry: &MapEntry, path: &Path, scope: &Scope, log: &mut Log) -> Mapping {
    let mut options = Mapping::new();
    for part in values::entries(&entry.value) {
        match (part.key.as_str(), values::text(&part.value)) {
            ("user" | "platform", Some(text)) => {
                if let Some(text) = reference(text, &part.value, &path.key(&part.key), scope, log) {
                    options.insert(part.key.as_str().into(), text.into());
                }
            }
            ("user" | "platform", None) => log.wrong_type(&path.key(&part.key), &part.value, "a string"),
            _ => log.unknown_key(path, part, &["user", "platform"]),
        }
    }
    options
}

/// Translates `pull_policy`: one, or several of which each is tried after the failure of the one before it.
fn pull_policy(entry: &MapEntry, path: &Path, log: &mut Log) -> Option<&'static str> {
    let texts = values::texts(&entry.value, &path.key("pull_policy"), log);
    let words: Vec<&str> = texts.iter().map(|(policy, _)| *policy).collect();
    let policy = in_order(&words);
    if policy.is_none() {
        log.wrong_type(&path.key("pull_policy"), &entry.value, "`always`, `if-not-present` or `never`");
    }
    policy
}

/// Returns the native word for pull policies of which each is tried after the failure of the one before it.
fn in_order(policies: &[&str]) -> Option<&'static str> {
    if !policies.iter().all(|policy| matches!(*policy, "always" | "if-not-present" | "never")) {
        return None;
    }
    let (first, others) = policies.split_first()?;
    let has_other = others.iter().any(|other| other != first);
    Some(match *first {
        "always" if has_other => "always-or-present",
        "always" => "always",
        // What is present was looked for already, and the others pull.
        "never" if !has_other => "never",
        _ => "if-not-present",
    })
}

/// Translates `services`. As in GitLab, each gets the job's variables.
pub(crate) fn services(entry: &MapEntry, path: &Path, scope: &Scope, log: &mut Log) -> Value {
    let path = path.key("services");
    let mut all = Vec::new();
    // A mapping, which is reported already, is no service.
    let items = if values::is_mapping(&entry.value) { Vec::new() } else { values::list(&entry.value) };
    for item in items {
        if let Some(service) = service(item, &path, scope, log) {
            all.push(Value::Mapping(service));
        }
    }
    Value::Sequence(all)
}

fn service(item: &Rc<Node>, path: &Path, scope: &Scope, log: &mut Log) -> Option<Mapping> {
    let mut service = Mapping::new();
    let mut name = Some(item);
    let mut own = Mapping::new();
    let mut fields = Vec::new();
    let mut options = Mapping::new();
    let mut is_reported = false;
    if values::is_mapping(item) {
        name = None;
        for part in values::entries(item) {
            let at = path.key(&part.key);
            match part.key.as_str() {
                "name" => name = Some(&part.value),
                "alias" => {
                    let aliases = values::text(&part.value).unwrap_or_default();
                    let aliases = scope.expand(aliases).unwrap_or_else(|_| aliases.to_owned());
                    let names = aliases.split([' ', ',']).filter(|name| !name.is_empty()).map(str::to_owned);
                    fields.push(("alias", sequence(names.collect())));
                }
                "command" | "entrypoint" => {
                    let texts = values::texts(&part.value, &at, log).into_iter();
                    let texts: Vec<String> = texts
                        .map(|(argument, _)| scope.expand(argument).unwrap_or_else(|_| argument.to_owned()))
                        .collect();
                    let key = if part.key == "command" { "command" } else { "entrypoint" };
                    fields.push((key, sequence(texts)));
                }
                "variables" => {
                    for (name, declared) in variables::read(&part.value, &at, log) {
                        let value = scope.expand(&declared.text).unwrap_or_else(|unknown| {
                            let what = format!("`{unknown}` in the value of `{name}`");
                            log.ignored_at(
                                &at,
                                declared.location,
                                &what,
                                "it is not known before the job runs",
                            );
                            declared.text.clone()
                        });
                        own.insert(name.into(), value.into());
                    }
                }
                "pull_policy" => {
                    if let Some(policy) = pull_policy(part, path, log) {
                        fields.push(("pull_policy", policy.into()));
                    }
                }
                "docker" => options = docker_options(part, &at, scope, log),
                "kubernetes" => {
                    log.ignored(path, part, "services run with the settings of the worker's engine");
                }
                _ => {
                    is_reported = true;
                    log.unknown_key(
                        path,
                        part,
                        &["name", "alias", "command", "entrypoint", "variables", "pull_policy", "docker"],
                    );
                }
            }
        }
    }
    let Some((text, node)) = name.and_then(|node| values::text(node).map(|text| (text, node))) else {
        // One error is enough about a service.
        if !is_reported {
            log.wrong_type(path, item, "the name of an image, or a mapping with `name`");
        }
        return None;
    };
    let image = image_name(text, node, path, scope, log)?;
    service.insert("image".into(), image.into());
    if is_docker_engine(scope.expand(text).as_deref().unwrap_or(text)) {
        // As with the runners of GitLab, a worker has to allow that. A job on one that does not fails before it starts.
        let container: Mapping = [("privileged".into(), true.into())].into_iter().collect();
        service.insert("container".into(), Value::Mapping(container));
        log.changed(
            path,
            node.location,
            "a Docker engine as a service is privileged: the job fails before it starts on a worker whose worker.toml has no \
             `docker = \"sidecar\"` or `privileged = true` for its repository; `build` in a native file builds images without that",
        );
    }
    for (key, value) in fields {
        service.insert(key.into(), value);
    }
    service.extend(options);
    if let Some(port) =
        own.get(HEALTH_CHECK_PORT).and_then(Value::as_str).and_then(|port| port.parse::<u16>().ok())
        && port > 0
    {
        let health: Mapping = [("port".into(), port.into())].into_iter().collect();
        service.insert("health".into(), Value::Mapping(health));
        // In GitLab, a service that is not ready in time is a warning.
        service.insert("required".into(), false.into());
    }
    let mut variables: Mapping =
        scope.fixed_values().map(|(name, value)| (name.into(), value.into())).collect();
    variables.extend(own);
    if !variables.is_empty() {
        service.insert("variables".into(), Value::Mapping(variables));
    }
    Some(service)
}

#[cfg(test)]
mod tests {
    use super::in_order;

    #[test]
    fn pull_policies_are_tried_in_their_order() {
        for (policies, expected) in [
            (&["always"][..], Some("always")),
            (&["always", "always"], Some("always")),
            (&["always", "if-not-present"], Some("always-or-present")),
            (&["always", "never"], Some("always-or-present")),
            (&["if-not-present", "always"], Some("if-not-present")),
            (&["never"], Some("never")),
            (&["never", "if-not-present"], Some("if-not-present")),
            (&["always", "sometimes"], None),
            (&[], None),
        ] {
            assert_eq!(in_order(policies), expected, "{policies:?}");
        }
    }
}
