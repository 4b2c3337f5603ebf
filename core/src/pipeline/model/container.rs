//! What a container gets beyond an ordinary one.

use std::collections::BTreeMap;
use std::net::IpAddr;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a job or a service asks of its container beyond an ordinary one. A worker decides what it allows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ContainerOptions {
    /// Bytes of memory in `/dev/shm`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shm_bytes: Option<u64>,
    /// Limits of processes, by the names of setrlimit(2) in lower case.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ulimits: BTreeMap<String, Ulimit>,
    /// Directories in memory, by their paths, with their sizes in bytes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tmpfs: BTreeMap<String, Option<u64>>,
    /// Devices of the worker's machine.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<Device>,
    /// GPUs of the worker's machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpus: Option<Gpus>,
    /// Capabilities without the prefix `CAP_`, or `ALL`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cap_add: Vec<String>,
    /// Whether it has all rights of the machine's root.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub privileged: bool,
    /// The network: `none`, `host`, `bridge`, or one that exists in the engine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Addresses of host names: an IP address, or `host-gateway`.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub extra_hosts: IndexMap<String, String>,
    /// DNS servers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<IpAddr>,
}

impl ContainerOptions {
    /// Whether it asks for nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether its network is not to be shared with other jobs of its execution: it has another one or other names in it, or it
    /// could change it for a job that comes after.
    #[must_use]
    pub fn needs_own_network(&self) -> bool {
        self.network.is_some()
            || !self.extra_hosts.is_empty()
            || !self.dns.is_empty()
            || self.privileged
            || !self.cap_add.is_empty()
    }

    /// Returns the texts that it holds, for estimates of its size.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &String> {
        let hosts = self.extra_hosts.iter().flat_map(|(name, address)| [name, address]);
        let devices = self.devices.iter().flat_map(|device| [&device.host, &device.container]);
        let ids = match &self.gpus {
            Some(Gpus::Ids(ids)) => ids.as_slice(),
            Some(Gpus::All | Gpus::Count(_)) | None => &[],
        };
        self.ulimits
            .keys()
            .chain(self.tmpfs.keys())
            .chain(&self.cap_add)
            .chain(&self.network)
            .chain(ids)
            .chain(hosts)
            .chain(devices)
    }
}

/// A limit of the processes in a container; -1: none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Ulimit {
    /// The limit that applies.
    pub soft: i64,
    /// Up to which a process may raise it.
    pub hard: i64,
}

/// A device of the worker's machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Device {
    /// Its path on the machine.
    pub host: String,
    /// Its path in the container.
    pub container: String,
    /// What the container may do with it: some of `r`, `w` and `m`.
    pub permissions: String,
}

/// GPUs of the worker's machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Gpus {
    /// All of them.
    All,
    /// So many.
    Count(u32),
    /// Those with these ids or indices.
    Ids(Vec<String>),
}
