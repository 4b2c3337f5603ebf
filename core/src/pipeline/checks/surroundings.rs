//! Checks options of a job: caches, secrets, environment, labels.

mod id_tokens;

use std::collections::{BTreeMap, HashMap, HashSet};

use super::checkout::checkout;
use super::child;
use super::containers::build::build;
use super::containers::options::{check_together, container};
use super::containers::services::services;
use super::context::{FindingSink, PipelineContext, check_paths_inside, texts};
use super::triggers;
use crate::execution::{coverage, outputs, predefined};
use crate::pipeline::finding::{Fault, Finding, FindingLocation, Path, PathPart, quoted};
use crate::pipeline::model::{
    Cache, Environment, EnvironmentAction, JobOptions, MAX_AUTO_STOP_S, MAX_SECRETS, SecretRef,
};
use crate::pipeline::names::{self, LABEL_RULE, is_label};
use crate::pipeline::raw::alternatives::Either;
use crate::pipeline::raw::collections::{IndexedOneOrMany, NamedValues};
use crate::pipeline::raw::job_parts::{RawCache, RawEnvironment, RawSecret};
use crate::pipeline::raw::records::RawJob;
use crate::pipeline::raw::scalars::Text;
use crate::pipeline::references::parse_references;

/// Predefined references, which need no variable.
const PREDEFINED: [&str; 4] = ["branch", "tag", "job", "pipeline"];

/// Whether `name` is a predefined reference or variable.
pub(crate) fn is_predefined(name: &str) -> bool {
    PREDEFINED.contains(&name) || predefined::is_reference(name)
}

const DEFAULT_KEY: &str = "default";

/// The item of `secrets` that stands for all secrets of the repository.
const ALL_SECRETS: &str = "*";

const MAX_KEY_BYTES: usize = 300;

const MAX_CACHES: usize = 8;

const MAX_ENVIRONMENT_BYTES: usize = 100;

const MAX_URL_LEN: usize = 2048;

