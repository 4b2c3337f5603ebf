//! The machine that an engine runs on.

use super::{
    manager::DockerManager,
    network::{BridgeNetwork, GuardError},
};
use crate::queue::capacity::ResourceAmount;
use bollard::query_parameters::InspectNetworkOptions;

impl DockerManager {
    /// Returns the processors and the memory of the engine's machine; unlimited if the engine does not report them.
    pub async fn machine_resources(&self) -> ResourceAmount {
        if self.is_local && local_memory().is_some() {
            return local_machine();
        }
        let info = self.docker.info().await.ok();
        let non_negative = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
        let processors = non_negative(info.as_ref().and_then(|info| info.ncpu)).filter(|count| *count > 0);
        let memory = non_negative(info.as_ref().and_then(|info| info.mem_total)).filter(|bytes| *bytes > 0);
        ResourceAmount {
            millicpus: processors.map_or(u64::MAX, |count| count.saturating_mul(1000)),
            bytes: memory.unwrap_or(u64::MAX),
        }
    }

    /// Returns the bridge of the engine's default network, on which containers of this worker are.
    pub async fn bridge(&self) -> Result<BridgeNetwork, GuardError> {
        if !self.is_local {
            return Err(GuardError::RemoteEngine);
        }
        // Docker's default network, and Podman's.
        for name in ["bridge", "podman"] {
            let Ok(network) = self.docker.inspect_network(name, None::<InspectNetworkOptions>).await else {
                continue;
            };
            let options = network.options.unwrap_or_default();
            let reported =
                options.get("com.docker.network.bridge.name").or_else(|| options.get("network_interface"));
            let default = if name == "podman" { "podman0" } else { "docker0" };
            return Ok(BridgeNetwork { interface: reported.cloned().unwrap_or_else(|| default.to_owned()) });
        }
        Err(GuardError::NoDefaultNetwork)
    }
}

/// Returns the processors and the memory of this machine; unlimited if they are unknown.
pub fn local_machine() -> ResourceAmount {
    let processors = std::thread::available_parallelism();
    ResourceAmount {
        millicpus: processors.map_or(u64::MAX, |processors| processors.get() as u64 * 1000),
        bytes: local_memory().unwrap_or(u64::MAX),
    }
}

/// Returns the memory of this machine, in bytes.
fn local_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}
