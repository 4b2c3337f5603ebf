//! Resource limits of containers, and what they get beyond an ordinary one.

use super::{certificates, manager::DockerManager};
use bollard::models::{
    DeviceMapping, DeviceRequest, HostConfig, HostConfigLogConfig, Mount, MountType, ResourcesUlimits,
};
use tidemill_core::{
    execution::assignment::{ContainerOptions, Origin, Resources},
    pipeline::{Gpus, Ulimit},
};

/// When the machine runs out of memory, the kernel kills processes of jobs before those of the worker and the engine.
pub(crate) const OOM_SCORE: i64 = 500;

/// The capabilities that package managers need inside their own container.
const CAPABILITIES: [&str; 9] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
];

/// What `sudo` needs besides, to report to the kernel's log.
const SUDO_CAPABILITY: &str = "AUDIT_WRITE";

/// Networks that are not the engine's own, in which containers have no names.
const SPECIAL_NETWORKS: [&str; 4] = ["none", "host", "bridge", "default"];

impl DockerManager {
    /// Returns the host configuration of a container of a job, apart from its network: its limits, what it asks for, and what
    /// every container gets.
    pub(super) fn host_config(
        &self,
        resources: Resources,
        options: &ContainerOptions,
        origin: &Origin,
    ) -> HostConfig {
        let mut config = self.host_limits(resources);
        let settings = &self.settings;
        if let Some(bytes) = options.shm_bytes {
            config.shm_size = i64::try_from(bytes).ok();
        }
        let ulimits = config.ulimits.get_or_insert_default();
        for (name, Ulimit { soft, hard }) in &options.ulimits {
            ulimits.retain(|limit| limit.name.as_ref() != Some(name));
            ulimits.push(ResourcesUlimits { name: Some(name.clone()), soft: Some(*soft), hard: Some(*hard) });
        }
        if options.privileged {
            // Containers in a privileged one have rights of their own to give.
            config.security_opt = None;
        } else if let Some(profile) = self.permissions.seccomp(origin) {
            config.security_opt.get_or_insert_default().push(profile.security_option());
        }
        let mut hosts = settings.extra_hosts.clone();
        hosts.extend(options.extra_hosts.clone());
        let dns = if options.dns.is_empty() { &settings.dns } else { &options.dns };
        let tmpfs = options.tmpfs.iter().map(|(path, bytes)| {
            let size = bytes.map(|bytes| format!(",size={bytes}")).unwrap_or_default();
            (path.clone(), format!("rw,nosuid,nodev,exec,mode=1777{size}"))
        });
        let devices = options.devices.iter().map(|device| DeviceMapping {
            path_on_host: Some(device.host.clone()),
            path_in_container: Some(device.container.clone()),
            cgroup_permissions: Some(device.permissions.clone()),
        });
        let mounts = settings.mounts.iter().filter(|mount| mount.forks || !origin.is_fork);
        let mounts = mounts.map(|mount| Mount {
            typ: Some(MountType::BIND),
            source: Some(mount.source.clone()),
            target: Some(mount.target.clone()),
            read_only: Some(mount.read_only),
            ..Default::default()
        });
        config.cap_add.get_or_insert_default().extend(options.cap_add.iter().cloned());
        HostConfig {
            log_config: Some(HostConfigLogConfig { typ: Some("none".into()), config: None }),
            privileged: options.privileged.then_some(true),
            extra_hosts: Some(hosts.iter().map(|(name, address)| format!("{name}:{address}")).collect()),
            dns: Some(dns.iter().map(ToString::to_string).collect()),
            tmpfs: Some(tmpfs.collect()),
            devices: Some(devices.collect()),
            device_requests: options.gpus.as_ref().map(|gpus| vec![gpu_request(gpus)]),
            mounts: Some(mounts.collect()),
            ..config
        }
    }

    /// Returns the environment that the worker gives to a container: proxies, the file of certificate authorities, and the
    /// operator's variables if it is a job's. `services` are reached without a proxy.
    pub(super) fn environment<'a>(
        &self,
        services: impl Iterator<Item = &'a str>,
        is_job: bool,
    ) -> Vec<(String, String)> {
        let settings = &self.settings;
        let mut variables = settings.proxies.variables(services);
        if settings.ca_certificates.is_some() {
            variables.extend(
                certificates::VARIABLES.map(|name| (name.to_owned(), certificates::BUNDLE.to_owned())),
            );
        }
        if is_job {
            variables.extend(settings.environment.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        variables
    }

    /// Returns the network of the engine that a job shares with its services, because its file or the operator chose it.
    pub fn chosen_network<'a>(&'a self, options: &'a ContainerOptions) -> Option<&'a str> {
        let chosen = options.network.as_deref().or(self.settings.network.as_deref());
        chosen.filter(|name| !SPECIAL_NETWORKS.contains(name))
    }

    /// Returns the host configuration that limits what processes in a container of a job may do.
    fn host_rights(&self) -> HostConfig {
        let no_new_privileges = self.limits().no_new_privileges;
        let extra = (!no_new_privileges).then_some(SUDO_CAPABILITY);
        let capabilities = CAPABILITIES.into_iter().chain(extra).map(str::to_owned).collect();
        HostConfig {
            security_opt: no_new_privileges.then(|| vec!["no-new-privileges".to_owned()]),
            cap_drop: Some(vec!["ALL".to_owned()]),
            cap_add: Some(capabilities),
            ..Default::default()
        }
    }

    /// Returns the host configuration that limits a container of a job with `resources`, and what its processes may do.
    pub(super) fn host_limits(&self, resources: Resources) -> HostConfig {
        let limits = self.limits();
        let resources = limits.apply(resources);
        let number = |value: u64| i64::try_from(value).ok();
        let memory = resources.memory_bytes.and_then(number);
        #[allow(clippy::cast_possible_truncation, reason = "a number of processors is small")]
        let nano_cpus = resources.cpus.map(|cpus| (cpus * 1e9) as i64);
        let limit = |name: &str, value: i64| ResourcesUlimits {
            name: Some(name.to_owned()),
            soft: Some(value),
            hard: Some(value),
        };
        // The machine decides where a core dump is written, possibly outside of the container.
        let mut ulimits = vec![limit("core", 0)];
        if limits.open_files > 0 {
            ulimits.push(limit("nofile", i64::from(limits.open_files)));
        }
        HostConfig {
            pids_limit: Some(i64::from(limits.pids)),
            memory,
            memory_swap: memory,
            nano_cpus,
            shm_size: number(limits.shm_bytes),
            ulimits: Some(ulimits),
            oom_score_adj: Some(OOM_SCORE),
            ..self.host_rights()
        }
    }
}

/// Returns the request for GPUs, as the engine's own client makes it.
fn gpu_request(gpus: &Gpus) -> DeviceRequest {
    let (count, device_ids) = match gpus {
        Gpus::All => (Some(-1), None),
        Gpus::Count(count) => (Some(i64::from(*count)), None),
        Gpus::Ids(ids) => (None, Some(ids.clone())),
    };
    DeviceRequest { count, device_ids, capabilities: Some(vec![vec!["gpu".into()]]), ..Default::default() }
}