/// Checks the options of a job; its own keys win over those of `defaults`. `names` returns the variables and matrix keys that
/// texts may refer to.
pub(crate) fn job_options<'n>(
    name: &str,
    raw: &RawJob,
    path: &Path,
    around: &PipelineContext<'_>,
    names: impl FnOnce() -> HashSet<&'n str>,
    findings: &mut FindingSink,
) -> JobOptions {
    if let Some(raw) = raw.pipeline.get() {
        let child = child::child(raw, &path.key("pipeline"), findings);
        let names = names();
        for text in child.templates() {
            check_references(name, (text, false), &path.key("pipeline"), &names, findings);
        }
        return JobOptions { child: Some(Box::new(child)), ..JobOptions::default() };
    }
    let defaults = around.defaults;
    let lines = raw.after_script.get().or(defaults.after_script.get());
    let after_script = lines.map(|script| script.0.clone()).unwrap_or_default();
    let inherited = Path::default().key("defaults");
    // Findings of `defaults` were reported once already.
    let mut discarded = FindingSink::default();
    let checkout = match raw.checkout.get() {
        Some(own) => checkout(own, &path.key("checkout"), findings),
        None => defaults
            .checkout
            .get()
            .map(|raw| checkout(raw, &inherited.key("checkout"), &mut discarded))
            .unwrap_or_default(),
    };
    let has_others = raw.services.get().or(defaults.services.get()).is_some()
        || raw.cache.get().or(defaults.cache.get()).is_some()
        || raw.secrets.get().or(defaults.secrets.get()).is_some()
        || raw.environment.get().is_some()
        || raw.coverage.get().is_some()
        || raw.build.get().is_some()
        || raw.container.get().or(defaults.container.get()).is_some()
        || raw.outputs.get().is_some()
        || raw.concurrency.get().is_some()
        || raw.id_tokens.get().is_some();
    if !has_others {
        return JobOptions { after_script, checkout, ..JobOptions::default() };
    }
    let names = names();
    let services = match raw.services.get() {
        own @ Some(_) => services(own, &path.key("services"), findings),
        None => services(defaults.services.get(), &inherited.key("services"), &mut discarded),
    };
    let caches = match raw.cache.get() {
        own @ Some(_) => caches(own, &path.key("cache"), findings),
        None => caches(defaults.cache.get(), &inherited.key("cache"), &mut discarded),
    };
    let secrets = match raw.secrets.get() {
        own @ Some(_) => secrets(own, &path.key("secrets"), findings),
        None => secrets(defaults.secrets.get(), &inherited.key("secrets"), &mut discarded),
    };
    let listed = raw.secrets.get().or(defaults.secrets.get());
    let all_secrets = listed.is_some_and(|items| items.0.iter().any(|(_, item)| is_all_secrets(item)));
    let environment =
        raw.environment.get().and_then(|raw| environment(raw, &path.key("environment"), findings));
    check_paths_inside(raw.outputs.get(), &path.key("outputs"), findings);
    if let Some(text) = raw.coverage.get() {
        findings.check(check_pattern(&text.0), || path.key("coverage"));
    }
    for (secret, at) in secrets.iter().zip(0..) {
        if names.contains(secret.variable.as_str()) {
            let base = if raw.secrets.is_absent() { inherited.key("secrets") } else { path.key("secrets") };
            let message = format!("the secret hides the variable `{}`", secret.variable);
            findings.push(
                Finding::value("hidden-variable", &base.index(at), message)
                    .warning()
                    .help("rename one of the two"),
            );
        }
    }
    let id_tokens = id_tokens::id_tokens(raw.id_tokens.get(), &path.key("id_tokens"), &secrets, findings);
    let build = raw.build.get().map(|raw| build(raw, &path.key("build"), &secrets, findings));
    let container = match raw.container.get() {
        own @ Some(_) => container(own, &path.key("container"), findings),
        None => container(defaults.container.get(), &inherited.key("container"), &mut discarded),
    };
    let base = |is_absent| if is_absent { inherited.clone() } else { path.clone() };
    let container_path = base(raw.container.is_absent()).key("container");
    let services_path = base(raw.services.is_absent()).key("services");
    check_together(&container, &services, &container_path, &services_path, findings);
    // Texts with references, and whether they are complete only when the job is due.
    let mut with_references: Vec<(&str, Path, bool)> = Vec::new();
    let base = if raw.services.is_absent() { &inherited } else { path };
    // An image and an address may also refer to outputs of other jobs.
    if !around.has_other_outputs(raw) {
        for (at, service) in services.iter().enumerate() {
            with_references.push((&service.image, base.key("services").index(at), true));
        }
    }
    let base = if raw.cache.is_absent() { &inherited } else { path };
    for (at, cache) in caches.iter().enumerate() {
        let base = base.key("cache").index(at);
        with_references.push((&cache.key, base.key("key"), false));
        with_references
            .extend(cache.fallback_keys.iter().map(|key| (key.as_str(), base.key("fallback_keys"), false)));
    }
    if let Some(environment) = &environment {
        with_references.push((&environment.name, path.key("environment"), false));
        if let Some(url) = environment.url.as_ref().filter(|_| around.output_jobs == 0) {
            with_references.push((url, path.key("environment").key("url"), true));
        }
    }
    if let Some(build) = &build {
        with_references.extend(build.templates().map(|text| (text.as_str(), path.key("build"), false)));
    }
    let concurrency = raw.concurrency.get();
    let concurrency =
        concurrency.and_then(|raw| triggers::job_concurrency(raw, &path.key("concurrency"), findings));
    if let Some(one) = &concurrency {
        with_references.push((&one.group, path.key("concurrency"), false));
    }
    for token in &id_tokens {
        let at = path.key("id_tokens").key(&token.variable).key("aud");
        with_references.extend(token.aud.iter().map(|text| (text.as_str(), at.clone(), false)));
    }
    for (text, at, is_due) in with_references {
        check_references(name, (text, is_due), &at, &names, findings);
    }
    JobOptions {
        after_script,
        services,
        caches,
        secrets,
        all_secrets,
        environment,
        coverage: raw.coverage.get().map(|text| text.0.clone()),
        outputs: texts(raw.outputs.get()),
        container,
        checkout,
        build: build.map(Box::new),
        concurrency,
        child: None,
        id_tokens,
    }
}

