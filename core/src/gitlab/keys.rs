//! The keys that GitLab's files may have, and which of them are supported.

use std::collections::HashSet;

use crate::gitlab::findings::Log;
use crate::gitlab::values;
use crate::pipeline::finding::Path;
use crate::pipeline::yaml::tree::{MapEntry, Node};

/// Keys at the top of a file that are no jobs.
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

/// Keys at the top that jobs inherit, as those of `default` are.
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

/// Keys of a job that are supported.
pub(crate) const SUPPORTED: [&str; 25] = [
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
    "image",
    "inherit",
    "interruptible",
    "needs",
    "only",
    "parallel",
    "retry",
    "rules",
    "script",
    "services",
    "stage",
    "tags",
    "timeout",
    "variables",
    "when",
];

/// Keys of a job that have no effect, and what that means.
pub(crate) const IGNORED_KEYS: [(&str, &str); 7] = [
    (
        "resource_group",
        "jobs of several executions may run at the same time; `concurrency` of a native file makes executions wait",
    ),
    ("release", "no release is made; let the script make it"),
    ("pages", "nothing is published; the files are artifacts"),
    ("publish", "nothing is published; the files are artifacts"),
    ("start_in", "a job waits for an approval, not for a time"),
    ("manual_confirmation", "approvals are given without another question"),
    ("dast_configuration", "it is for a service of GitLab's"),
];

/// Keys of a job without which it would do something else, and what to do instead.
pub(crate) const UNSUPPORTED_KEYS: [(&str, &str, &str); 7] = [
    (
        "trigger",
        "pipelines of other files or repositories are not started",
        "put the jobs of that pipeline into this file with `include: local`",
    ),
    (
        "secrets",
        "secrets do not come from a vault",
        "keep them with `tidemill secret set`, and name them under `secrets` of a native file",
    ),
    (
        "id_tokens",
        "no such tokens are made",
        "give the job a secret with `tidemill secret set`, named in a native file",
    ),
    (
        "identity",
        "no such tokens are made",
        "give the job a secret with `tidemill secret set`, named in a native file",
    ),
    ("hooks", "nothing of the job runs before its sources are there", "put the lines into `before_script`"),
    ("run", "steps are not run", "put the lines into `script`"),
    ("inputs", "jobs take no inputs", "write the values into the job"),
];

/// Reports the keys of a job that are not supported.
pub(crate) fn check_job(job: &MapEntry, path: &Path, log: &mut Log) {
    let node = &job.value;
    for entry in values::entries(node) {
        let key = entry.key.as_str();
        if SUPPORTED.contains(&key) {
            continue;
        }
        let off = entry.value.is_null() || values::flag(&entry.value) == Some(false);
        if let Some((_, why)) = IGNORED_KEYS.iter().find(|(known, _)| *known == key) {
            if !off {
                log.ignored(path, entry, why);
            }
        } else if let Some((_, why, help)) = UNSUPPORTED_KEYS.iter().find(|(known, ..)| *known == key) {
            if !off {
                log.refused(path, entry, why, help);
            }
        } else {
            let known: Vec<&str> =
                SUPPORTED.into_iter().chain(IGNORED_KEYS.iter().map(|(key, _)| *key)).collect();
            log.unknown(path, entry, &known);
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

/// What a job inherits from the top of the file.
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
    fn takes(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::Only(names) => names.contains(name),
        }
    }
}

impl InheritedKeys {
    /// Reads `inherit`.
    pub(crate) fn read(node: &Node, path: &Path, log: &mut Log) -> Self {
        let mut all = Self { default: KeySelection::All, variables: KeySelection::All };
        let Some(entry) = node.get("inherit") else { return all };
        let path = path.key("inherit");
        for part in values::entries(&entry.value) {
            let at = path.key(&part.key);
            let taken = match values::flag(&part.value) {
                Some(true) => KeySelection::All,
                Some(false) => KeySelection::None,
                None => {
                    let names = values::texts(&part.value, &at, log);
                    KeySelection::Only(names.into_iter().map(|(name, _)| name.to_owned()).collect())
                }
            };
            match part.key.as_str() {
                "default" => all.default = taken,
                "variables" => all.variables = taken,
                _ => log.unknown(&path, part, &["default", "variables"]),
            }
        }
        all
    }

    /// Whether the job takes over this key.
    pub(crate) fn default(&self, key: &str) -> bool {
        self.default.takes(key)
    }

    /// Whether the job takes over this variable.
    pub(crate) fn variable(&self, name: &str) -> bool {
        self.variables.takes(name)
    }

    /// Whether it takes over all variables.
    pub(crate) fn all_variables(&self) -> bool {
        matches!(self.variables, KeySelection::All)
    }
}
