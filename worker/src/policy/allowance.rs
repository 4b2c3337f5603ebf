//! What an operator allows jobs to ask of their containers.

use super::seccomp::SeccompProfile;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

/// The limit of open files that any job may set.
pub const MAX_OPEN_FILES: i64 = 1 << 20;

/// What jobs may ask for. The default is what is safe for jobs of anyone.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // One for each key of `worker.toml`.
pub struct Allowance {
    /// Maximum size of `/dev/shm`, and of all directories in memory together; `None`: the job's memory, to which both count.
    pub memory_bytes: Option<u64>,
    /// The largest value of each limit of processes; -1: any.
    pub ulimits: BTreeMap<String, i64>,
    /// Whether jobs may set addresses of host names.
    pub extra_hosts: bool,
    /// Whether jobs may choose DNS servers.
    pub dns: bool,
    /// Globs of devices.
    pub devices: Vec<String>,
    /// Whether jobs may use GPUs.
    pub gpus: bool,
    /// Capabilities; `ALL`: any.
    pub cap_add: BTreeSet<String>,
    /// Whether containers may have all rights of the machine's root.
    pub privileged: bool,
    /// Whether a service that is a Docker engine may be privileged, although the job itself may not.
    pub docker_sidecar: bool,
    /// The system calls of jobs; `None`: as the engine has it. Jobs do not ask for it.
    pub seccomp: Option<SeccompProfile>,
    /// Globs of the users that jobs may choose for containers, besides that of an image; `None`: any.
    pub users: Option<Vec<String>>,
    /// Networks besides `none`.
    pub networks: BTreeSet<String>,
    /// Whether jobs may build images.
    pub build: bool,
    /// The socket of the SSH agent that builds may use.
    pub ssh_agent: Option<PathBuf>,
    /// Whether jobs of forks may ask for devices, GPUs, capabilities, privileged containers, networks and builds, too.
    pub forks: bool,
}

impl Default for Allowance {
    fn default() -> Self {
        // What only restricts the job itself, or is charged to its memory. `core` is not: the machine decides where a dump goes.
        let any = ["cpu", "data", "fsize", "locks", "memlock", "nproc", "rss", "stack"];
        let mut ulimits: BTreeMap<String, i64> = any.map(|name| (name.to_owned(), -1)).into_iter().collect();
        ulimits.insert("nofile".to_owned(), MAX_OPEN_FILES);
        ulimits.insert("core".to_owned(), 0);
        Self {
            memory_bytes: None,
            ulimits,
            extra_hosts: true,
            dns: true,
            devices: Vec::new(),
            gpus: false,
            cap_add: BTreeSet::new(),
            privileged: false,
            docker_sidecar: false,
            seccomp: None,
            users: None,
            networks: BTreeSet::new(),
            build: true,
            ssh_agent: None,
            forks: false,
        }
    }
}

impl Allowance {
    /// Returns one that allows nothing, to be added to another.
    pub fn none() -> Self {
        Self {
            memory_bytes: Some(0),
            ulimits: BTreeMap::new(),
            extra_hosts: false,
            dns: false,
            users: Some(Vec::new()),
            build: false,
            ..Self::default()
        }
    }

    /// Returns what of it applies to jobs of forks.
    pub(super) fn for_forks(&self) -> Self {
        if self.forks {
            return self.clone();
        }
        Self {
            memory_bytes: self.memory_bytes,
            ulimits: self.ulimits.clone(),
            extra_hosts: self.extra_hosts,
            dns: self.dns,
            users: self.users.clone(),
            build: false,
            ..Self::default()
        }
    }

    /// Returns like [`Self::for_forks`] what applies to jobs of forks, of what jobs of all repositories may. Its profile of system
    /// calls stays, as the operator may have chosen a stricter one than the engine's.
    pub(super) fn of_all_for_forks(&self) -> Self {
        let mut allowed = self.for_forks();
        if let Some(SeccompProfile::Profile(_)) = &self.seccomp {
            allowed.seccomp.clone_from(&self.seccomp);
        }
        allowed
    }

    /// Adds what `other` allows.
    pub(super) fn extend(&mut self, other: &Self) {
        self.memory_bytes = match (self.memory_bytes, other.memory_bytes) {
            (Some(ours), Some(theirs)) => Some(ours.max(theirs)),
            (None, _) | (_, None) => None,
        };
        for (name, max) in &other.ulimits {
            let ours = self.ulimits.entry(name.clone()).or_insert(*max);
            *ours = if *ours == -1 || *max == -1 { -1 } else { (*ours).max(*max) };
        }
        self.extra_hosts |= other.extra_hosts;
        self.dns |= other.dns;
        self.devices.extend(other.devices.iter().cloned());
        self.gpus |= other.gpus;
        self.cap_add.extend(other.cap_add.iter().cloned());
        self.privileged |= other.privileged;
        self.docker_sidecar |= other.docker_sidecar;
        self.users = match (self.users.take(), &other.users) {
            (Some(ours), Some(theirs)) => Some(ours.into_iter().chain(theirs.iter().cloned()).collect()),
            (None, _) | (_, None) => None,
        };
        self.networks.extend(other.networks.iter().cloned());
        self.build |= other.build;
        if other.seccomp.is_some() {
            self.seccomp.clone_from(&other.seccomp);
        }
        if other.ssh_agent.is_some() {
            self.ssh_agent.clone_from(&other.ssh_agent);
        }
    }
}