fn check_pattern(text: &str) -> Result<(), Fault> {
    coverage::CoveragePattern::new(text).map(drop).map_err(|why| {
        Fault::new("bad-pattern", format!("is not a valid pattern: {why}"))
            .help(r"write a regular expression in RE2's syntax in quotes, such as 'TOTAL.* (\d+)%'")
    })
}

/// Checks the references of a text; `is_due` says whether it is complete only when the job is due.
fn check_references(
    job: &str,
    (text, is_due): (&str, bool),
    at: &Path,
    names: &HashSet<&str>,
    findings: &mut FindingSink,
) {
    for reference in parse_references(text).unwrap_or_default() {
        let is_set = is_predefined(reference) || is_due && outputs::is_due_reference(reference);
        if names.contains(reference) || is_set {
            continue;
        }
        let help = findings.suggestions.did_you_mean(reference, names.iter().copied().chain(PREDEFINED));
        let message = format!(
            "{} of {} refers to {}, which is neither a variable nor a matrix key",
            at.label(),
            quoted(job),
            quoted(reference)
        );
        findings.push(Finding::value("unknown-reference", at, message).maybe_help(help));
    }
}

/// Checks caches, and returns them.
pub(crate) fn caches(
    raw: Option<&IndexedOneOrMany<RawCache>>,
    path: &Path,
    findings: &mut FindingSink,
) -> Vec<Cache> {
    let items = raw.map_or(&[][..], |items| items.0.as_slice());
    if items.len() > MAX_CACHES {
        let message = format!("{} caches are more than {MAX_CACHES}, the limit", items.len());
        findings.push(Finding::key("out-of-range", path, message).help("put several paths into one cache"));
    }
    items.iter().map(|(index, raw)| cache(raw, &path.index(*index), findings)).collect()
}

fn cache(raw: &RawCache, path: &Path, findings: &mut FindingSink) -> Cache {
    if raw.paths.is_absent() || raw.paths.get().is_some_and(|paths| paths.0.is_empty()) {
        findings.push(
            Finding::value("missing-key", path, "this cache has no `paths`")
                .help("add `paths:` with the files and directories to keep"),
        );
    }
    check_paths_inside(raw.paths.get(), &path.key("paths"), findings);
    let (mut key, mut key_files) = (DEFAULT_KEY.to_owned(), Vec::new());
    let at = path.key("key");
    match raw.key.get() {
        Some(Either::Short(text)) => {
            findings.check(check_key(&text.0), || at);
            key.clone_from(&text.0);
        }
        Some(Either::Long(raw)) => {
            let no_files = raw.files.is_absent() || raw.files.get().is_some_and(|files| files.0.is_empty());
            if no_files {
                findings.push(
                    Finding::value("missing-key", &at, "`key` has no `files`")
                        .help("name files whose content makes the key, or write the key as text"),
                );
            }
            check_paths_inside(raw.files.get(), &at.key("files"), findings);
            key_files = texts(raw.files.get());
            if let Some(prefix) = raw.prefix.get() {
                findings.check(check_key(&prefix.0), || at.key("prefix"));
            }
            key = raw.prefix.get().map(|prefix| prefix.0.clone()).unwrap_or_default();
        }
        None => {}
    }
    let fallback_keys = texts(raw.fallback_keys.get());
    for (index, key) in fallback_keys.iter().enumerate() {
        findings.check(check_key(key), || path.key("fallback_keys").index(index));
    }
    let policy_reference = raw.policy.get().and_then(|one| one.reference());
    if let Some(reference) = policy_reference {
        findings.check(parse_references(reference).map(drop), || path.key("policy"));
    }
    Cache {
        key,
        key_files,
        fallback_keys,
        paths: texts(raw.paths.get()),
        policy: raw.policy.get().and_then(|one| one.value()).map(|policy| policy.0).unwrap_or_default(),
        when: raw.when.get().map(|when| when.0).unwrap_or_default(),
        policy_reference: policy_reference.map(str::to_owned),
    }
}

