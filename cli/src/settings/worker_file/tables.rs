//! The tables of `worker.toml`.

use super::{
    job_rules::WorkerFile,
    quantities::{Cpus, HourlyPrice, Size},
};
use indexmap::IndexMap;
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};
use tidemill_core::{
    execution::assignment::PullPolicy,
    pipeline::{is_capability, is_ulimit, is_variable_name, span_s},
};
use tidemill_worker::policy::{
    Allowance, HostMount, ImageSettings, JobSettings, Limits, Permissions, Proxies, SeccompProfile,
    TrustedRepositories, check_glob,
};
use tidemill_worker::{CgroupSettings, ExecutorKind, ProcessSettings};

/// Maximum size of the file of certificate authorities.
const MAX_CERTIFICATES_BYTES: u64 = 1 << 20;
/// Maximum size of a profile of system calls.
const MAX_PROFILE_BYTES: u64 = 1 << 20;

/// The file's format.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FileFormat {
    executor: Option<ExecutorName>,
    process: ProcessTable,
    no_new_privileges: Option<bool>,
    limits: LimitsTable,
    allow: AllowTable,
    trusted: Vec<AllowTable>,
    jobs: JobsTable,
    images: ImagesTable,
    includes: IncludesTable,
    machine: MachineTable,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ExecutorName {
    Container,
    Process,
}

/// The value of `cgroup` with which jobs get no control groups.
const NO_CGROUP: &str = "none";

/// How jobs run as plain processes.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ProcessTable {
    user: Option<String>,
    directory: Option<PathBuf>,
    cgroup: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct LimitsTable {
    memory: Option<Size>,
    cpus: Option<Cpus>,
    default_memory: Option<Size>,
    default_cpus: Option<Cpus>,
    pids: Option<u32>,
    open_files: Option<u32>,
    shm: Option<Size>,
    log: Option<Size>,
    artifacts: Option<Size>,
    cache: Option<Size>,
    workspace: Option<Size>,
}

/// `[allow]`, and `[[trusted]]`, which has `repositories` in addition.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct AllowTable {
    repositories: Option<Vec<String>>,
    memory: Option<Size>,
    ulimits: Option<BTreeMap<String, UlimitValue>>,
    extra_hosts: Option<bool>,
    dns: Option<bool>,
    devices: Option<Vec<String>>,
    gpus: Option<bool>,
    cap_add: Option<Vec<String>>,
    privileged: Option<bool>,
    docker: Option<DockerAccess>,
    seccomp: Option<String>,
    users: Option<Vec<String>>,
    networks: Option<Vec<String>>,
    build: Option<bool>,
    ssh_agent: Option<String>,
    forks: Option<bool>,
}

