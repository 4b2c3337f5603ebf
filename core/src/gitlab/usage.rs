//! Reports the variables that a GitLab file uses and nobody sets.

use std::collections::HashSet;
use std::rc::Rc;

use super::conditions::rules::location_in;
use super::findings::Log;
use super::predefined_names::is_never_set;
use super::settings::TranslateOptions;
use super::values;
use crate::execution::predefined;
use crate::pipeline::finding::{Finding, FindingLocation, Path};
use crate::pipeline::is_variable_name;
use crate::pipeline::yaml::tree::{Kind, Node};
use crate::text::diagnostics::Location;
use crate::text::shell_variables::{ShellVariables, VariableUse};

/// The keys with shell commands.
const SCRIPT_KEYS: [&str; 3] = ["before_script", "script", "after_script"];

/// Variables of the login at a registry that the server stores for a repository.
const REGISTRY: [&str; 4] = ["CI_REGISTRY", "CI_REGISTRY_IMAGE", "CI_REGISTRY_PASSWORD", "CI_REGISTRY_USER"];

/// Variables that shells, images and workers set.
const ENVIRONMENT: [&str; 46] = [
    "BASH",
    "BASHPID",
    "BASH_REMATCH",
    "BASH_SOURCE",
    "BASH_VERSION",
    "DEBIAN_FRONTEND",
    "EDITOR",
    "EPOCHSECONDS",
    "EUID",
    "FUNCNAME",
    "GID",
    "GOBIN",
    "GOPATH",
    "GOROOT",
    "HOME",
    "HOSTNAME",
    "IFS",
    "JAVA_HOME",
    "LANG",
    "LASTEXITCODE",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "LINENO",
    "LOGNAME",
    "NODE_VERSION",
    "OLDPWD",
    "OPTARG",
    "OPTIND",
    "OSTYPE",
    "PATH",
    "PIPESTATUS",
    "PPID",
    "PS1",
    "PS4",
    "PWD",
    "PYTHONPATH",
    "RANDOM",
    "REPLY",
    "SECONDS",
    "SHELL",
    "SHLVL",
    "TERM",
    "TMPDIR",
    "UID",
    "USER",
    "_",
];

/// Reports each of GitLab's predefined variables that the file uses and that is never set here, where it is first used. On
/// request, also reports the other variables that nobody sets, and those of a registry.
pub(crate) fn report(root: &Rc<Node>, settings: &TranslateOptions, log: &mut Log) {
    let mut usage = Usage::default();
    for entry in values::entries(root).iter().filter(|entry| !entry.key.starts_with('.')) {
        let sets_others = values::is_mapping(&entry.value) && sets_unknown_variables(&entry.value);
        usage.visit(&entry.value, &entry.key, &Path::default().key(&entry.key), sets_others);
    }
    let has_unknown_outputs = usage.add_outputs(root);
    let is_set = |name: &str| usage.set.contains(name) || settings.external.contains(name);
    for Use { name, path, at, may_be_set } in &usage.uses {
        if is_set(name) {
            continue;
        }
        let place = FindingLocation::Position(path.clone(), *at);
        if is_never_set(name) {
            let message = format!("`${name}` is a variable of GitLab that is not set here");
            let help = format!("if the jobs need it, set it: tidemill variable set {name}");
            log.findings.push(Finding::error("gitlab-variable", place, message).warning().help(help));
        } else if settings.reports_unset_variables && REGISTRY.contains(&name.as_str()) {
            if settings.external.registry.is_none() {
                let message = format!(
                    "`${name}` is that of the repository's login at a registry, and is not set without one"
                );
                let help = format!(
                    "store the login on the server with `tidemill registry add`, or set the variable: tidemill variable set {name}"
                );
                log.findings.push(Finding::error("registry-variable", place, message).warning().help(help));
            }
        } else if settings.reports_unset_variables && !has_unknown_outputs && !may_be_set && is_listed(name) {
            let message = format!("nothing in this file sets `${name}`");
            let help = format!(
                "set it for all executions with `tidemill variable set {name}`, or for one with `-e {name}=VALUE`"
            );
            log.findings.push(Finding::error("unset-variable", place, message).warning().help(help));
        }
    }
}

