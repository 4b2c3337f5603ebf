//! The machine that an engine runs on.

use super::DockerManager;
use crate::queue::capacity::ResourceAmount;
use bollard::query_parameters::InspectNetworkOptions;

/// The network of the worker's containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeNetwork {
    /// Its interface on this machine.
    pub interface: String,
}

impl DockerManager {
    /// The processors and the memory of the engine's machine; an engine that does not say has as much as anyone asks.
    pub async fn machine(&self) -> ResourceAmount {
        if self.local
            && let Ok(processors) = std::thread::available_parallelism()
            && let Some(bytes) = local_memory()
        {
            return ResourceAmount { millicpus: processors.get() as u64 * 1000, bytes };
        }
        let info = self.docker.info().await.ok();
        let known = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
        let processors = known(info.as_ref().and_then(|info| info.ncpu)).filter(|count| *count > 0);
        let memory = known(info.as_ref().and_then(|info| info.mem_total)).filter(|bytes| *bytes > 0);
        ResourceAmount {
            millicpus: processors.map_or(u64::MAX, |count| count.saturating_mul(1000)),
            bytes: memory.unwrap_or(u64::MAX),
        }
    }

    /// The network that containers of this worker are on.
    pub async fn bridge(&self) -> Result<BridgeNetwork, String> {
        if !self.local {
            return Err("the engine is on another machine, whose rules cannot be set from here".into());
        }
        // Docker's default network, and Podman's.
        for name in ["bridge", "podman"] {
            let Ok(network) = self.docker.inspect_network(name, None::<InspectNetworkOptions>).await else {
                continue;
            };
            let options = network.options.unwrap_or_default();
            let told =
                options.get("com.docker.network.bridge.name").or_else(|| options.get("network_interface"));
            let usual = if name == "podman" { "podman0" } else { "docker0" };
            return Ok(BridgeNetwork { interface: told.cloned().unwrap_or_else(|| usual.to_owned()) });
        }
        Err("the engine shows no default network".into())
    }
}

/// The memory of this machine, in bytes.
fn local_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}
