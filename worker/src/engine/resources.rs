//! Resource limits of containers.

use super::manager::DockerManager;
use bollard::models::{HostConfig, ResourcesUlimits};
use tidemill_core::execution::assignment::Resources;

/// When the machine runs out of memory, the kernel kills processes of jobs before those of the worker and the engine.
const OOM_SCORE: i64 = 500;

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

impl DockerManager {
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