/// Whether a variable is listed if nothing sets it: names in lowercase are those of scripts.
fn is_listed(name: &str) -> bool {
    !name.contains(|c: char| c.is_ascii_lowercase())
        && !predefined::is_predefined(name)
        && !name.starts_with("TIDEMILL_")
        && ENVIRONMENT.binary_search(&name).is_err()
}

/// Whether the scripts of a job read other files that may set variables.
fn sets_unknown_variables(job: &Node) -> bool {
    let scripts = SCRIPT_KEYS.iter().filter_map(|key| job.get(key));
    let mut lines =
        scripts.flat_map(|entry| values::list(&entry.value)).filter_map(|line| values::text(line));
    lines.any(|line| ShellVariables::of(line).reads_files)
}

/// The use of a variable.
struct Use {
    name: String,
    path: Path,
    at: Location,
    /// Whether something may set it that cannot be seen.
    may_be_set: bool,
}

/// The variables that a file sets and uses.
#[derive(Default)]
struct Usage {
    set: HashSet<String>,
    /// The first use of each variable.
    uses: Vec<Use>,
    used: HashSet<String>,
    /// The nodes that were visited: templates are shared by jobs.
    visited: HashSet<*const Node>,
}

/// Returns the names that a text assigns values to, also within strings, as in `echo "NAME=value" >> file`.
fn assigned_names(text: &str) -> impl Iterator<Item = &str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices('=').filter_map(move |(at, _)| {
        let before = &text[..at];
        let name = &before[before.trim_end_matches(is_name).len()..];
        is_variable_name(name).then_some(name)
    })
}

impl Usage {
    /// Adds the variables that jobs write into their reports for others, as far as their scripts show them. Returns whether there
    /// may be others.
    fn add_outputs(&mut self, root: &Node) -> bool {
        let mut has_unknown = false;
        for job in values::entries(root).iter().map(|entry| &entry.value) {
            let reports = job.get("artifacts").and_then(|artifacts| artifacts.value.get("reports"));
            if reports.is_none_or(|reports| reports.value.get("dotenv").is_none()) {
                continue;
            }
            let scripts = SCRIPT_KEYS.iter().filter_map(|key| job.get(key));
            let lines =
                scripts.flat_map(|entry| values::list(&entry.value)).filter_map(|line| values::text(line));
            let names: Vec<String> = lines.flat_map(assigned_names).map(str::to_owned).collect();
            has_unknown |= names.is_empty();
            self.set.extend(names);
        }
        has_unknown
    }

    fn visit(&mut self, node: &Rc<Node>, key: &str, path: &Path, may_be_set: bool) {
        if !self.visited.insert(Rc::as_ptr(node)) {
            return;
        }
        match &node.kind {
            Kind::Mapping(mapping) => {
                // The shell gets a value that is not expanded as it is written.
                let is_raw =
                    node.get("expand").is_some_and(|entry| values::flag(&entry.value) == Some(false));
                for entry in &mapping.entries {
                    let is_refused =
                        key == "needs" && ["pipeline", "project", "ref"].contains(&entry.key.as_str());
                    if is_refused || is_raw && key == "value" && entry.key == "value" {
                        continue;
                    }
                    if ["variables", "matrix", "id_tokens", "secrets"].contains(&key) {
                        self.set.insert(entry.key.clone());
                    }
                    // The parts of a variable are not variables.
                    let key = if key == "variables" { "value" } else { entry.key.as_str() };
                    self.visit(&entry.value, key, &path.key(&entry.key), may_be_set);
                }
            }
            Kind::Sequence(items) => items.iter().for_each(|item| self.visit(item, key, path, may_be_set)),
            Kind::Scalar { .. } => {
                let Some(text) = values::text(node).filter(|_| key != "description") else { return };
                let found = if SCRIPT_KEYS.contains(&key) {
                    ShellVariables::of(text)
                } else {
                    ShellVariables::of_references(text)
                };
                self.set.extend(found.set);
                let characters = text.chars().count();
                for VariableUse { name, at, length } in found.used {
                    // Only the first use of each is reported.
                    if !self.used.insert(name.clone()) {
                        continue;
                    }
                    let at = location_in(node, characters, at, length);
                    self.uses.push(Use { name, path: path.clone(), at, may_be_set });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ENVIRONMENT;

    #[test]
    fn known_names_are_in_order() {
        assert!(ENVIRONMENT.is_sorted());
    }
}
