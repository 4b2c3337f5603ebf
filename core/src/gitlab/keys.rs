//! The keys of GitLab files, and which of them are supported.

use std::collections::HashSet;

use crate::gitlab::findings::Log;
use crate::gitlab::values;
use crate::pipeline::finding::{Path, quoted};
use crate::pipeline::yaml::tree::{MapEntry, Node};

/// Top-level keys that are not jobs.
pub(crate) const TOP: [&str; 12] = [
    "default",
    "include",
    "stages",
    "types",
    "variables",
    "workflow",
    "image",
    "services",
    "cache",
    "before_script",
    "after_script",
    "spec",
];

/// Top-level keys that jobs inherit like those of `default`.
pub(crate) const GLOBAL_KEYS: [&str; 5] = ["image", "services", "cache", "before_script", "after_script"];

/// Keys of `default`.
pub(crate) const DEFAULT_KEYS: [&str; 13] = [
    "after_script",
    "artifacts",
    "before_script",
    "cache",
    "hooks",
    "id_tokens",
    "identity",
    "image",
    "interruptible",
    "retry",
    "services",
    "tags",
    "timeout",
];

/// Supported keys of a job.
pub(crate) const SUPPORTED: [&str; 29] = [
    "after_script",
    "allow_failure",
    "artifacts",
    "before_script",
    "cache",
    "coverage",
    "dependencies",
    "environment",
    "except",
    "extends",
    "id_tokens",
    "image",
    "inherit",
    "interruptible",
    "needs",
    "only",
    "parallel",
    "resource_group",
    "retry",
    "rules",
    "script",
    "services",
    "stage",
    "start_in",
    "tags",
    "timeout",
    "trigger",
    "variables",
    "when",
];

/// Keys of a job that are ignored, and the effect.
pub(crate) const IGNORED_KEYS: [(&str, &str); 5] = [
    ("release", "no release is created; create it in the script"),
    ("pages", "nothing is published; the files are artifacts"),
    ("publish", "nothing is published; the files are artifacts"),
    ("manual_confirmation", "approvals need no second confirmation"),
    ("dast_configuration", "it configures a GitLab service"),
];

/// Keys of a job that cannot be ignored, and what to do instead.
pub(crate) const UNSUPPORTED_KEYS: [(&str, &str, &str); 5] = [
    (
        "secrets",
        "secrets cannot be read from a vault",
        "store them with `tidemill secret set`, and name them under `secrets` of a native file",
    ),
    (
        "identity",
        "jobs are not logged in to clouds",
        "ask for a token with `id_tokens`, and log in with it in the script",
    ),
    (
        "hooks",
        "a job cannot run commands before its sources are fetched",
        "put the lines into `before_script`",
    ),
    ("run", "steps are not run", "put the lines into `script`"),
    ("inputs", "jobs take no inputs", "write the values into the job"),
];

/// Reports the unsupported keys of a job.
pub(crate) fn check_job(job: &MapEntry, path: &Path, log: &mut Log) {
    let node = &job.value;
    for entry in values::entries(node) {
        let key = entry.key.as_str();
        if SUPPORTED.contains(&key) {
            continue;
        }
        let is_disabled = entry.value.is_null() || values::flag(&entry.value) == Some(false);
        if let Some((_, why)) = IGNORED_KEYS.iter().find(|(known, _)| *known == key) {
            if !is_disabled {
                log.ignored(path, entry, why);
            }
        } else if let Some((_, why, help)) = UNSUPPORTED_KEYS.iter().find(|(known, ..)| *known == key) {
            if !is_disabled {
                log.unsupported(path, entry, why, help);
            }
        } else {
            let known: Vec<&str> =
                SUPPORTED.into_iter().chain(IGNORED_KEYS.iter().map(|(key, _)| *key)).collect();
            log.unknown_key(path, entry, &known);
        }
    }
    if job.key == "pages" && node.get("pages").is_none() {
        log.ignored_at(
            path,
            job.key_location,
            "the job `pages`",
            "nothing is published; the files are artifacts",
        );
    }
}

/// The keys and variables that a job inherits from the top of the file.
pub(crate) struct InheritedKeys {
    default: KeySelection,
    variables: KeySelection,
}

enum KeySelection {
    All,
    None,
    Only(HashSet<String>),
}

impl KeySelection {
    fn includes(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::Only(names) => names.contains(name),
        }
    }
}

impl InheritedKeys {
    /// Parses `inherit`.
    pub(crate) fn read(node: &Node, path: &Path, log: &mut Log) -> Self {
        let mut all = Self { default: KeySelection::All, variables: KeySelection::All };
        let Some(entry) = node.get("inherit") else { return all };
        let path = path.key("inherit");
        for part in values::entries(&entry.value) {
            let at = path.key(&part.key);
            let selection = match values::flag(&part.value) {
                Some(true) => KeySelection::All,
                Some(false) => KeySelection::None,
                None => {
                    let names = values::texts(&part.value, &at, log);
                    if part.key == "default" {
                        for (name, node) in &names {
                            if !DEFAULT_KEYS.contains(name) {
                                let message = format!("{} is not a key of `default`", quoted(name));
                                log.invalid(&at, node.location, message);
                            }
                        }
                    }
                    KeySelection::Only(names.into_iter().map(|(name, _)| name.to_owned()).collect())
                }
            };
            match part.key.as_str() {
                "default" => all.default = selection,
                "variables" => all.variables = selection,
                _ => log.unknown_key(&path, part, &["default", "variables"]),
            }
        }
        all
    }

    /// Whether the job inherits this key.
    pub(crate) fn default(&self, key: &str) -> bool {
        self.default.includes(key)
    }

    /// Whether the job inherits this variable.
    pub(crate) fn variable(&self, name: &str) -> bool {
        self.variables.includes(name)
    }

    /// Whether the job inherits all variables.
    pub(crate) fn all_variables(&self) -> bool {
        matches!(self.variables, KeySelection::All)
    }
}
