//! Words of other CI systems, and the keys that mean the same here.

use crate::pipeline::finding::{Path, Segment};
use crate::pipeline::yaml::tree::{Kind, Node};

/// Keys of other CI systems and their names here. The first whose name here is a key of the mapping applies.
const SYNONYMS: &[(&str, &str)] = &[
    ("add_host", "extra_hosts"),
    ("after", "needs"),
    ("agent", "runs_on"),
    ("agents", "runs_on"),
    ("aliases", "alias"),
    ("artifact", "artifacts"),
    ("artifact", "file"),
    ("as", "variable"),
    ("bash", "script"),
    ("before_install", "before_script"),
    ("branches", "rules"),
    ("caches", "cache"),
    ("capabilities", "cap_add"),
    ("cmd", "script"),
    ("command", "script"),
    ("commands", "script"),
    ("concurrency_group", "concurrency"),
    ("condition", "if"),
    ("container_image", "image"),
    ("continue_on_error", "allow_failure"),
    ("cpu", "cpus"),
    ("cron", "schedule"),
    ("cwd", "working_dir"),
    ("default", "defaults"),
    ("depends", "needs"),
    ("depends_on", "needs"),
    ("docker", "image"),
    ("docker_image", "image"),
    ("env", "variables"),
    ("env", "variable"),
    ("env_vars", "variables"),
    ("environment_variables", "variables"),
    ("environments", "variables"),
    ("envs", "variables"),
    ("except", "rules"),
    ("exec", "script"),
    ("expression", "cron"),
    ("finally", "after_script"),
    ("image_name", "image"),
    ("install", "before_script"),
    ("job", "artifact_of"),
    ("labels", "runs_on"),
    ("max_retries", "retry"),
    ("mem", "memory"),
    ("merge_request", "pull_request"),
    ("merge_requests", "pull_request"),
    ("network_mode", "network"),
    ("only", "rules"),
    ("parallelism", "parallel"),
    ("pipelines", "jobs"),
    ("pool", "runs_on"),
    ("post", "after_script"),
    ("pull_requests", "pull_request"),
    ("requires", "needs"),
    ("resource_group", "concurrency"),
    ("restore_keys", "fallback_keys"),
    ("retries", "retry"),
    ("retry_count", "retry"),
    ("run", "script"),
    ("runs-on", "image"),
    ("secret", "secrets"),
    ("service", "services"),
    ("sh", "script"),
    ("shm", "shm_size"),
    ("sidecars", "services"),
    ("soft_fail", "allow_failure"),
    ("stage", "stages"),
    ("steps", "script"),
    ("steps", "jobs"),
    ("strategy", "matrix"),
    ("tasks", "jobs"),
    ("timeout_in_minutes", "timeout"),
    ("timeout_minutes", "timeout"),
    ("timezone", "time_zone"),
    ("triggers", "on"),
    ("tz", "time_zone"),
    ("vars", "variables"),
    ("workdir", "working_dir"),
    ("workflows", "jobs"),
    ("working_directory", "working_dir"),
];

/// Keys of other CI systems without a counterpart, and what to do instead.
const WITHOUT_COUNTERPART: &[(&str, &str)] = &[
    ("apiVersion", "remove it: a pipeline file has no version"),
    ("displayName", "remove it: a job is shown with its key"),
    ("dotenv", "name the file under `outputs` of the job"),
    ("language", "choose an `image` that has its tools"),
    ("orbs", "write what they do under `script`, or share jobs with `include`"),
    ("plugins", "write what they do under `script`"),
    ("uses", "write what the action does under `script`, or share jobs with `include`"),
    ("version", "remove it: a pipeline file has no version"),
    ("with", "write the values where they are used"),
];

/// The advice on a key of another CI system.
pub(super) struct Synonym {
    pub(super) help: String,
    /// The key to use, if there is one.
    pub(super) key: Option<&'static str>,
}

/// Returns the advice on `key`, for a mapping with the keys `known`.
pub(super) fn find(key: &str, known: &'static [&'static str]) -> Option<Synonym> {
    if let Some(ours) = counterpart(key, SYNONYMS, known) {
        return Some(Synonym { help: called(ours), key: Some(ours) });
    }
    Some(Synonym { help: without_counterpart(key)?.to_owned(), key: None })
}

/// Returns the advice to use the key `ours`.
pub(crate) fn called(ours: &str) -> String {
    format!("it is called `{ours}` here")
}

/// Returns the key of `known` that means the same as `key`, by a table of keys and their names here, or by its form.
pub(crate) fn counterpart<'k>(key: &str, table: &[(&str, &str)], known: &[&'k str]) -> Option<&'k str> {
    let listed = |key: &str| {
        let mut names = table.iter().filter(|(theirs, _)| *theirs == key).map(|(_, ours)| ours);
        names.find_map(|ours| known.iter().find(|known| *known == ours).copied())
    };
    let snake = snake_case(key);
    let same = || known.iter().find(|known| **known == snake).copied();
    listed(key).or_else(same).or_else(|| listed(&snake))
}

/// Returns what to do instead of a key of another CI system that has no counterpart.
pub(crate) fn without_counterpart(key: &str) -> Option<&'static str> {
    WITHOUT_COUNTERPART.iter().find(|(theirs, _)| *theirs == key).map(|(_, advice)| *advice)
}

/// Returns a key in the form of the keys here: `dockerImage` and `docker-image` become `docker_image`.
fn snake_case(key: &str) -> String {
    let mut out = String::with_capacity(key.len() + 4);
    for c in key.chars() {
        if c.is_ascii_uppercase() && out.ends_with(|before: char| before.is_ascii_lowercase()) {
            out.push('_');
        }
        out.push(if c == '-' { '_' } else { c.to_ascii_lowercase() });
    }
    out
}

/// Returns the keys that a mapping lacks because they are written in the way of another CI system, which is reported.
pub(crate) fn keys_written_elsewhere(path: &Path, node: &Node) -> &'static [&'static str] {
    if path.depth() == 0 {
        let has_jobs_in_stages = node.get("stages").is_some_and(|entry| holds_mappings(&entry.value));
        let has_all_in_pipeline =
            node.get("pipeline").is_some_and(|entry| matches!(entry.value.kind, Kind::Mapping(_)));
        return match (has_all_in_pipeline, has_jobs_in_stages) {
            (true, _) => &["name", "jobs", "stages"],
            (false, true) => &["jobs"],
            (false, false) => &[],
        };
    }
    let is_job = path.depth() == 2
        && matches!(path.segments().first(), Some(Segment::Key(key)) if key.as_ref() == "jobs");
    match node.get("container").map(|entry| &entry.value) {
        Some(container) if is_job && (is_text(container) || container.get("image").is_some()) => &["image"],
        _ => &[],
    }
}

fn is_text(node: &Node) -> bool {
    matches!(node.kind, Kind::Scalar { .. }) && !node.is_null()
}

/// Whether it is a mapping, or a list with one.
pub(super) fn holds_mappings(node: &Node) -> bool {
    match &node.kind {
        Kind::Mapping(_) => true,
        Kind::Sequence(items) => items.iter().any(|item| matches!(item.kind, Kind::Mapping(_))),
        Kind::Scalar { .. } => false,
    }
}
