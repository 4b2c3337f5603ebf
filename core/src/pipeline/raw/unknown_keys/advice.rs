//! Advice on unknown keys: planned keys, keys with another name here, and keys in the wrong mapping.

use super::synonyms;
use crate::pipeline::finding::{Finding, FindingLocation, Path, Segment, quoted};
use crate::pipeline::yaml::tree::{Kind, MapEntry, Node};
use crate::text::suggest::Suggestions;

/// Kinds of reports, some of them of GitLab.
const REPORTS: [&str; 7] = ["codequality", "coverage", "coverage_report", "dotenv", "junit", "sarif", "sast"];

/// The keys of `defaults`.
pub(crate) const DEFAULTS_KEYS: &[&str] = &[
    "image",
    "variables",
    "artifacts",
    "allow_failure",
    "before_script",
    "after_script",
    "services",
    "cache",
    "secrets",
    "container",
    "checkout",
    "runs_on",
    "interruptible",
    "retry",
    "timeout",
    "working_dir",
    "resources",
    "pull_policy",
];

/// Keys that are planned. They are errors, as a job with an ignored `parallel` would do less than it seems to.
const UNSUPPORTED_KEYS: &[&str] =
    &["hooks", "inherit", "permissions", "release", "tags", "trigger", "workflow"];

/// The keys of `container`.
pub(crate) const CONTAINER_KEYS: &[&str] = &[
    "shm_size",
    "ulimits",
    "tmpfs",
    "devices",
    "gpus",
    "cap_add",
    "privileged",
    "network",
    "extra_hosts",
    "dns",
];

/// An unknown key of a mapping.
pub(crate) struct UnknownKey {
    pub(crate) finding: Finding,
    /// The key that was probably meant.
    pub(crate) suggested_key: Option<&'static str>,
}

/// Reports an unknown key of a mapping.
pub(crate) fn unknown_key(
    path: &Path,
    spot: FindingLocation,
    value: &Node,
    called: &str,
    known: &'static [&'static str],
    suggestions: &Suggestions,
) -> UnknownKey {
    let found = |finding: Finding| UnknownKey { finding, suggested_key: None };
    let Some(Segment::Key(key)) = path.last() else {
        return found(Finding::error("unknown-key", spot, "this key is unknown"));
    };
    let key = key.as_ref();
    let top_level = path.depth() == 1;
    if top_level && looks_like_job(value) {
        let message = format!("the job {} is at the top level of the file", quoted(key));
        return found(Finding::error("job-at-top-level", spot, message).help("move it under `jobs:`"));
    }
    if UNSUPPORTED_KEYS.contains(&key) {
        let advice = match key {
            "tags" => "remove it, and use `runs_on: { name: value }` to choose workers by their labels",
            _ => "remove it, as it would have no effect",
        };
        let message = format!("`{key}` is planned but does not work yet");
        return found(Finding::error("planned-key", spot, message).help(advice));
    }
    if top_level && key == "pipeline" && matches!(value.kind, Kind::Mapping(_)) {
        let message = "the keys of a pipeline are at the top level of the file, not under `pipeline`";
        return found(
            Finding::error("unknown-key", spot, message)
                .help("move `name`, `stages` and `jobs` to the top level"),
        );
    }
    let finding = Finding::error("unknown-key", spot, format!("{called} has no key {}", quoted(key)));
    if top_level && key == "script" {
        let finding = finding.help("put it into a job: `jobs: { build: { script: [...] } }`");
        return UnknownKey { finding, suggested_key: Some("jobs") };
    }
    // In other systems it holds the variables of a job.
    if known.contains(&"on_stop") && suggestions.nearest(key, known.iter().copied()).is_none() {
        let finding = finding.help("variables of a job are called `variables` here");
        return UnknownKey { finding, suggested_key: Some("name") };
    }
    // Other systems have services by their names.
    let is_service = known.contains(&"ready_within");
    if is_service && value.get("image").is_some() {
        let help = format!("write a list: `services: [{{ image: ..., alias: {key} }}]`");
        return UnknownKey { finding: finding.help(help), suggested_key: Some("image") };
    }
    if REPORTS.contains(&key) && known.contains(&"expose_as") {
        let finding = finding.help(format!("it belongs under `reports`: `reports: {{ {key}: ... }}`"));
        return UnknownKey { finding, suggested_key: Some("paths") };
    }
    if key == "reports" && known.contains(&"artifacts") {
        return found(finding.help("it belongs under `artifacts`: `artifacts: { reports: ... }`"));
    }
    if key == "image" && known == CONTAINER_KEYS {
        return found(finding.help("`image` is a key of the job itself"));
    }
    if !top_level && key == "include" {
        return found(
            finding.help(format!("`{key}` is a key of the whole pipeline: move it to the top level")),
        );
    }
    if top_level && DEFAULTS_KEYS.contains(&key) {
        return found(finding.help(format!("put `{key}` under `defaults:` to give it to every job")));
    }
    if CONTAINER_KEYS.contains(&key) && known.contains(&"container") {
        return found(finding.help(format!("it belongs in `container: {{ {key}: ... }}`")));
    }
    if matches!(key, "changes" | "exists") && known.contains(&"rules") {
        return found(finding.help(format!("it belongs in a rule: `rules: [{{ {key}: [\"src/**\"] }}]`")));
    }
    // A report of a kind that is unknown here names a file all the same.
    let is_report = known.contains(&"junit") && known.contains(&"sarif");
    let otherwise = is_report.then_some("junit");
    if let Some(synonym) = synonyms::find(key, known) {
        return UnknownKey { finding: finding.help(synonym.help), suggested_key: synonym.key.or(otherwise) };
    }
    match suggestions.nearest(key, known.iter().copied()) {
        Some(near) => UnknownKey {
            finding: finding.help(format!("did you mean `{near}`?")),
            suggested_key: known.iter().copied().find(|key| *key == near),
        },
        None => UnknownKey {
            finding: finding.help(format!("its keys are: {}", known.join(", "))),
            suggested_key: otherwise,
        },
    }
}

