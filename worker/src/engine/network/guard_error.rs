//! Why jobs cannot be isolated, or kept from instance metadata.

use std::io;

/// Why jobs cannot be isolated, or kept from instance metadata.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// There are no containers.
    #[error("jobs run as plain processes, without a container engine")]
    NoEngine,
    /// The engine's machine is not this one.
    #[error("the engine is on another machine, whose rules cannot be set from here")]
    RemoteEngine,
    /// The engine does not answer.
    #[error(transparent)]
    Engine(#[from] bollard::errors::Error),
    /// This engine cannot isolate containers of one network.
    #[error("{0} has no networks that isolate their containers; use Docker")]
    Unsuitable(String),
    /// All jobs are in a network of the operator's.
    #[error("they are in the network `{0}`, which worker.toml chooses for all jobs")]
    ChosenNetwork(String),
    /// The engine creates no network for the jobs.
    #[error("{0}")]
    NoNetwork(String),
    /// The engine has none of the default networks.
    #[error("the engine lists no default network")]
    NoDefaultNetwork,
    /// The kernel does not filter packets between containers of one bridge.
    #[error(
        "containers on one bridge are not isolated: `{0}` is not 1; load the kernel module br_netfilter, and let the engine set \
         its iptables rules"
    )]
    NotFiltered(&'static str),
    /// It was done before.
    #[error("the worker's jobs are isolated already")]
    Repeated,
    /// The packet filter's tool cannot be run.
    #[error("`{tool}` cannot be run: {error}; install it, and run the worker as root")]
    NoTool {
        /// Its name.
        tool: String,
        /// The reason.
        error: io::Error,
    },
    /// The packet filter's tool does not take a rule.
    #[error("`{command}` failed: {message}")]
    Rule {
        /// The tool and its arguments.
        command: String,
        /// What it says.
        message: String,
    },
}
