//! The rules for what a job has around its script: services, caches, secrets, an environment, labels.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::check::{Findings, variables};
use super::field::{Entries, OneOrMany};
use super::field_shapes::{Either, Several};
use super::finding::{Fault, Finding, Part, Path, Spot, quoted};
use super::job_parts::{Cache, Environment, Health, MOST_SECRETS, SecretUse, Service, Surroundings};
use super::raw::{RawDefaults, RawJob};
use super::raw_parts::{RawCache, RawEnvironment, RawHealth, RawSecret, RawService};
use super::syntax;
use super::value::Text;
use crate::{coverage, predefined};

/// What texts may refer to besides variables.
const WORDS: [&str; 4] = ["branch", "tag", "job", "pipeline"];

/// Whether a text may refer to `name` although nobody sets a variable of that name.
pub(super) fn is_word(name: &str) -> bool {
    WORDS.contains(&name) || name == "CI_JOB_NAME" || predefined::is_of_execution(name)
}

const DEFAULT_KEY: &str = "default";
const DEFAULT_READY_S: u64 = 60;
const LONGEST_READY_S: u64 = 3_600;
const LONGEST_KEY: usize = 300;
const MOST_CACHES: usize = 8;
const MOST_SERVICES: usize = 16;
const LONGEST_ENVIRONMENT: usize = 100;

/// What a job has around its script, its own before that of `defaults`.
pub(super) fn surroundings(
    name: &str,
    raw: &RawJob,
    path: &Path,
    defaults: &RawDefaults,
    names: &HashSet<&str>,
    findings: &mut Findings,
) -> Surroundings {
    let inherited = Path::default().key("defaults");
    // What is inherited was checked once, by itself.
    let mut unheard = Findings::default();
    let lines = raw.after_script.get().or(defaults.after_script.get());
    let services = match raw.services.get() {
        own @ Some(_) => services(own, &path.key("services"), findings),
        None => services(defaults.services.get(), &inherited.key("services"), &mut unheard),
    };
    let caches = match raw.cache.get() {
        own @ Some(_) => caches(own, &path.key("cache"), findings),
        None => caches(defaults.cache.get(), &inherited.key("cache"), &mut unheard),
    };
    let secrets = match raw.secrets.get() {
        own @ Some(_) => secrets(own, &path.key("secrets"), findings),
        None => secrets(defaults.secrets.get(), &inherited.key("secrets"), &mut unheard),
    };
    let environment =
        raw.environment.get().and_then(|raw| environment(raw, &path.key("environment"), findings));
    if let Some(text) = raw.coverage.get() {
        findings.check(check_pattern(&text.0), || path.key("coverage"));
    }
    for (secret, at) in secrets.iter().zip(0..) {
        if names.contains(secret.variable.as_str()) {
            let base = if raw.secrets.is_absent() { inherited.key("secrets") } else { path.key("secrets") };
            let message = format!("the secret hides the variable `{}`", secret.variable);
            findings.add(
                Finding::value("hidden-variable", &base.index(at), message)
                    .warning()
                    .help("rename one of the two"),
            );
        }
    }
    let mut texts: Vec<(&str, Path)> = Vec::new();
    let base = if raw.services.is_absent() { &inherited } else { path };
    for (at, service) in services.iter().enumerate() {
        texts.push((&service.image, base.key("services").index(at)));
    }
    let base = if raw.cache.is_absent() { &inherited } else { path };
    for (at, cache) in caches.iter().enumerate() {
        let base = base.key("cache").index(at);
        texts.push((&cache.key, base.key("key")));
        texts.extend(cache.fallback_keys.iter().map(|key| (key.as_str(), base.key("fallback_keys"))));
    }
    if let Some(environment) = &environment {
        texts.push((&environment.name, path.key("environment")));
        texts.extend(environment.url.iter().map(|url| (url.as_str(), path.key("environment").key("url"))));
    }
    for (text, at) in texts {
        references(name, text, &at, names, findings);
    }
    Surroundings {
        after_script: lines.map(|script| script.0.clone()).unwrap_or_default(),
        services,
        caches,
        secrets,
        environment,
        coverage: raw.coverage.get().map(|text| text.0.clone()),
    }
}

