//! Networks on which jobs reach no other job and nothing of this machine.

use super::host_guard;
use super::{BridgeNetwork, DockerManager, EngineError, LABEL, LABEL_DATA, LABEL_WORKER, failure};
use bollard::{models::NetworkCreateRequest, query_parameters::ListNetworksOptions};
use std::{collections::HashMap, sync::Arc};
use tidemill_core::execution::failure::FailureReason;

const ICC: &str = "com.docker.network.bridge.enable_icc";
const BRIDGE_NAME: &str = "com.docker.network.bridge.name";
/// Says whether packets between containers on one bridge pass the packet filter.
const BRIDGE_FILTER: &str = "/proc/sys/net/bridge/bridge-nf-call-iptables";

/// What a worker has so that its jobs are isolated.
#[derive(Debug)]
pub(super) struct Isolation {
    /// The network of jobs without services: no container on it reaches another.
    jobs: String,
    /// How the names of the bridges begin, on this machine.
    bridges: String,
}

/// The network of one job and its services. Nothing else is on it.
#[derive(Debug)]
pub struct JobNetwork {
    /// Its name.
    pub name: String,
    engine: Arc<DockerManager>,
}

impl Drop for JobNetwork {
    fn drop(&mut self) {
        let (engine, name) = (self.engine.clone(), std::mem::take(&mut self.name));
        let removing = self.engine.clone();
        // The containers on it go first, in the background, too.
        removing.removing.spawn(async move { engine.remove_network(&name).await });
    }
}

impl DockerManager {
    /// Has all containers of jobs made from now on networks on which they reach no other job, and nothing of this machine but
    /// DNS and the TCP ports `allowed`; or says why that cannot be had.
    pub async fn isolate(&self, allowed: &[u16]) -> Result<(), String> {
        if !self.local {
            return Err("the engine is on another machine, whose rules cannot be set from here".into());
        }
        let version = self.docker.version().await.map_err(|error| error.to_string())?;
        let components = version.components.unwrap_or_default();
        if let Some(other) = components.iter().find(|component| component.name.contains("Podman")) {
            return Err(format!("{} has no networks whose containers are kept apart", other.name));
        }
        let bridges = host_guard::close(allowed).await?;
        let name = self.create_network(&bridges, false).await.map_err(|reason| reason.message)?;
        // The engine loads the module with the first such network.
        let filtered = std::fs::read_to_string(BRIDGE_FILTER).is_ok_and(|value| value.trim() == "1");
        if !filtered {
            self.remove_network(&name).await;
            return Err(format!(
                "containers on one bridge are not kept apart: `{BRIDGE_FILTER}` is not 1; load the module br_netfilter, and let the \
                 engine set its rules"
            ));
        }
        let isolation = Isolation { jobs: name, bridges };
        self.isolation.set(isolation).map_err(|_| "the worker's jobs are isolated already".to_owned())
    }

    /// The network of containers that join no other's; `None`: the engine's default one.
    pub(super) fn network_mode(&self) -> Option<String> {
        self.isolation.get().map(|isolation| isolation.jobs.clone())
    }

    /// The bridges of isolated jobs on this machine, as the packet filter names them.
    pub fn isolated_bridges(&self) -> Option<BridgeNetwork> {
        let isolation = self.isolation.get()?;
        Some(BridgeNetwork { interface: format!("{}+", isolation.bridges) })
    }

    /// A network for one job and its services; `None` where jobs are not isolated.
    pub async fn job_network(self: &Arc<Self>) -> Result<Option<JobNetwork>, FailureReason> {
        let Some(isolation) = self.isolation.get() else { return Ok(None) };
        let name = self.create_network(&isolation.bridges, true).await?;
        Ok(Some(JobNetwork { name, engine: self.clone() }))
    }

    /// A network whose containers reach each other or not.
    async fn create_network(&self, bridges: &str, talk: bool) -> Result<String, FailureReason> {
        let id = uuid::Uuid::now_v7().simple().to_string();
        // Its last digits are the random ones. An interface's name has at most 15 bytes.
        let bridge = format!("{bridges}{}", id.get(id.len().saturating_sub(8)..).unwrap_or(&id));
        let name = format!("tidemill-{id}");
        let request = NetworkCreateRequest {
            name: name.clone(),
            driver: Some("bridge".into()),
            // Whatever the engine's default is: the machine is closed to these bridges for IPv4 only.
            enable_ipv6: Some(false),
            options: Some(HashMap::from([
                (ICC.to_owned(), talk.to_string()),
                (BRIDGE_NAME.to_owned(), bridge),
            ])),
            labels: Some(self.labels()),
            ..Default::default()
        };
        let made = self.docker.create_network(request).await;
        made.map_err(|error| failure("a network for jobs could not be made", &error))?;
        Ok(name)
    }

    async fn remove_network(&self, name: &str) {
        for _ in 0..super::removal::MAX_REMOVAL_ROUNDS {
            match self.docker.remove_network(name).await {
                Ok(()) | Err(EngineError::DockerResponseServerError { status_code: 404, .. }) => return,
                // Its containers are being removed.
                Err(_) => tokio::time::sleep(super::REMOVAL_RETRY_DELAY).await,
            }
        }
        tracing::warn!(network = name, "a network of a job is still in use, and left");
    }

    /// Removes the network of this worker's jobs, whose containers are gone.
    pub async fn remove_own_network(&self) {
        let Some(isolation) = self.isolation.get() else { return };
        self.remove_network(&isolation.jobs).await;
    }

    /// Removes the networks that dead workers of this data directory left.
    pub async fn remove_unused_networks(&self) {
        let wanted = vec![format!("{LABEL}=1"), format!("{LABEL_DATA}={}", self.store.label())];
        let filters = Some(HashMap::from([("label".to_owned(), wanted)]));
        let Ok(found) = self.docker.list_networks(Some(ListNetworksOptions { filters })).await else {
            return;
        };
        for network in found {
            let worker = network.labels.as_ref().and_then(|labels| labels.get(LABEL_WORKER));
            let is_dead = worker.is_some_and(|worker| *worker != self.worker && !self.store.is_alive(worker));
            if let (true, Some(name)) = (is_dead, network.name) {
                tracing::info!(network = %name, "removing what a dead worker left");
                // One that is in use after all is left.
                drop(self.docker.remove_network(&name).await);
            }
        }
    }
}