/// Reports services that are written as a mapping with their names, `{ db: { image: .. } }`, in place of a list.
pub(crate) fn named_services(path: &Path, node: &Node, known: &[&str]) -> Option<Finding> {
    let Kind::Mapping(mapping) = &node.kind else { return None };
    let is_service = known.contains(&"ready_within");
    let first = mapping.entries.first().filter(|_| is_service)?;
    let is_named = |entry: &MapEntry| {
        !known.contains(&entry.key.as_str())
            && (entry.value.is_null() || matches!(entry.value.kind, Kind::Mapping(_)))
    };
    if !mapping.entries.iter().all(is_named) {
        return None;
    }
    let image = first.value.get("image").and_then(|entry| match &entry.value.kind {
        Kind::Scalar { text, .. } => Some(text.as_str()),
        _ => None,
    });
    let image = image.unwrap_or("IMAGE");
    let message = "services are a list, not a mapping with their names".to_owned();
    let help = format!("write each as an item: `- {{ image: \"{image}\", alias: {} }}`", first.key);
    let spot = FindingLocation::Position(path.clone(), first.key_location);
    Some(Finding::error("wrong-type", spot, message).help(help))
}

fn looks_like_job(value: &Node) -> bool {
    let keys = ["script", "stage", "image", "needs"];
    matches!(value.kind, Kind::Mapping(_)) && keys.iter().any(|key| value.get(key).is_some())
}

/// Advice for a known key with a value of another shape, as in other CI systems.
pub(crate) fn shape_advice(path: &Path, node: &Node) -> Option<String> {
    let Some(Segment::Key(key)) = path.last() else { return None };
    let advice = match (key.as_ref(), &node.kind) {
        ("artifacts", Kind::Sequence(_)) => "write `artifacts: { paths: [...] }`",
        ("on", Kind::Scalar { .. } | Kind::Sequence(_)) => "write `on: { push: {} }`",
        ("variables", Kind::Sequence(_)) => "write each as `NAME: value`",
        ("matrix", Kind::Sequence(_)) => {
            "write each as `key: [value, value]`; the job runs for every combination"
        }
        ("rules", Kind::Mapping(_)) => "write each rule as an item: `- if: branch == default_branch`",
        ("changes" | "exists", Kind::Mapping(_)) => "write the globs themselves: `[\"src/**\"]`",
        ("runs_on", Kind::Scalar { .. } | Kind::Sequence(_)) => {
            "write labels, as in `runs_on: { arch: arm64 }`"
        }
        ("secrets", Kind::Mapping(_)) => "write a list of names, or of `{ name: .., variable: .. }`",
        ("container", Kind::Scalar { .. }) => "the image of a job is called `image` here",
        ("stages", _) if synonyms::holds_mappings(node) => {
            "write their names, `stages: [build, test]`, and put the jobs under `jobs`, each with its `stage`"
        }
        ("resources", Kind::Scalar { .. }) => "write `resources: { cpus: 2, memory: 2GiB }`",
        _ => return None,
    };
    Some(advice.to_owned())
}