fn check_pattern(text: &str) -> Result<(), Fault> {
    coverage::Pattern::new(text).map(drop).map_err(|why| {
        Fault::new("bad-pattern", format!("is no pattern: {why}"))
            .help(r"write a regular expression in RE2's syntax in quotes, such as 'TOTAL.* (\d+)%'")
    })
}

fn references(job: &str, text: &str, at: &Path, names: &HashSet<&str>, findings: &mut Findings) {
    for reference in syntax::references(text).unwrap_or_default() {
        if names.contains(reference) || is_word(reference) {
            continue;
        }
        let help = findings.suggestions.did_you_mean(reference, names.iter().copied().chain(WORDS));
        let message = format!(
            "{} of {} refers to {}, which is neither a variable nor a matrix key",
            at.called(),
            quoted(job),
            quoted(reference)
        );
        findings.add(Finding::value("unknown-reference", at, message).maybe_help(help));
    }
}

/// Checks globs of files that must lie within the sources.
pub(super) fn inside(globs: Option<&OneOrMany<Text>>, path: &Path, findings: &mut Findings) {
    for (index, glob) in globs.map_or(&[][..], |globs| globs.0.as_slice()).iter().enumerate() {
        findings.check(syntax::check_inside(&glob.0), || path.index(index));
    }
}

fn texts(list: Option<&OneOrMany<Text>>) -> Vec<String> {
    list.map(|list| list.0.iter().map(|text| text.0.clone()).collect()).unwrap_or_default()
}

/// Checks services, and gives them.
pub(super) fn services(
    raw: Option<&Several<Either<Text, RawService>>>,
    path: &Path,
    findings: &mut Findings,
) -> Vec<Service> {
    let items = raw.map_or(&[][..], |items| items.0.as_slice());
    if items.len() > MOST_SERVICES {
        let message = format!("{} services are more than {MOST_SERVICES}, the limit", items.len());
        findings.add(Finding::key("out-of-range", path, message).help("split the job"));
    }
    let mut services = Vec::with_capacity(items.len());
    let mut named: HashMap<String, Path> = HashMap::new();
    for (index, item) in items {
        let at = path.index(*index);
        let Some((mut service, own_alias)) = service(item, &at, findings) else { continue };
        let had_names = !service.alias.is_empty();
        let alias_at = if own_alias { at.key("alias") } else { at };
        service.alias.retain(|alias| {
            let Some(first) = named.get(alias) else {
                named.insert(alias.clone(), alias_at.clone());
                return true;
            };
            if own_alias {
                let message = format!("two services are reached by {}", quoted(alias));
                findings.add(
                    Finding::value("duplicate-alias", &alias_at, message)
                        .help("give each an `alias` of its own")
                        .related("the first one", Spot::At(first.clone(), Part::Value)),
                );
            }
            false
        });
        if service.alias.is_empty() && had_names && !own_alias {
            let message = "this service has no name that another one does not have";
            findings.add(
                Finding::value("duplicate-alias", &alias_at, message).help("give it an `alias` of its own"),
            );
        }
        services.push(service);
    }
    services
}

