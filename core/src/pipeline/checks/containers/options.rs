//! Checks `container`: what a container gets beyond an ordinary one; and the user and platform of any container.

use std::collections::{BTreeMap, HashSet};

use indexmap::IndexMap;

use crate::execution::predefined::WORKSPACE_DIR;
use crate::pipeline::checks::context::FindingSink;
use crate::pipeline::finding::{Fault, Finding, Path, quoted};
use crate::pipeline::model::{ContainerOptions, Device, Gpus, Service, Ulimit};
use crate::pipeline::names::{self, ULIMITS, check_host};
use crate::pipeline::raw::alternatives::Either;
use crate::pipeline::raw::collections::{NamedValues, OneOrMany};
use crate::pipeline::raw::container::{RawContainer, RawUlimit};
use crate::pipeline::raw::field::{Field, FromScalar};
use crate::pipeline::raw::quantities::Bytes;
use crate::pipeline::raw::scalars::Text;
use crate::pipeline::references;

/// Maximum number of entries of each key.
const MAX_ENTRIES: usize = 64;
/// Maximum number of DNS servers; the resolvers of images use no more.
const MAX_DNS: usize = 3;
const MAX_PATH_BYTES: usize = 255;
const SIZES: std::ops::RangeInclusive<u64> = 4096..=64 << 40;

/// Checks `container`, and returns it.
pub(crate) fn container(
    raw: Option<&RawContainer>,
    path: &Path,
    findings: &mut FindingSink,
) -> ContainerOptions {
    let Some(raw) = raw else { return ContainerOptions::default() };
    if let Some(size) = raw.shm_size.get() {
        findings.check(check_size(size.0), || path.key("shm_size"));
    }
    ContainerOptions {
        shm_bytes: raw.shm_size.get().map(|size| size.0),
        ulimits: ulimits(raw.ulimits.get(), &path.key("ulimits"), findings),
        tmpfs: items(raw.tmpfs.get(), MAX_ENTRIES, &path.key("tmpfs"), findings, tmpfs).into_iter().collect(),
        devices: items(raw.devices.get(), MAX_ENTRIES, &path.key("devices"), findings, device),
        gpus: raw.gpus.get().and_then(|text| value(gpus(&text.0), || path.key("gpus"), findings)),
        cap_add: items(raw.cap_add.get(), MAX_ENTRIES, &path.key("cap_add"), findings, capability),
        privileged: raw.privileged.get().is_some_and(|flag| flag.0),
        network: raw.network.get().and_then(|text| value(network(&text.0), || path.key("network"), findings)),
        extra_hosts: extra_hosts(raw.extra_hosts.get(), &path.key("extra_hosts"), findings),
        dns: items(raw.dns.get(), MAX_DNS, &path.key("dns"), findings, |text| {
            text.parse()
                .map_err(|_| Fault::new("bad-address", format!("is not an IP address: {}", quoted(text))))
        }),
    }
}

/// Checks the containers of a job and its services together.
pub(crate) fn check_together(
    job: &ContainerOptions,
    services: &[Service],
    path: &Path,
    services_path: &Path,
    findings: &mut FindingSink,
) {
    if job.network.as_deref() == Some("none") && !services.is_empty() {
        let message = "a job with `network: none` cannot reach its services";
        findings.push(
            Finding::value("conflicting-keys", &path.key("network"), message)
                .help("remove `network`, or the services"),
        );
    }
    let hosts: HashSet<String> = job.extra_hosts.keys().map(|name| name.to_ascii_lowercase()).collect();
    for (index, service) in services.iter().enumerate() {
        let at = || services_path.index(index);
        if let Some(name) = service.alias.iter().find(|name| hosts.contains(&name.to_ascii_lowercase())) {
            let message = format!("the host name {} is also in `extra_hosts` of the job", quoted(name));
            findings.push(Finding::value("duplicate-alias", &at(), message).help("rename one of the two"));
        }
        if service.container.network.is_some() {
            let message = "a service is in the network of its job";
            findings.push(
                Finding::value("conflicting-keys", &at().key("container").key("network"), message)
                    .help("set `container: { network: ... }` of the job"),
            );
        }
    }
}

/// Returns a checked value; its fault is reported.
fn value<T>(checked: Result<T, Fault>, path: impl FnOnce() -> Path, findings: &mut FindingSink) -> Option<T> {
    checked.map_err(|fault| findings.check(Err(fault), path)).ok()
}

