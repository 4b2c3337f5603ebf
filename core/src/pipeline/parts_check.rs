//! The rules for what a job has around its script.

use std::collections::{BTreeMap, HashMap};

use super::check::{Findings, variables};
use super::field::{Entries, Field, OneOrMany};
use super::finding::{Fault, Finding, Part, Path, Spot, quoted};
use super::job_parts::{Cache, Environment, Health, Reports, SecretUse, Service, Surroundings};
use super::raw_parts::{
    Around, RawCache, RawEnvironment, RawHealth, RawReports, RawRule, RawSecret, RawService,
};
use super::rules::{Rule, RuleThen};
use super::shape::{Either, Item, Items};
use super::syntax;
use super::value::Text;
use crate::condition::Condition;

const READY_WITHIN_S: u64 = 60;
const LONGEST_READY_S: u64 = 3_600;
const MOST_SERVICES: usize = 20;
const MOST_CACHES: usize = 10;
const MOST_SECRETS: usize = 100;
const MOST_RULES: usize = 100;
/// How long a cache's key may be, in bytes, before its references are put in.
const LONGEST_KEY: usize = 200;
/// What a text may refer to besides variables and matrix keys.
pub(super) const WORDS: [&str; 4] = ["branch", "tag", "job", "pipeline"];

/// Which names a text may refer to; `None` where that cannot be said, as in `defaults`.
pub(super) type Names<'a> = Option<&'a [&'a str]>;

/// What a job has around its script: its own, and of `defaults` what it has not. Its own is checked.
pub(super) fn surroundings(
    own: &Around<'_>,
    defaults: &Around<'_>,
    path: &Path,
    names: Names<'_>,
    findings: &mut Findings,
) -> Surroundings {
    check(own, path, names, findings);
    let after = own.after_script.or(defaults.after_script);
    Surroundings {
        after_script: after.map(|script| script.0.clone()).unwrap_or_default(),
        services: own.services.or(defaults.services).map(services).unwrap_or_default(),
        caches: own.cache.or(defaults.cache).map(caches).unwrap_or_default(),
        secrets: own.secrets.or(defaults.secrets).map(secrets).unwrap_or_default(),
        environment: own.environment.or(defaults.environment).map(environment),
    }
}

/// Checks what is written in one place.
pub(super) fn check(own: &Around<'_>, path: &Path, names: Names<'_>, findings: &mut Findings) {
    if let Some(items) = own.services {
        check_services(items, &path.key("services"), names, findings);
    }
    if let Some(items) = own.cache {
        check_caches(items, &path.key("cache"), names, findings);
    }
    if let Some(items) = own.secrets {
        check_secrets(items, &path.key("secrets"), findings);
    }
    if let Some(environment) = own.environment {
        check_environment(environment, &path.key("environment"), names, findings);
    }
}

/// A list's item has its place in the list; what stands by itself has none.
fn place<T>(path: &Path, items: &Items<T>, item: &Item<T>) -> Path {
    if items.0.len() == 1 && item.index == 0 { path.clone().index(0) } else { path.index(item.index) }
}

fn too_many<T>(items: &Items<T>, most: usize, path: &Path, findings: &mut Findings) {
    if items.0.len() > most {
        let message = format!("{} has {} items, and {most} is the limit", path.called(), items.0.len());
        findings.add(Finding::key("too-many", path, message));
    }
}

fn texts(field: &Field<OneOrMany<Text>>) -> Vec<String> {
    field.get().map_or(&[][..], |items| items.0.as_slice()).iter().map(|item| item.0.clone()).collect()
}

fn references(text: &str, path: &Path, names: Names<'_>, findings: &mut Findings) {
    findings.check(syntax::references(text).map(drop), || path.clone());
    let Some(names) = names else { return };
    let known = || names.iter().copied().chain(WORDS);
    for reference in syntax::references(text).unwrap_or_default() {
        if !known().any(|name| name == reference) {
            let help = findings.suggestions.did_you_mean(reference, known());
            let message = format!(
                "{} refers to {}, which is no variable or matrix key, nor one of {}",
                path.called(),
                quoted(reference),
                WORDS.join(", ")
            );
            findings.add(Finding::value("unknown-reference", path, message).maybe_help(help));
        }
    }
}

fn services(items: &Items<Either<Text, RawService>>) -> Vec<Service> {
    items.0.iter().map(|item| service(&item.value)).collect()
}

fn service(raw: &Either<Text, RawService>) -> Service {
    let long = match raw {
        Either::Short(image) => {
            return Service {
                image: image.0.clone(),
                alias: names_of(&image.0),
                variables: indexmap::IndexMap::new(),
                command: None,
                entrypoint: None,
                health: None,
                ready_within_s: READY_WITHIN_S,
            };
        }
        Either::Long(long) => long,
    };
    let image = long.image.get().map(|image| image.0.clone()).unwrap_or_default();
    let alias = texts(&long.alias);
    let entries = long.variables.get().map_or(&[][..], |entries| entries.0.as_slice());
    let list = |field: &Field<OneOrMany<Text>>| field.get().map(|_| texts(field));
    Service {
        alias: if alias.is_empty() { names_of(&image) } else { alias },
        image,
        variables: entries.iter().map(|(name, value)| (name.clone(), value.0.clone())).collect(),
        command: list(&long.command),
        entrypoint: list(&long.entrypoint),
        health: long.health.get().and_then(health),
        ready_within_s: long.ready_within.get().map_or(READY_WITHIN_S, |span| span.0),
    }
}

fn health(raw: &RawHealth) -> Option<Health> {
    let command = raw.command.get().map(|command| Health::Command(command.0.clone()));
    command.or_else(|| raw.port.get().map(|port| Health::Port(port.0)))
}

/// The names that follow from an image's: its last part, and where it has more than one, all of them with hyphens, without
/// registry, tag and digest.
fn names_of(image: &str) -> Vec<String> {
    let named = image.split('@').next().unwrap_or_default();
    let slash = named.rfind('/').map_or(0, |at| at + 1);
    let named = named[slash..].find(':').map_or(named, |at| &named[..slash + at]);
    let mut parts: Vec<&str> = named.split('/').collect();
    if parts.len() > 1 && (parts[0].contains(['.', ':']) || parts[0] == "localhost") {
        parts.remove(0);
    }
    let plain = |name: &str| name.replace(['_', '.'], "-");
    let mut names: Vec<String> = parts.last().map(|last| plain(last)).into_iter().collect();
    if parts.len() > 1 {
        names.push(plain(&parts.join("-")));
    }
    names.retain(|name| is_alias(name));
    names
}

fn is_alias(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    (1..=63).contains(&name.len())
        && name.chars().all(inner)
        && name.starts_with(edge)
        && name.ends_with(edge)
}

fn check_services(
    items: &Items<Either<Text, RawService>>,
    path: &Path,
    names: Names<'_>,
    findings: &mut Findings,
) {
    too_many(items, MOST_SERVICES, path, findings);
    let mut first: HashMap<String, Path> = HashMap::new();
    for item in &items.0 {
        let at = place(path, items, item);
        let image = match &item.value {
            Either::Short(image) => Some((image, at.clone())),
            Either::Long(long) => {
                check_service(long, &at, findings);
                long.image.get().map(|image| (image, at.key("image")))
            }
        };
        if let Some((image, image_at)) = image {
            findings.check(syntax::check_image(&image.0), || image_at.clone());
            references(&image.0, &image_at, names, findings);
        }
        let service = service(&item.value);
        if service.alias.is_empty() && !service.image.is_empty() {
            findings.add(
                Finding::value("missing-key", &at, "no name follows from this image's name")
                    .help("write `{ image: ..., alias: db }`"),
            );
        }
        for alias in service.alias {
            if let Some(first) = first.insert(alias.clone(), at.clone()) {
                findings.add(
                    Finding::value(
                        "duplicate-alias",
                        &at,
                        format!("two services are called {}", quoted(&alias)),
                    )
                    .help("give one of them another `alias`")
                    .related("first used here", Spot::At(first, Part::Value)),
                );
            }
        }
    }
}

fn check_service(long: &RawService, path: &Path, findings: &mut Findings) {
    if long.image.is_absent() {
        findings.add(
            Finding::value("missing-key", path, "this service has no `image`")
                .help("add `image: postgres:17`"),
        );
    }
    for (index, alias) in texts(&long.alias).iter().enumerate() {
        if !is_alias(alias) {
            let fault = Fault::new("bad-name", format!("is no name of a host: {}", quoted(alias)))
                .help("use lower-case letters, digits and hyphens, at most 63");
            findings.check(Err(fault), || path.key("alias").index(index));
        }
    }
    variables(long.variables.get(), &path.key("variables"), findings);
    if let Some(health) = long.health.get() {
        let (command, port) = (&health.command, &health.port);
        if command.get().is_some() && port.get().is_some() {
            let message = "`health` has both a `command` and a `port`";
            findings.add(Finding::value("one-of-two", &path.key("health"), message).help("keep one of them"));
        }
        if command.is_absent() && port.is_absent() {
            let message = "`health` says neither `command` nor `port`";
            findings.add(
                Finding::value("missing-key", &path.key("health"), message).help("add `command: pg_isready`"),
            );
        }
    }
    if long.ready_within.get().is_some_and(|span| !(1..=LONGEST_READY_S).contains(&span.0)) {
        let fault = Fault::new("out-of-range", "must be from one second to one hour");
        findings.check(Err(fault), || path.key("ready_within"));
    }
}

fn caches(items: &Items<RawCache>) -> Vec<Cache> {
    items.0.iter().map(|item| cache(&item.value)).collect()
}

fn cache(raw: &RawCache) -> Cache {
    let (key, key_files) = match raw.key.get() {
        None => ("default".to_owned(), Vec::new()),
        Some(Either::Short(key)) => (key.0.clone(), Vec::new()),
        Some(Either::Long(long)) => {
            let prefix = long.prefix.get().map(|prefix| prefix.0.clone());
            (prefix.unwrap_or_default(), texts(&long.files))
        }
    };
    Cache {
        key,
        key_files,
        fallback_keys: texts(&raw.fallback_keys),
        paths: texts(&raw.paths),
        policy: raw.policy.get().map(|policy| policy.0).unwrap_or_default(),
        when: raw.when.get().map(|when| when.0).unwrap_or_default(),
    }
}

fn check_caches(items: &Items<RawCache>, path: &Path, names: Names<'_>, findings: &mut Findings) {
    too_many(items, MOST_CACHES, path, findings);
    for item in &items.0 {
        let (raw, at) = (&item.value, place(path, items, item));
        if texts(&raw.paths).is_empty() && !matches!(raw.paths, Field::Bad) {
            findings.add(
                Finding::value("missing-key", &at, "this cache has no `paths`")
                    .help("add `paths:` with the directories to keep"),
            );
        }
        for (index, glob) in texts(&raw.paths).iter().enumerate() {
            findings.check(syntax::check_inside(glob), || at.key("paths").index(index));
        }
        match raw.key.get() {
            Some(Either::Short(key)) => check_key(&key.0, &at.key("key"), names, findings),
            Some(Either::Long(long)) => {
                let at = at.key("key");
                if let Some(prefix) = long.prefix.get() {
                    check_key(&prefix.0, &at.key("prefix"), names, findings);
                }
                let files = texts(&long.files);
                if files.is_empty() {
                    findings.add(
                        Finding::value("missing-key", &at, "this key has no `files`")
                            .help("add `files: [Cargo.lock]`, or write the key as text"),
                    );
                }
                for (index, glob) in files.iter().enumerate() {
                    findings.check(syntax::check_inside(glob), || at.key("files").index(index));
                }
            }
            None => {}
        }
        for (index, key) in texts(&raw.fallback_keys).iter().enumerate() {
            check_key(key, &at.key("fallback_keys").index(index), names, findings);
        }
    }
}

fn check_key(key: &str, path: &Path, names: Names<'_>, findings: &mut Findings) {
    let odd = |c: char| c.is_control() || c == '\\';
    if key.trim().is_empty() || key.len() > LONGEST_KEY || key.contains(odd) {
        let fault =
            Fault::new("bad-key", format!("must have 1 to {LONGEST_KEY} bytes, without control characters"));
        findings.check(Err(fault), || path.clone());
    }
    references(key, path, names, findings);
}

fn secrets(items: &Items<Either<Text, RawSecret>>) -> Vec<SecretUse> {
    items.0.iter().map(|item| secret(&item.value)).collect()
}

fn secret(raw: &Either<Text, RawSecret>) -> SecretUse {
    match raw {
        Either::Short(name) => SecretUse { name: name.0.clone(), variable: name.0.clone(), file: false },
        Either::Long(long) => {
            let name = long.name.get().map(|name| name.0.clone()).unwrap_or_default();
            let variable = long.variable.get().map_or_else(|| name.clone(), |variable| variable.0.clone());
            SecretUse { name, variable, file: long.file.get().is_some_and(|file| file.0) }
        }
    }
}

fn check_secrets(items: &Items<Either<Text, RawSecret>>, path: &Path, findings: &mut Findings) {
    too_many(items, MOST_SECRETS, path, findings);
    let mut first: HashMap<String, Path> = HashMap::new();
    for item in &items.0 {
        let at = place(path, items, item);
        if matches!(&item.value, Either::Long(long) if long.name.is_absent()) {
            findings.add(
                Finding::value("missing-key", &at, "this secret has no `name`")
                    .help("add the `name` that it was set under: `tidemill secret set NAME`"),
            );
            continue;
        }
        let secret = secret(&item.value);
        findings.check(syntax::check_variable_name(&secret.name), || at.clone());
        if secret.variable != secret.name {
            findings.check(syntax::check_variable_name(&secret.variable), || at.key("variable"));
        }
        if let Some(first) = first.insert(secret.variable.clone(), at.clone()) {
            let message = format!("two secrets come in the variable {}", quoted(&secret.variable));
            findings.add(
                Finding::value("duplicate-secret", &at, message)
                    .help("give one of them another `variable`")
                    .related("first used here", Spot::At(first, Part::Value)),
            );
        }
    }
}

fn environment(raw: &Either<Text, RawEnvironment>) -> Environment {
    match raw {
        Either::Short(name) => Environment { name: name.0.clone(), url: None },
        Either::Long(long) => Environment {
            name: long.name.get().map(|name| name.0.clone()).unwrap_or_default(),
            url: long.url.get().map(|url| url.0.clone()),
        },
    }
}

fn check_environment(
    raw: &Either<Text, RawEnvironment>,
    path: &Path,
    names: Names<'_>,
    findings: &mut Findings,
) {
    let (name, at) = match raw {
        Either::Short(name) => (name, path.clone()),
        Either::Long(long) => {
            if let Some(url) = long.url.get() {
                references(&url.0, &path.key("url"), names, findings);
            }
            let Some(name) = long.name.get() else {
                if long.name.is_absent() {
                    let message = "`environment` has no `name`";
                    findings.add(Finding::value("missing-key", path, message).help("add `name: production`"));
                }
                return;
            };
            (name, path.key("name"))
        }
    };
    if name.0.trim().is_empty() || name.0.len() > 100 {
        findings.check(Err(Fault::new("bad-name", "must have 1 to 100 bytes")), || at.clone());
    }
    references(&name.0, &at, names, findings);
}

/// The reports, checked.
pub(super) fn reports(raw: Option<&RawReports>, path: &Path, findings: &mut Findings) {
    let Some(raw) = raw else { return };
    for (index, glob) in texts(&raw.junit).iter().enumerate() {
        findings.check(syntax::check_inside(glob), || path.key("junit").index(index));
    }
}

/// The reports.
pub(super) fn reports_of(raw: Option<&RawReports>) -> Reports {
    Reports { junit: raw.map(|raw| texts(&raw.junit)).unwrap_or_default() }
}

/// The labels that a worker must have, checked.
pub(super) fn labels(
    raw: Option<&Entries<Text>>,
    path: &Path,
    findings: &mut Findings,
) -> BTreeMap<String, String> {
    let entries = raw.map_or(&[][..], |entries| entries.0.as_slice());
    for (name, value) in entries {
        if !is_label(name) {
            let message = format!("{} is no name of a label", quoted(name));
            findings.add(Finding::key("bad-label", &path.key(name), message).help(LABEL_RULE));
        }
        if !is_label(&value.0) {
            let message = format!("{} is no value of a label", quoted(&value.0));
            findings.add(Finding::value("bad-label", &path.key(name), message).help(LABEL_RULE));
        }
    }
    entries.iter().map(|(name, value)| (name.clone(), value.0.clone())).collect()
}

const LABEL_RULE: &str = "use 1 to 63 letters, digits and `_ - .`";

/// Whether `text` can be a label's name or value: 1 to 63 letters, digits and `_ - .`.
#[must_use]
pub fn is_label(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    (1..=63).contains(&text.len()) && text.chars().all(inner)
}

/// A job's rules, checked: `if` is short for one of them.
pub(super) fn rules(
    condition: &Field<Text>,
    rules: Option<&Items<RawRule>>,
    path: &Path,
    findings: &mut Findings,
) -> Vec<Rule> {
    let mut read = Vec::new();
    if let Some(condition) = condition.get() {
        check_condition(&condition.0, &path.key("if"), findings);
        read.push(Rule { condition: Some(condition.0.clone()), ..Rule::default() });
        if rules.is_some() {
            findings.add(
                Finding::key("one-of-two", &path.key("if"), "this job has both `if` and `rules`")
                    .help("move the condition into the rules"),
            );
        }
    }
    let Some(items) = rules else { return read };
    let path = path.key("rules");
    too_many(items, MOST_RULES, &path, findings);
    if items.0.is_empty() {
        let message = "`rules` is empty, so the job would never run";
        findings.add(Finding::value("empty-list", &path, message).help("remove it, or add a rule"));
    }
    for item in &items.0 {
        let (raw, at) = (&item.value, place(&path, items, item));
        if let Some(condition) = raw.condition.get() {
            check_condition(&condition.0, &at.key("if"), findings);
        }
        for (key, globs) in [("changes", &raw.changes), ("exists", &raw.exists)] {
            for (index, glob) in texts(globs).iter().enumerate() {
                findings.check(syntax::check_inside(glob), || at.key(key).index(index));
            }
        }
        let own = variables(raw.variables.get(), &at.key("variables"), findings);
        let then = raw.when.get().map(|when| when.0);
        if then == Some(RuleThen::Never) && (!own.is_empty() || raw.allow_failure.get().is_some()) {
            findings.add(
                Finding::value(
                    "no-effect",
                    &at,
                    "a job that is left out has no use for more than `when: never`",
                )
                .warning(),
            );
        }
        read.push(Rule {
            condition: raw.condition.get().map(|condition| condition.0.clone()),
            changes: texts(&raw.changes),
            exists: texts(&raw.exists),
            then,
            allow_failure: raw.allow_failure.get().map(|flag| flag.0),
            variables: own,
        });
    }
    read
}

fn check_condition(text: &str, path: &Path, findings: &mut Findings) {
    let Err(mistakes) = Condition::parse(text) else { return };
    for mistake in mistakes {
        let place = match mistake.at {
            Some((1, column)) if text.lines().nth(1).is_none() => format!(" (at character {column})"),
            Some((line, column)) => format!(" (line {line} of it, character {column})"),
            None => String::new(),
        };
        let message = format!("the condition {} {}{place}", quoted(text.trim()), mistake.message);
        findings.add(Finding::value("bad-condition", path, message).maybe_help(mistake.help));
    }
}

#[cfg(test)]
mod tests {
    use super::names_of;

    #[test]
    fn a_service_is_called_after_its_image() {
        for (image, names) in [
            ("postgres", &["postgres"][..]),
            ("postgres:17", &["postgres"]),
            ("bitnami/redis:7", &["redis", "bitnami-redis"]),
            ("registry.example.com:5000/team/my_app:2", &["my-app", "team-my-app"]),
            ("localhost/a@sha256:00", &["a"]),
            ("${DB}", &[]),
        ] {
            assert_eq!(names_of(image), names, "{image}");
        }
    }
}