/// One service, and whether its alias is written.
fn service(item: &Either<Text, RawService>, path: &Path, findings: &mut Findings) -> Option<(Service, bool)> {
    let none = RawService::default();
    let (raw, image, at) = match item {
        Either::Short(image) => (&none, &image.0, path.clone()),
        Either::Long(raw) => {
            let (field, key) =
                if raw.image.is_absent() { (&raw.name, "name") } else { (&raw.image, "image") };
            if field.is_absent() {
                findings.add(
                    Finding::value("missing-key", path, "this service has no `image`")
                        .help("write `{ image: \"postgres:17\", alias: db }`, or only the image"),
                );
            }
            (raw, &field.get()?.0, path.key(key))
        }
    };
    findings.check(syntax::references(image).and_then(|_| syntax::check_image(image)), || at);
    let alias = match raw.alias.get() {
        Some(list) => {
            for (index, alias) in list.0.iter().enumerate() {
                findings.check(syntax::check_host(&alias.0), || path.key("alias").index(index));
            }
            list.0.iter().map(|alias| alias.0.clone()).collect()
        }
        None => aliases_of(image),
    };
    if alias.is_empty() {
        let message = "no name of this service follows from its image";
        findings.add(Finding::value("missing-key", path, message).help("give it an `alias`"));
    }
    for (key, command) in [("command", &raw.command), ("entrypoint", &raw.entrypoint)] {
        if let Some([only]) = command.get().map(|command| command.0.as_slice())
            && only.0.trim().contains(char::is_whitespace)
            // Of an entry point of its own, such as `[sh, -c]`, one word may be a whole script.
            && (key == "entrypoint" || raw.entrypoint.is_absent())
        {
            let message = format!("`{key}` is one word with a space in it");
            findings.add(
                Finding::value("bad-command", &path.key(key), message)
                    .help("write each word by itself, as in `[redis-server, --port, \"6380\"]`"),
            );
        }
    }
    let ready_within_s = raw.ready_within.get().map_or(DEFAULT_READY_S, |span| span.0);
    if !(1..=LONGEST_READY_S).contains(&ready_within_s) {
        let fault = Fault::new("out-of-range", "must be from one second to one hour");
        findings.check(Err(fault), || path.key("ready_within"));
    }
    let list = |field: &super::field::Field<OneOrMany<Text>>| field.get().map(|list| texts(Some(list)));
    let service = Service {
        image: image.clone(),
        alias,
        variables: variables(raw.variables.get(), &path.key("variables"), findings),
        command: list(&raw.command),
        entrypoint: list(&raw.entrypoint),
        health: raw.health.get().and_then(|health| self::health(health, &path.key("health"), findings)),
        ready_within_s,
    };
    Some((service, !raw.alias.is_absent()))
}

/// The names that follow from an image's, as GitLab has them: `registry/a/b:1` is `registry__a__b`, `registry-a-b`; besides
/// these the same without a registry's host, and the last part alone.
fn aliases_of(image: &str) -> Vec<String> {
    let named = image.split('@').next().unwrap_or_default();
    let last = named.rfind('/').map_or(0, |at| at + 1);
    let repository = named[last..].find(':').map_or(named, |at| &named[..last + at]);
    if repository.contains('$') {
        return Vec::new();
    }
    let mut parts: Vec<&str> = repository.split('/').collect();
    let mut aliases: Vec<String> = Vec::new();
    let mut add = |alias: String| {
        if syntax::check_host(&alias).is_ok() && !aliases.contains(&alias) {
            aliases.push(alias);
        }
    };
    if parts.len() > 1 && (parts[0].contains(['.', ':']) || parts[0] == "localhost") {
        parts[0] = parts[0].split(':').next().unwrap_or_default();
        add(parts.join("-"));
        add(parts.join("__"));
        parts.remove(0);
    }
    add(parts.join("-"));
    add(parts.join("__"));
    add(parts.last().copied().unwrap_or_default().to_owned());
    aliases
}

fn health(raw: &RawHealth, path: &Path, findings: &mut Findings) -> Option<Health> {
    match (raw.command.get(), raw.port.get()) {
        (Some(command), None) => {
            if command.0.trim().is_empty() {
                let fault = Fault::new("empty-script", "has nothing to run");
                findings.check(Err(fault), || path.key("command"));
            }
            Some(Health::Command(command.0.clone()))
        }
        (None, Some(port)) => Some(Health::Port(port.0)),
        (Some(_), Some(_)) => {
            findings.add(
                Finding::key("conflicting-keys", path, "`health` has a `command` or a `port`, not both")
                    .help("remove one of the two"),
            );
            None
        }
        (None, None) => {
            if raw.command.is_absent() && raw.port.is_absent() {
                findings.add(
                    Finding::key("missing-key", path, "`health` has neither `command` nor `port`")
                        .help("write `{ command: pg_isready }` or `{ port: 5432 }`"),
                );
            }
            None
        }
    }
}

