//! Bridges of containers on the engine's machine.

/// The bridge of a network of containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeNetwork {
    /// Its interface on this machine.
    pub interface: String,
}

/// The networks of a worker whose jobs are isolated.
#[derive(Debug)]
pub struct Isolation {
    /// The network of jobs without services: no container on it reaches another.
    pub jobs_network: String,
    /// The prefix of the names of the bridges on this machine.
    pub bridge_prefix: String,
}
