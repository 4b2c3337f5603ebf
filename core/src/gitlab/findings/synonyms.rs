//! Words of other CI systems in GitLab files, and the keys that mean the same in GitLab.

use crate::pipeline::finding::quoted;
use crate::pipeline::yaml::tree::{Kind, MapEntry, Node};
use crate::pipeline::{called, counterpart, without_counterpart};

/// Keys of other CI systems and their names in GitLab.
const SYNONYMS: &[(&str, &str)] = &[
    ("agent", "tags"),
    ("agents", "tags"),
    ("bash", "script"),
    ("before_install", "before_script"),
    ("caches", "cache"),
    ("cmd", "script"),
    ("command", "script"),
    ("commands", "script"),
    ("concurrency", "resource_group"),
    ("concurrency_group", "resource_group"),
    ("condition", "rules"),
    ("container", "image"),
    ("container_image", "image"),
    ("continue_on_error", "allow_failure"),
    ("defaults", "default"),
    ("depends", "needs"),
    ("depends_on", "needs"),
    ("docker", "image"),
    ("docker_image", "image"),
    ("env", "variables"),
    ("env_vars", "variables"),
    ("environment_variables", "variables"),
    ("envs", "variables"),
    ("exec", "script"),
    ("finally", "after_script"),
    ("if", "rules"),
    ("image_name", "image"),
    ("install", "before_script"),
    ("labels", "tags"),
    ("matrix", "parallel"),
    ("parallelism", "parallel"),
    ("pool", "tags"),
    ("post", "after_script"),
    ("requires", "needs"),
    ("retries", "retry"),
    ("run", "script"),
    ("runs-on", "tags"),
    ("runs_on", "tags"),
    ("service", "services"),
    ("sh", "script"),
    ("sidecars", "services"),
    ("soft_fail", "allow_failure"),
    ("step", "script"),
    ("steps", "script"),
    ("strategy", "parallel"),
    ("timeout_in_minutes", "timeout"),
    ("timeout_minutes", "timeout"),
    ("vars", "variables"),
];

/// Keys at the top of files of other CI systems that GitLab does not have, and what to do instead.
const AT_TOP: &[(&str, &str)] = &[
    ("defaults", "it is called `default` here"),
    ("env", "it is called `variables` here"),
    ("jobs", "write the jobs at the top of the file, each by its name"),
    ("kind", "remove it: the whole file is one pipeline"),
    ("name", "name the pipeline with `workflow: name`"),
    ("on", "write when the pipeline runs under `workflow: rules`"),
    ("orbs", "write what they do under `script`, or share jobs with `include`"),
    ("pipeline", "write its keys at the top of the file"),
    ("pipelines", "write the jobs at the top of the file, each by its name"),
    ("script", "put it into a job: `build: { script: [...] }`"),
    ("steps", "write jobs at the top of the file, each by its name, with a `script`"),
    ("tasks", "write the jobs at the top of the file, each by its name"),
    ("version", "remove it: a pipeline file has no version"),
    ("vars", "it is called `variables` here"),
    ("workflows", "write the jobs at the top of the file, each by its name"),
];

/// Keys that belong in another mapping of GitLab: the key, a key of the mapping that it is in, and the advice.
const MISPLACED: &[(&str, &str, &str)] = &[
    ("codequality", "expose_as", IN_REPORTS),
    ("coverage_report", "expose_as", IN_REPORTS),
    ("dotenv", "expose_as", IN_REPORTS),
    ("junit", "expose_as", IN_REPORTS),
    ("sast", "expose_as", IN_REPORTS),
    ("expire_in", "artifacts", IN_ARTIFACTS),
    ("expose_as", "artifacts", IN_ARTIFACTS),
    ("reports", "artifacts", IN_ARTIFACTS),
    ("paths", "artifacts", "it belongs under `artifacts` or `cache`"),
    ("fallback_keys", "artifacts", "it belongs under `cache`"),
    ("policy", "artifacts", "it belongs under `cache`"),
    ("pull_policy", "artifacts", "it belongs under `image`"),
    ("entrypoint", "artifacts", "it belongs under `image`"),
    ("changes", "artifacts", "it belongs in a rule: `rules: [{ changes: [...] }]`"),
    ("exists", "artifacts", "it belongs in a rule: `rules: [{ exists: [...] }]`"),
    ("url", "artifacts", "it belongs under `environment`"),
    ("on_stop", "artifacts", "it belongs under `environment`"),
    ("environment", "alias", "it is called `variables` here"),
    ("image", "alias", "it is called `name` here"),
];

const IN_REPORTS: &str = "it belongs under `reports`: `artifacts: { reports: { ... } }`";
const IN_ARTIFACTS: &str = "it belongs under `artifacts`";

/// Returns the advice on a key that is not one of `known`, if it is that of another CI system.
pub(crate) fn advice(key: &str, known: &[&str]) -> Option<String> {
    let misplaced = MISPLACED.iter().find(|(theirs, beside, _)| *theirs == key && known.contains(beside));
    if let Some((.., advice)) = misplaced {
        return Some((*advice).to_owned());
    }
    let name = counterpart(key, SYNONYMS, known).filter(|name| *name != key);
    name.map(called).or_else(|| without_counterpart(key).map(str::to_owned))
}

/// Whether a job has the key `key` under a name of another CI system, which is reported.
pub(crate) fn is_written_elsewhere(job: &Node, key: &str) -> bool {
    let replaces = |other: &str| {
        let does = key == "script" && without_counterpart(other).is_some();
        does || counterpart(other, SYNONYMS, &[key]).is_some()
    };
    let Kind::Mapping(mapping) = &job.kind else { return false };
    mapping.entries.iter().any(|entry| entry.key != key && replaces(&entry.key))
}

/// Returns the message and the advice about an entry at the top that is no job, but a key of another CI system.
pub(crate) fn at_top(entry: &MapEntry) -> Option<(String, &'static str)> {
    let (_, advice) = AT_TOP.iter().find(|(key, _)| *key == entry.key)?;
    let is_job = ["script", "trigger", "extends", "run"].iter().any(|key| entry.value.get(key).is_some());
    (!is_job).then(|| (format!("{} is neither a job nor a key of GitLab", quoted(&entry.key)), *advice))
}