/// Checks caches, and gives them.
pub(super) fn caches(raw: Option<&Several<RawCache>>, path: &Path, findings: &mut Findings) -> Vec<Cache> {
    let items = raw.map_or(&[][..], |items| items.0.as_slice());
    if items.len() > MOST_CACHES {
        let message = format!("{} caches are more than {MOST_CACHES}, the limit", items.len());
        findings.add(Finding::key("out-of-range", path, message).help("put several paths into one cache"));
    }
    items.iter().map(|(index, raw)| cache(raw, &path.index(*index), findings)).collect()
}

fn cache(raw: &RawCache, path: &Path, findings: &mut Findings) -> Cache {
    if raw.paths.is_absent() || raw.paths.get().is_some_and(|paths| paths.0.is_empty()) {
        findings.add(
            Finding::value("missing-key", path, "this cache has no `paths`")
                .help("add `paths:` with the files and directories to keep"),
        );
    }
    inside(raw.paths.get(), &path.key("paths"), findings);
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
                findings.add(
                    Finding::value("missing-key", &at, "`key` has no `files`")
                        .help("name files whose content makes the key, or write the key as text"),
                );
            }
            inside(raw.files.get(), &at.key("files"), findings);
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
    Cache {
        key,
        key_files,
        fallback_keys,
        paths: texts(raw.paths.get()),
        policy: raw.policy.get().map(|policy| policy.0).unwrap_or_default(),
        when: raw.when.get().map(|when| when.0).unwrap_or_default(),
    }
}

fn check_key(key: &str) -> Result<(), Fault> {
    if key.trim().is_empty() || key.len() > LONGEST_KEY {
        return Err(Fault::new("bad-name", format!("must have 1 to {LONGEST_KEY} bytes")));
    }
    if key.contains(char::is_control) {
        return Err(Fault::new("bad-name", "holds a line break or another control character"));
    }
    syntax::references(key).map(drop)
}

/// Checks secrets, and gives them.
pub(super) fn secrets(
    raw: Option<&Several<Either<Text, RawSecret>>>,
    path: &Path,
    findings: &mut Findings,
) -> Vec<SecretUse> {
    let items = raw.map_or(&[][..], |items| items.0.as_slice());
    if items.len() > MOST_SECRETS {
        let message = format!("{} secrets are more than {MOST_SECRETS}, the limit", items.len());
        findings.add(Finding::key("out-of-range", path, message).help("put several values into one secret"));
    }
    let mut first: HashMap<String, Path> = HashMap::new();
    let mut secrets = Vec::with_capacity(items.len());
    for (index, item) in items {
        let at = path.index(*index);
        let Some(secret) = secret(item, &at, findings) else { continue };
        if let Some(first) = first.insert(secret.variable.clone(), at.clone()) {
            let message = format!("two secrets come in the variable `{}`", secret.variable);
            findings.add(
                Finding::value("duplicate-value", &at, message)
                    .help("give one of them another `variable`")
                    .related("the first one", Spot::At(first, Part::Value)),
            );
        }
        secrets.push(secret);
    }
    secrets
}