/// How jobs get a Docker engine.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum DockerAccess {
    /// As a service of their own.
    Sidecar,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum UlimitValue {
    Number(u32),
    Text(String),
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct JobsTable {
    environment: IndexMap<String, String>,
    proxy: ProxyTable,
    ca_certificates: Option<String>,
    mounts: Vec<MountValue>,
    extra_hosts: IndexMap<String, String>,
    dns: Vec<IpAddr>,
    network: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ProxyTable {
    http: Option<String>,
    https: Option<String>,
    ftp: Option<String>,
    all: Option<String>,
    no_proxy: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum MountValue {
    /// `source:target`, `source:target:ro` or `source:target:rw`.
    Short(String),
    Long(MountTable),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MountTable {
    source: String,
    target: String,
    #[serde(default = "yes")]
    read_only: bool,
    #[serde(default)]
    forks: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ImagesTable {
    mirrors: IndexMap<String, Vec<String>>,
    pull_policy: Option<PullPolicy>,
    pull_policies: Vec<PullPolicy>,
    max_age: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct IncludesTable {
    templates: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct MachineTable {
    usd_per_hour: Option<HourlyPrice>,
}

const fn yes() -> bool {
    true
}

impl FileFormat {
    /// Returns the settings, or what is wrong with them.
    pub fn into_settings(self) -> Result<WorkerFile, String> {
        let Self {
            executor,
            process,
            no_new_privileges,
            limits,
            allow,
            trusted,
            jobs,
            images,
            includes,
            machine,
        } = self;
        if allow.repositories.is_some() {
            return Err(
                "`repositories` is not a key of `[allow]`, which is for all; write `[[trusted]]`".to_owned()
            );
        }
        let trusted = trusted.into_iter().map(trusted_repositories).collect::<Result<_, _>>()?;
        let policies = images.pull_policies.clone();
        let images = images.into_settings()?;
        let permissions = Permissions {
            all: allow.apply(Allowance::default())?,
            trusted,
            pull_policies: policies,
            file: None,
        };
        let mut limits = limits.into_limits()?;
        limits.no_new_privileges = no_new_privileges.unwrap_or(limits.no_new_privileges);
        if let Some(path) = includes.templates.as_ref().filter(|path| !path.is_absolute()) {
            return Err(format!("`templates`: {} is not an absolute path", path.display()));
        }
        let jobs = jobs.into_settings(images)?;
        let machine_price = machine.usd_per_hour.map_or(0, |price| price.0);
        let process = process.into_settings()?;
        let executor = match executor {
            Some(ExecutorName::Process) => ExecutorKind::Processes(process),
            Some(ExecutorName::Container) | None => ExecutorKind::Containers,
        };
        Ok(WorkerFile { executor, limits, permissions, jobs, templates: includes.templates, machine_price })
    }
}

fn trusted_repositories(mut table: AllowTable) -> Result<TrustedRepositories, String> {
    let repositories = table.repositories.take().unwrap_or_default();
    if repositories.is_empty() {
        return Err("`[[trusted]]` has no `repositories`, such as [\"example.org/team/*\"]".to_owned());
    }
    repositories.iter().try_for_each(|pattern| check_glob(pattern))?;
    Ok(TrustedRepositories { repositories, allowance: table.apply(Allowance::none())? })
}

impl ProcessTable {
    fn into_settings(self) -> Result<ProcessSettings, String> {
        let Self { user, directory, cgroup } = self;
        let is_disabled = cgroup.as_deref().is_some_and(|path| path.as_os_str() == NO_CGROUP);
        let cgroup = cgroup.filter(|_| !is_disabled);
        for (key, path) in [("directory", &directory), ("cgroup", &cgroup)] {
            if let Some(path) = path.as_ref().filter(|path| !path.is_absolute()) {
                return Err(format!("`{key}`: {} is not an absolute path", path.display()));
            }
        }
        let cgroup = match cgroup {
            Some(directory) => CgroupSettings::Below(directory),
            None if is_disabled => CgroupSettings::Disabled,
            None => CgroupSettings::OfWorker,
        };
        Ok(ProcessSettings { user, directory, cgroup, supervisor: Vec::new() })
    }
}

impl LimitsTable {
    fn into_limits(self) -> Result<Limits, String> {
        let defaults = Limits::default();
        let size = |value: Option<Size>, default: u64| value.map_or(default, |size| size.0);
        let limits = Limits {
            memory_bytes: self.memory.map(|size| size.0),
            cpus: self.cpus.map(|cpus| cpus.0),
            default_memory_bytes: self.default_memory.map(|size| size.0),
            default_cpus: self.default_cpus.map(|cpus| cpus.0),
            pids: self.pids.unwrap_or(defaults.pids),
            open_files: self.open_files.unwrap_or(defaults.open_files),
            shm_bytes: size(self.shm, defaults.shm_bytes),
            log_bytes: size(self.log, defaults.log_bytes),
            artifact_bytes: size(self.artifacts, defaults.artifact_bytes),
            cache_bytes: size(self.cache, defaults.cache_bytes),
            workspace_bytes: size(self.workspace, defaults.workspace_bytes),
            no_new_privileges: defaults.no_new_privileges,
        };
        if limits.pids == 0 {
            return Err("`pids` is 0, but every job needs a process; the default is 4096".to_owned());
        }
        if limits.memory_bytes.zip(limits.default_memory_bytes).is_some_and(|(max, default)| default > max) {
            return Err(
                "`default_memory` is more than `memory`, which is the most that a job may use".to_owned()
            );
        }
        if limits.cpus.zip(limits.default_cpus).is_some_and(|(max, default)| default > max) {
            return Err("`default_cpus` is more than `cpus`, which is the most that a job may use".to_owned());
        }
        Ok(limits)
    }
}

impl AllowTable {
    /// Returns `base` with what the table sets.
    fn apply(self, mut base: Allowance) -> Result<Allowance, String> {
        if let Some(memory) = self.memory {
            base.memory_bytes = Some(memory.0);
        }
        for (name, value) in self.ulimits.into_iter().flatten() {
            if !is_ulimit(&name) {
                return Err(format!(
                    "`ulimits`: there is no limit `{name}`; write `nofile`, as setrlimit(2) has it"
                ));
            }
            let max = match value {
                UlimitValue::Number(number) => i64::from(number),
                UlimitValue::Text(text) if text == "unlimited" => -1,
                UlimitValue::Text(text) => {
                    return Err(format!("`ulimits`: `{name}` takes a number or \"unlimited\", not `{text}`"));
                }
            };
            base.ulimits.insert(name, max);
        }
        let capabilities = self.cap_add.unwrap_or_default().into_iter().map(|name| {
            let upper = name.to_ascii_uppercase();
            let known = upper.strip_prefix("CAP_").unwrap_or(&upper);
            let known = is_capability(known).then(|| known.to_owned());
            known.ok_or_else(|| {
                format!("`cap_add`: there is no capability `{name}`, as capabilities(7) lists them")
            })
        });
        let ssh_agent = match self.ssh_agent {
            Some(path) if !path.starts_with('/') => {
                return Err(format!("`ssh_agent`: `{path}` is not the absolute path of a socket"));
            }
            other => other.map(Into::into).or(base.ssh_agent.take()),
        };
        let seccomp = self.seccomp.as_deref().map(seccomp).transpose()?.or(base.seccomp.take());
        let devices = self.devices.unwrap_or_default();
        devices.iter().try_for_each(|pattern| check_glob(pattern))?;
        let users = self.users.or(base.users.take());
        users.iter().flatten().try_for_each(|pattern| check_glob(pattern))?;
        Ok(Allowance {
            users,
            extra_hosts: self.extra_hosts.unwrap_or(base.extra_hosts),
            dns: self.dns.unwrap_or(base.dns),
            devices,
            gpus: self.gpus.unwrap_or(false),
            cap_add: capabilities.collect::<Result<BTreeSet<_>, _>>()?,
            privileged: self.privileged.unwrap_or(false),
            docker_sidecar: matches!(self.docker, Some(DockerAccess::Sidecar)),
            seccomp,
            networks: self.networks.unwrap_or_default().into_iter().collect(),
            build: self.build.unwrap_or(base.build),
            ssh_agent,
            forks: self.forks.unwrap_or(false),
            ..base
        })
    }
}

impl JobsTable {
    fn into_settings(self, images: ImageSettings) -> Result<JobSettings, String> {
        if let Some(name) = self.environment.keys().find(|name| !is_variable_name(name)) {
            return Err(format!("`environment`: `{name}` cannot be the name of a variable"));
        }
        for (name, address) in &self.extra_hosts {
            if address != "host-gateway" && address.parse::<IpAddr>().is_err() {
                return Err(format!("`extra_hosts`: `{address}` of `{name}` is not an IP address"));
            }
        }
        let ProxyTable { http, https, ftp, all, no_proxy } = self.proxy;
        Ok(JobSettings {
            environment: self.environment,
            proxies: Proxies { http, https, ftp, all, none: no_proxy },
            ca_certificates: self.ca_certificates.as_deref().map(certificates).transpose()?,
            mounts: self.mounts.into_iter().map(MountValue::into_mount).collect::<Result<_, _>>()?,
            extra_hosts: self.extra_hosts,
            dns: self.dns,
            network: self.network,
            images,
        })
    }
}

/// Reads the file at `path`, which `key` names.
fn read_file(key: &str, path: &str, max_bytes: u64) -> Result<String, String> {
    let fail = |why: String| format!("`{key}`: {path} {why}");
    if !Path::new(path).is_absolute() {
        return Err(fail("is not an absolute path".to_owned()));
    }
    let size = std::fs::metadata(path).map_err(|error| fail(format!("cannot be read: {error}")))?.len();
    if size > max_bytes {
        return Err(fail(format!("is larger than {} MiB", max_bytes >> 20)));
    }
    std::fs::read_to_string(path).map_err(|error| fail(format!("cannot be read: {error}")))
}

/// Reads the profile that `seccomp` names.
fn seccomp(value: &str) -> Result<SeccompProfile, String> {
    if value == "unconfined" {
        return Ok(SeccompProfile::Unconfined);
    }
    let text = read_file("seccomp", value, MAX_PROFILE_BYTES)?;
    SeccompProfile::parse(&text).map_err(|why| format!("`seccomp`: {value} {why}"))
}

/// Reads the file of certificate authorities.
fn certificates(path: &str) -> Result<String, String> {
    let fail = |why: &str| format!("`ca_certificates`: {path} {why}");
    let text = read_file("ca_certificates", path, MAX_CERTIFICATES_BYTES)?;
    if text.contains("PRIVATE KEY") {
        return Err(fail("holds a private key, which every job could read"));
    }
    if !text.contains("-----BEGIN CERTIFICATE-----") {
        return Err(fail("holds no certificate in PEM form"));
    }
    Ok(text)
}

impl MountValue {
    fn into_mount(self) -> Result<HostMount, String> {
        let mount = match self {
            Self::Long(MountTable { source, target, read_only, forks }) => {
                HostMount { source, target, read_only, forks }
            }
            Self::Short(text) => {
                let parts: Vec<&str> = text.split(':').collect();
                let (source, target, read_only) = match parts.as_slice() {
                    [source, target] | [source, target, "ro"] => (source, target, true),
                    [source, target, "rw"] => (source, target, false),
                    _ => {
                        return Err(format!(
                            "`mounts`: `{text}` is not `source:target` or `source:target:rw`"
                        ));
                    }
                };
                HostMount {
                    source: (*source).to_owned(),
                    target: (*target).to_owned(),
                    read_only,
                    forks: false,
                }
            }
        };
        let HostMount { source, target, .. } = &mount;
        if !Path::new(source).is_absolute() || !Path::new(target).is_absolute() {
            return Err(format!("`mounts`: `{source}` and `{target}` must be absolute paths"));
        }
        let target = target.trim_end_matches('/');
        if target.is_empty() || ["/proc", "/sys", "/dev", "/workspace"].contains(&target) {
            return Err(format!("`mounts`: the target `{target}/` is the container's own"));
        }
        Ok(mount)
    }
}

impl ImagesTable {
    fn into_settings(self) -> Result<ImageSettings, String> {
        for mirror in self.mirrors.values().flatten() {
            if mirror.contains("://") || mirror.is_empty() || mirror.ends_with('/') {
                return Err(format!(
                    "`mirrors`: write `{mirror}` as in an image's name, such as `mirror.example.org:5000/hub`, without \
                     `https://` and without a slash at its end"
                ));
            }
        }
        let allowed = &self.pull_policies;
        let default = self.pull_policy.or(allowed.first().copied()).unwrap_or_default();
        if !allowed.is_empty() && !allowed.contains(&default) {
            return Err("`pull_policy` is not one of `pull_policies`, so no job could use it".to_owned());
        }
        let max_age = self.max_age.as_deref().map(span_s).transpose();
        let max_age = max_age.map_err(|error| format!("`max_age`: {error}"))?.map(Duration::from_secs);
        Ok(ImageSettings { mirrors: self.mirrors, pull_policy: default, max_age })
    }
}
