//! Checks `services`: containers that run alongside a job.

use std::collections::HashMap;

use super::options::{check_user_and_platform, container};
use crate::pipeline::checks::context::{FindingSink, texts, variables};
use crate::pipeline::finding::{Fault, Finding, FindingLocation, Path, PathPart, quoted};
use crate::pipeline::model::{Health, Service};
use crate::pipeline::model::{host_names::image_names, surroundings::add_image_names};
use crate::pipeline::names;
use crate::pipeline::raw::alternatives::Either;
use crate::pipeline::raw::collections::{IndexedOneOrMany, OneOrMany};
use crate::pipeline::raw::field::Field;
use crate::pipeline::raw::job_parts::{RawHealth, RawService};
use crate::pipeline::raw::scalars::Text;
use crate::pipeline::references;

/// As in GitLab.
const DEFAULT_READY_TIMEOUT_S: u64 = 30;

const MAX_READY_S: u64 = 3_600;

const MAX_SERVICES: usize = 16;

/// Maximum number of host names that a file gives to one service.
const MAX_ALIASES: usize = 16;

/// Checks services, and returns them.
pub(crate) fn services(
    raw: Option<&IndexedOneOrMany<Either<Text, RawService>>>,
    path: &Path,
    findings: &mut FindingSink,
) -> Vec<Service> {
    let items = raw.map_or(&[][..], |items| items.0.as_slice());
    if items.len() > MAX_SERVICES {
        let message = format!("{} services are more than {MAX_SERVICES}, the limit", items.len());
        findings.push(Finding::key("out-of-range", path, message).help("split the job"));
    }
    let mut services = Vec::with_capacity(items.len());
    let mut places = Vec::with_capacity(items.len());
    let mut named: HashMap<String, Path> = HashMap::new();
    for (index, item) in items {
        let at = path.index(*index);
        let Some(service) = service(item, &at, findings) else { continue };
        let alias_at = at.key("alias");
        for alias in &service.alias {
            let Some(first) = named.insert(alias.to_ascii_lowercase(), alias_at.clone()) else { continue };
            let message = format!("two services have the host name {}", quoted(alias));
            findings.push(
                Finding::value("duplicate-alias", &alias_at, message)
                    .help("give each an `alias` of its own")
                    .related("the first one", FindingLocation::Path(first, PathPart::Value)),
            );
        }
        services.push(service);
        places.push(at);
    }
    check_names(&services, &places, findings);
    services
}

/// Checks that each service has a host name.
fn check_names(services: &[Service], places: &[Path], findings: &mut FindingSink) {
    let mut named = services.to_vec();
    add_image_names(&mut named);
    for (service, at) in named.iter().zip(places) {
        // The names that references give are known once the job is planned.
        if !service.alias.is_empty() || service.image.contains('$') {
            continue;
        }
        let (code, message) = if image_names(&service.image).is_empty() {
            ("missing-key", "no host name can be derived from the image of this service")
        } else {
            ("duplicate-alias", "all host names of this service are used by other services")
        };
        findings.push(Finding::value(code, at, message).help("give it an `alias` of its own"));
    }
}

/// Checks one service, and returns it.
fn service(item: &Either<Text, RawService>, path: &Path, findings: &mut FindingSink) -> Option<Service> {
    let none = RawService::default();
    let (raw, image, at) = match item {
        Either::Short(image) => (&none, &image.0, path.clone()),
        Either::Long(raw) => {
            let (field, key) =
                if raw.image.is_absent() { (&raw.name, "name") } else { (&raw.image, "image") };
            if field.is_absent() {
                findings.push(
                    Finding::value("missing-key", path, "this service has no `image`")
                        .help("write `{ image: \"postgres:17\", alias: db }`, or only the image"),
                );
            }
            (raw, &field.get()?.0, path.key(key))
        }
    };
    findings.check(references::parse_references(image).and_then(|_| names::check_image(image)), || at);
    check_user_and_platform(&raw.user, &raw.platform, path, findings);
    let alias = raw.alias.get().map_or(&[][..], |list| list.0.as_slice());
    if alias.len() > MAX_ALIASES {
        let fault =
            Fault::new("out-of-range", format!("has {} names; {MAX_ALIASES} is the limit", alias.len()));
        findings.check(Err(fault), || path.key("alias"));
    }
    for (index, alias) in alias.iter().enumerate() {
        findings.check(names::check_host(&alias.0), || path.key("alias").index(index));
    }
    for (key, command) in [("command", &raw.command), ("entrypoint", &raw.entrypoint)] {
        if let Some([only]) = command.get().map(|command| command.0.as_slice())
            && only.0.trim().contains(char::is_whitespace)
            // With an entry point such as `[sh, -c]`, one argument may be a whole script.
            && (key == "entrypoint" || raw.entrypoint.is_absent())
        {
            let message = format!("`{key}` is a single argument that contains a space");
            findings.push(
                Finding::value("bad-command", &path.key(key), message)
                    .help("write each argument as an item, as in `[redis-server, --port, \"6380\"]`"),
            );
        }
    }
    let ready_within_s = raw.ready_within.get().map_or(DEFAULT_READY_TIMEOUT_S, |span| span.0);
    if !(1..=MAX_READY_S).contains(&ready_within_s) {
        let fault = Fault::new("out-of-range", "must be from one second to one hour");
        findings.check(Err(fault), || path.key("ready_within"));
    }
    let list = |field: &Field<OneOrMany<Text>>| field.get().map(|list| texts(Some(list)));
    Some(Service {
        image: image.clone(),
        alias: alias.iter().map(|alias| alias.0.clone()).collect(),
        variables: variables(raw.variables.get(), || path.key("variables"), findings),
        command: list(&raw.command),
        entrypoint: list(&raw.entrypoint),
        health: raw.health.get().and_then(|health| self::health(health, &path.key("health"), findings)),
        ready_within_s,
        // A check that the file asks for is there to be passed.
        required: raw.required.get().map_or(!raw.health.is_absent(), |flag| flag.0),
        user: raw.user.get().map(|user| user.0.clone()),
        platform: raw.platform.get().map(|platform| platform.0.clone()),
        pull_policy: raw.pull_policy.get().map(|policy| policy.0),
        container: container(raw.container.get(), &path.key("container"), findings),
    })
}

fn health(raw: &RawHealth, path: &Path, findings: &mut FindingSink) -> Option<Health> {
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
            findings.push(
                Finding::key("conflicting-keys", path, "`health` has a `command` or a `port`, not both")
                    .help("remove one of the two"),
            );
            None
        }
        (None, None) => {
            if raw.command.is_absent() && raw.port.is_absent() {
                findings.push(
                    Finding::key("missing-key", path, "`health` has neither `command` nor `port`")
                        .help("write `{ command: pg_isready }` or `{ port: 5432 }`"),
                );
            }
            None
        }
    }
}