fn secret(item: &Either<Text, RawSecret>, path: &Path, findings: &mut Findings) -> Option<SecretUse> {
    let none = RawSecret::default();
    let (raw, name, name_at) = match item {
        Either::Short(name) => (&none, &name.0, path.clone()),
        Either::Long(raw) => {
            if raw.name.is_absent() {
                findings.add(Finding::value("missing-key", path, "this secret has no `name`").help(
                    "write `{ name: deploy-key, variable: DEPLOY_KEY, file: true }`, or only the name",
                ));
            }
            (raw, &raw.name.get()?.0, path.key("name"))
        }
    };
    findings.check(syntax::check_secret_name(name), || name_at.clone());
    if let Some(variable) = raw.variable.get() {
        findings.check(syntax::check_variable_name(&variable.0), || path.key("variable"));
    } else if syntax::check_secret_name(name).is_ok() && syntax::check_variable_name(name).is_err() {
        let message = format!("{} cannot be the name of a variable", quoted(name));
        findings.add(
            Finding::value("missing-key", &name_at, message)
                .help(format!("write `{{ name: {name}, variable: {} }}`", as_variable(name))),
        );
    }
    Some(SecretUse {
        name: name.clone(),
        variable: raw.variable.get().map_or_else(|| name.clone(), |variable| variable.0.clone()),
        file: raw.file.get().is_some_and(|file| file.0),
    })
}

fn as_variable(name: &str) -> String {
    let made: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
    if made.starts_with(|c: char| c.is_ascii_digit()) { format!("_{made}") } else { made }
}

fn environment(
    raw: &Either<Text, RawEnvironment>,
    path: &Path,
    findings: &mut Findings,
) -> Option<Environment> {
    let check = |name: &str| -> Result<(), Fault> {
        if name.trim().is_empty() || name.len() > LONGEST_ENVIRONMENT {
            return Err(Fault::new("bad-name", format!("must have 1 to {LONGEST_ENVIRONMENT} bytes")));
        }
        let inner = |c: char| c.is_ascii_alphanumeric() || " _-./${}".contains(c);
        if let Some(odd) = name.chars().find(|c| !inner(*c)) {
            return Err(Fault::new("bad-name", format!("holds {}", quoted(&odd.to_string())))
                .help("use letters, digits, spaces, `_ - . /` and references such as `${branch}`"));
        }
        syntax::references(name).map(drop)
    };
    match raw {
        Either::Short(name) => {
            findings.check(check(&name.0), || path.clone());
            Some(Environment { name: name.0.clone(), url: None })
        }
        Either::Long(raw) => {
            if raw.name.is_absent() {
                findings.add(
                    Finding::key("missing-key", path, "`environment` has no `name`")
                        .help("write `{ name: production, url: .. }`, or only the name"),
                );
            }
            if let Some(url) = raw.url.get() {
                let plain =
                    url.0.starts_with("https://") || url.0.starts_with("http://") || url.0.starts_with("${");
                let result = if plain && !url.0.contains(char::is_whitespace) {
                    syntax::references(&url.0).map(drop)
                } else {
                    Err(Fault::new("bad-url", "must be an address that starts with `https://` or `http://`"))
                };
                findings.check(result, || path.key("url"));
            }
            let name = &raw.name.get()?.0;
            findings.check(check(name), || path.key("name"));
            Some(Environment { name: name.clone(), url: raw.url.get().map(|url| url.0.clone()) })
        }
    }
}

/// Whether `text` can be a label's name or value: 1 to 63 letters, digits and `_ - .`.
#[must_use]
pub fn is_label(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    (1..=63).contains(&text.len()) && text.chars().all(inner)
}

/// Checks labels of workers, and gives them.
pub(super) fn labels(
    raw: Option<&Entries<Text>>,
    path: &Path,
    findings: &mut Findings,
) -> BTreeMap<String, String> {
    let entries = raw.map_or(&[][..], |entries| entries.0.as_slice());
    for (name, value) in entries {
        let rule = "labels are 1 to 63 letters, digits and `_ - .`";
        let fault = || Fault::new("bad-label", "cannot be a label of a worker").help(rule);
        findings.check_key(if is_label(name) { Ok(()) } else { Err(fault()) }, || path.key(name));
        let fault =
            || Fault::new("bad-label", format!("is {}, which no label can be", quoted(&value.0))).help(rule);
        findings.check(if is_label(&value.0) { Ok(()) } else { Err(fault()) }, || path.key(name));
    }
    entries.iter().map(|(name, value)| (name.clone(), value.0.clone())).collect()
}