fn check_key(key: &str) -> Result<(), Fault> {
    if key.trim().is_empty() || key.len() > MAX_KEY_BYTES {
        return Err(Fault::new("bad-name", format!("must have 1 to {MAX_KEY_BYTES} bytes")));
    }
    if key.contains(char::is_control) {
        return Err(Fault::new("bad-name", "holds a line break or another control character"));
    }
    parse_references(key).map(drop)
}

/// Checks secrets, and returns them.
pub(crate) fn secrets(
    raw: Option<&IndexedOneOrMany<Either<Text, RawSecret>>>,
    path: &Path,
    findings: &mut FindingSink,
) -> Vec<SecretRef> {
    let items = raw.map_or(&[][..], |items| items.0.as_slice());
    if items.len() > MAX_SECRETS {
        let message = format!("{} secrets are more than {MAX_SECRETS}, the limit", items.len());
        findings.push(Finding::key("out-of-range", path, message).help("put several values into one secret"));
    }
    let mut first: HashMap<String, Path> = HashMap::new();
    let mut secrets = Vec::with_capacity(items.len());
    for (index, item) in items {
        let at = path.index(*index);
        if is_all_secrets(item) {
            continue;
        }
        let Some(secret) = secret(item, &at, findings) else { continue };
        if let Some(first) = first.insert(secret.variable.clone(), at.clone()) {
            let message = format!("two secrets use the variable `{}`", secret.variable);
            findings.push(
                Finding::value("duplicate-value", &at, message)
                    .help("give one of them another `variable`")
                    .related("the first one", FindingLocation::Path(first, PathPart::Value)),
            );
        }
        secrets.push(secret);
    }
    secrets
}

/// Whether an item of `secrets` stands for all secrets of the repository.
fn is_all_secrets(item: &Either<Text, RawSecret>) -> bool {
    matches!(item, Either::Short(name) if name.0 == ALL_SECRETS)
}

fn secret(item: &Either<Text, RawSecret>, path: &Path, findings: &mut FindingSink) -> Option<SecretRef> {
    let none = RawSecret::default();
    let (raw, name, name_at) = match item {
        Either::Short(name) => (&none, &name.0, path.clone()),
        Either::Long(raw) => {
            if raw.name.is_absent() {
                findings.push(Finding::value("missing-key", path, "this secret has no `name`").help(
                    "write `{ name: deploy-key, variable: DEPLOY_KEY, file: true }`, or only the name",
                ));
            }
            (raw, &raw.name.get()?.0, path.key("name"))
        }
    };
    findings.check(names::check_secret_name(name), || name_at.clone());
    if let Some(variable) = raw.variable.get() {
        findings.check(names::check_variable_name(&variable.0), || path.key("variable"));
    } else if names::check_secret_name(name).is_ok() && names::check_variable_name(name).is_err() {
        let message = format!("{} cannot be the name of a variable", quoted(name));
        findings.push(
            Finding::value("missing-key", &name_at, message)
                .help(format!("write `{{ name: {name}, variable: {} }}`", as_variable(name))),
        );
    }
    Some(SecretRef {
        name: name.clone(),
        variable: raw.variable.get().map_or_else(|| name.clone(), |variable| variable.0.clone()),
        file: raw.file.get().is_some_and(|file| file.0),
    })
}

fn as_variable(name: &str) -> String {
    let variable: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
    if variable.starts_with(|c: char| c.is_ascii_digit()) { format!("_{variable}") } else { variable }
}