/// Returns the checked values of a list.
fn items<T>(
    list: Option<&OneOrMany<Text>>,
    max: usize,
    path: &Path,
    findings: &mut FindingSink,
    read: impl Fn(&str) -> Result<T, Fault>,
) -> Vec<T> {
    let list = list.map_or(&[][..], |list| list.0.as_slice());
    check_count(list.len(), max, path, findings);
    let texts = list.iter().take(max).enumerate();
    texts.filter_map(|(index, text)| value(read(&text.0), || path.index(index), findings)).collect()
}

fn check_count(count: usize, max: usize, path: &Path, findings: &mut FindingSink) {
    if count > max {
        let fault = Fault::new("out-of-range", format!("has {count} entries; {max} is the limit"));
        findings.check(Err(fault), || path.clone());
    }
}

fn check_size(bytes: u64) -> Result<(), Fault> {
    if SIZES.contains(&bytes) {
        return Ok(());
    }
    Err(Fault::new("out-of-range", "must be from 4 KiB to 64 TiB")
        .help("a bare number is bytes; write `512m` or `2GiB`"))
}

fn ulimits(
    raw: Option<&NamedValues<Either<Text, RawUlimit>>>,
    path: &Path,
    findings: &mut FindingSink,
) -> BTreeMap<String, Ulimit> {
    let mut all = BTreeMap::new();
    for (name, limit) in raw.map_or(&[][..], |entries| entries.0.as_slice()) {
        let at = || path.key(name);
        if !names::is_ulimit(name) {
            let help = findings.suggestions.did_you_mean(name, ULIMITS);
            let help = help.unwrap_or_else(|| format!("one of {}", ULIMITS.join(", ")));
            let message = format!("there is no limit {}", quoted(name));
            findings.push(Finding::key("unknown-value", &at(), message).help(help));
            continue;
        }
        let limit = match limit {
            Either::Short(text) => match text.0.split_once(':') {
                Some((soft, hard)) => ulimit(soft, hard),
                None => ulimit(&text.0, &text.0),
            },
            Either::Long(RawUlimit { soft, hard }) => {
                let (soft, hard) = (soft.get().or(hard.get()), hard.get().or(soft.get()));
                let text = |text: Option<&Text>| text.map(|text| text.0.clone()).unwrap_or_default();
                ulimit(&text(soft), &text(hard))
            }
        };
        all.extend(value(limit, at, findings).map(|limit| (name.clone(), limit)));
    }
    all
}

fn ulimit(soft: &str, hard: &str) -> Result<Ulimit, Fault> {
    let number = |text: &str| match text.trim() {
        "unlimited" | "-1" => Ok(-1),
        text => text.parse::<i64>().ok().filter(|number| *number >= 0).ok_or_else(|| {
            Fault::new("wrong-type", format!("takes a number or `unlimited`, not {}", quoted(text)))
                .help("write `nofile: 65536`, or `{ soft: 1024, hard: 65536 }`")
        }),
    };
    let limit = Ulimit { soft: number(soft)?, hard: number(hard)? };
    let is_below = limit.hard == -1 || (limit.soft != -1 && limit.soft <= limit.hard);
    if is_below { Ok(limit) } else { Err(Fault::new("out-of-range", "has a soft limit above the hard one")) }
}

fn tmpfs(text: &str) -> Result<(String, Option<u64>), Fault> {
    let (path, size) = match text.split_once(':') {
        Some((path, size)) => (path, Some(size.strip_prefix("size=").unwrap_or(size))),
        None => (text, None),
    };
    check_path(path)?;
    let trimmed = path.trim_end_matches('/');
    let is_at = |place: &str| trimmed == place || trimmed.starts_with(&format!("{place}/"));
    if trimmed.is_empty() || ["/proc", "/sys", "/dev"].into_iter().any(is_at) {
        return Err(Fault::new("bad-path", format!("cannot be a directory in memory: {}", quoted(path)))
            .help("`shm_size` sets the size of /dev/shm"));
    }
    if is_at(WORKSPACE_DIR) {
        let why = format!("is in the workspace, whose files are collected: {}", quoted(path));
        return Err(Fault::new("bad-path", why).help("write a path outside of the sources, such as /tmp"));
    }
    let bytes =
        size.map(|size| Bytes::from_text(size).and_then(|Bytes(bytes)| check_size(bytes).map(|()| bytes)));
    Ok((trimmed.to_owned(), bytes.transpose()?))
}

fn device(text: &str) -> Result<Device, Fault> {
    let mut parts = text.split(':');
    let host = parts.next().unwrap_or_default();
    let second = parts.next();
    let is_permissions = |text: &str| {
        !text.is_empty() && text.len() <= 3 && text.chars().all(|c| matches!(c, 'r' | 'w' | 'm'))
    };
    let (container, permissions) = match (second, parts.next()) {
        (Some(only), None) if is_permissions(only) => (host, only),
        (container, permissions) => (container.unwrap_or(host), permissions.unwrap_or("rwm")),
    };
    check_path(host)?;
    check_path(container)?;
    if parts.next().is_some() || !is_permissions(permissions) || !host.starts_with("/dev/") {
        return Err(Fault::new("bad-path", format!("is not a device: {}", quoted(text))).help(
            "write `/dev/kvm`, or `/dev/sda:/dev/disk:r` with its path in the container and permissions",
        ));
    }
    Ok(Device { host: host.to_owned(), container: container.to_owned(), permissions: permissions.to_owned() })
}

fn check_path(path: &str) -> Result<(), Fault> {
    let is_plain = path.starts_with('/')
        && path.len() <= MAX_PATH_BYTES
        && !names::climbs_out(path)
        && !path.contains(|c: char| c.is_control() || matches!(c, ',' | ':' | '$'));
    if is_plain {
        return Ok(());
    }
    Err(Fault::new("bad-path", format!("is not an absolute path of plain characters: {}", quoted(path)))
        .help("write a path such as `/tmp`, without `..`, commas and variables, of at most 255 bytes"))
}

fn gpus(text: &str) -> Result<Gpus, Fault> {
    let text = text.trim();
    if text == "all" {
        return Ok(Gpus::All);
    }
    if let Ok(count) = text.parse::<u32>()
        && (1..=1024).contains(&count)
    {
        return Ok(Gpus::Count(count));
    }
    let ids: Vec<String> =
        text.strip_prefix("device=").unwrap_or_default().split(',').map(|id| id.trim().to_owned()).collect();
    let is_id = |id: &String| {
        (1..=64).contains(&id.len()) && id.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:".contains(c))
    };
    if ids.iter().all(is_id) && ids.len() <= MAX_ENTRIES {
        return Ok(Gpus::Ids(ids));
    }
    Err(Fault::new(
        "unknown-value",
        format!("takes `all`, a number or `device=` and ids, not {}", quoted(text)),
    )
    .help("write `gpus: all`, `gpus: 2` or `gpus: \"device=0,1\"`"))
}

fn capability(text: &str) -> Result<String, Fault> {
    let upper = text.trim().to_ascii_uppercase();
    let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
    if names::is_capability(name) {
        return Ok(name.to_owned());
    }
    Err(Fault::new("unknown-value", format!("is not a capability: {}", quoted(text)))
        .help("capabilities(7) lists them; write `NET_ADMIN` or `SYS_PTRACE`"))
}

fn network(text: &str) -> Result<String, Fault> {
    let is_name = (1..=128).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    if is_name {
        return Ok(text.to_owned());
    }
    Err(Fault::new("bad-name", format!("is not the name of a network: {}", quoted(text)))
        .help("write `none`, `host`, or the name of a network of the engine"))
}

fn extra_hosts(
    raw: Option<&NamedValues<Text>>,
    path: &Path,
    findings: &mut FindingSink,
) -> IndexMap<String, String> {
    let entries = raw.map_or(&[][..], |entries| entries.0.as_slice());
    check_count(entries.len(), MAX_ENTRIES, path, findings);
    let mut all = IndexMap::new();
    for (name, address) in entries.iter().take(MAX_ENTRIES) {
        findings.check_key(check_host(name), || path.key(name));
        let is_address = address.0 == "host-gateway" || address.0.parse::<std::net::IpAddr>().is_ok();
        if !is_address {
            let fault = Fault::new("bad-address", format!("is not an IP address: {}", quoted(&address.0)))
                .help("write an address such as 10.0.0.5, or `host-gateway` for the worker's machine");
            findings.check(Err(fault), || path.key(name));
        }
        all.insert(name.clone(), address.0.clone());
    }
    all
}

/// Checks the user and the platform of a container.
pub(crate) fn check_user_and_platform(
    user: &Field<Text>,
    platform: &Field<Text>,
    path: &Path,
    findings: &mut FindingSink,
) {
    if let Some(user) = user.get() {
        findings.check(spelling(&user.0, names::check_user), || path.key("user"));
    }
    if let Some(platform) = platform.get() {
        findings.check(spelling(&platform.0, names::check_platform), || path.key("platform"));
    }
}

/// Applies `check` to a text whose references are well-formed.
pub(crate) fn spelling(text: &str, check: impl Fn(&str) -> Result<(), Fault>) -> Result<(), Fault> {
    references::parse_references(text).and_then(|_| check(text))
}