fn environment(
    raw: &Either<Text, RawEnvironment>,
    path: &Path,
    findings: &mut FindingSink,
) -> Option<Environment> {
    let check = |name: &str| -> Result<(), Fault> {
        if name.trim().is_empty() || name.len() > MAX_ENVIRONMENT_BYTES {
            return Err(Fault::new("bad-name", format!("must have 1 to {MAX_ENVIRONMENT_BYTES} bytes")));
        }
        let inner = |c: char| c.is_ascii_alphanumeric() || " _-./${}".contains(c);
        if let Some(invalid) = name.chars().find(|c| !inner(*c)) {
            return Err(Fault::new("bad-name", format!("holds {}", quoted(&invalid.to_string())))
                .help("use letters, digits, spaces, `_ - . /` and references such as `${branch}`"));
        }
        parse_references(name).map(drop)
    };
    match raw {
        Either::Short(name) => {
            findings.check(check(&name.0), || path.clone());
            Some(Environment { name: name.0.clone(), ..Environment::default() })
        }
        Either::Long(raw) => {
            if raw.name.is_absent() {
                findings.push(
                    Finding::key("missing-key", path, "`environment` has no `name`")
                        .help("write `{ name: production, url: .. }`, or only the name"),
                );
            }
            if let Some(url) = raw.url.get() {
                let plain =
                    url.0.starts_with("https://") || url.0.starts_with("http://") || url.0.starts_with("${");
                let result = if url.0.len() > MAX_URL_LEN {
                    Err(Fault::new("bad-url", format!("is longer than {MAX_URL_LEN} bytes")))
                } else if plain && !url.0.contains(char::is_whitespace) {
                    parse_references(&url.0).map(drop)
                } else {
                    Err(Fault::new("bad-url", "must be an address that starts with `https://` or `http://`"))
                };
                findings.check(result, || path.key("url"));
            }
            let name = &raw.name.get()?.0;
            findings.check(check(name), || path.key("name"));
            let action = raw.action.get().map(|action| action.0).unwrap_or_default();
            check_stop_keys(raw, action, path, findings);
            Some(Environment {
                name: name.clone(),
                url: raw.url.get().map(|url| url.0.clone()),
                action,
                on_stop: raw.on_stop.get().map(|job| job.0.clone()),
                auto_stop_in_s: raw.auto_stop_in.get().and_then(|one| one.value()).map(|duration| duration.0),
                tier: raw.tier.get().map(|tier| tier.0),
                auto_stop_in_reference: raw
                    .auto_stop_in
                    .get()
                    .and_then(|one| one.reference())
                    .map(str::to_owned),
            })
        }
    }
}

/// Checks the keys that say how an environment is stopped.
fn check_stop_keys(raw: &RawEnvironment, action: EnvironmentAction, path: &Path, findings: &mut FindingSink) {
    if raw.on_stop.get().is_some() && action != EnvironmentAction::Start {
        let message = format!("`on_stop` has no meaning with `action: {}`", action.name());
        findings.push(
            Finding::key("unused-key", &path.key("on_stop"), message)
                .help("write it in the job that deploys to the environment"),
        );
    }
    let Some(written) = raw.auto_stop_in.get() else { return };
    let at = path.key("auto_stop_in");
    if let Some(reference) = written.reference() {
        findings.check(parse_references(reference).map(drop), || at.clone());
    }
    if action == EnvironmentAction::Stop {
        let message = "`auto_stop_in` has no meaning with `action: stop`";
        findings.push(Finding::key("unused-key", &at, message).help("write it in the job that deploys"));
    }
    if written.value().is_some_and(|duration| !(1..=MAX_AUTO_STOP_S).contains(&duration.0)) {
        let message = "`auto_stop_in` must be from one second to ten years";
        findings.push(Finding::value("out-of-range", &at, message).help("leave it out for `never`"));
    }
}

/// Checks labels of workers, and returns them.
pub(crate) fn labels(
    raw: Option<&NamedValues<Text>>,
    path: &Path,
    findings: &mut FindingSink,
) -> BTreeMap<String, String> {
    let entries = raw.map_or(&[][..], |entries| entries.0.as_slice());
    for (name, value) in entries {
        let fault = || Fault::new("bad-label", "cannot be a label of a worker").help(LABEL_RULE);
        let check = |text: &str, fault: Fault| {
            if is_label(text) { parse_references(text).map(drop) } else { Err(fault) }
        };
        findings.check_key(check(name, fault()), || path.key(name));
        let fault = || {
            Fault::new("bad-label", format!("is {}, which no label can be", quoted(&value.0)))
                .help(LABEL_RULE)
        };
        findings.check(check(&value.0, fault()), || path.key(name));
    }
    entries.iter().map(|(name, value)| (name.clone(), value.0.clone())).collect()
}
