//! Isolated networks, on which jobs reach neither other jobs nor this machine.

use super::{
    bridge::{BridgeNetwork, Isolation},
    guard_error::GuardError,
    host_guard,
};
use crate::engine::{
    failures::engine_failure,
    labels::{LABEL, LABEL_DATA, LABEL_WORKER},
    manager::DockerManager,
    removal::{MAX_REMOVAL_ATTEMPTS, REMOVAL_RETRY_DELAY},
};
use bollard::{
    errors::Error as EngineError, models::NetworkCreateRequest, query_parameters::ListNetworksOptions,
};
use std::{collections::HashMap, sync::Arc};
use tidemill_core::execution::failure::FailureReason;

const ICC: &str = "com.docker.network.bridge.enable_icc";
const BRIDGE_NAME: &str = "com.docker.network.bridge.name";
/// Contains 1 if packets between containers on one bridge pass the packet filter.
const BRIDGE_FILTER: &str = "/proc/sys/net/bridge/bridge-nf-call-iptables";

/// The network of one job and its services only. It is removed in the background when this is dropped.
#[derive(Debug)]
pub struct JobNetwork {
    /// Its name.
    pub name: String,
    engine: Arc<DockerManager>,
}

impl Drop for JobNetwork {
    fn drop(&mut self) {
        let (engine, name) = (self.engine.clone(), std::mem::take(&mut self.name));
        // Its containers are removed first, in the background as well.
        self.engine.tasks.spawn(async move { engine.remove_network(&name).await });
    }
}

impl DockerManager {
    /// Isolates all containers of jobs created from now on: they reach no other job, and of this machine only DNS and the TCP
    /// ports `allowed_ports`. Fails if that is impossible.
    pub async fn isolate(&self, allowed_ports: &[u16]) -> Result<(), GuardError> {
        if !self.is_local {
            return Err(GuardError::RemoteEngine);
        }
        if let Some(name) = &self.settings.network {
            return Err(GuardError::ChosenNetwork(name.clone()));
        }
        let version = self.docker.version().await?;
        let components = version.components.unwrap_or_default();
        if let Some(podman) = components.iter().find(|component| component.name.contains("Podman")) {
            return Err(GuardError::Unsuitable(podman.name.clone()));
        }
        let bridge_prefix = host_guard::close(allowed_ports).await?;
        let created = self.create_network(Some(&bridge_prefix), false).await;
        let name = created.map_err(|reason| GuardError::NoNetwork(reason.message))?;
        // The engine loads the kernel module with the first such network.
        let is_filtered = std::fs::read_to_string(BRIDGE_FILTER).is_ok_and(|value| value.trim() == "1");
        if !is_filtered {
            self.remove_network(&name).await;
            return Err(GuardError::NotFiltered(BRIDGE_FILTER));
        }
        let isolation = Isolation { jobs_network: name, bridge_prefix };
        self.isolation.set(isolation).map_err(|_| GuardError::Repeated)
    }

    /// Returns the network of containers that do not join the network of another; `None`: the engine's default network.
    pub(in crate::engine) fn network_mode(&self) -> Option<String> {
        let isolated = self.isolation.get().map(|isolation| isolation.jobs_network.clone());
        isolated.or_else(|| self.settings.network.clone())
    }

    /// Returns a pattern of the packet filter for all bridges of isolated jobs; `None` if jobs are not isolated.
    pub fn isolated_bridges(&self) -> Option<BridgeNetwork> {
        let isolation = self.isolation.get()?;
        Some(BridgeNetwork { interface: format!("{}+", isolation.bridge_prefix) })
    }

    /// Creates a network for one job and its services, in which they have host names; `None` if the engine's default network
    /// will do: neither are jobs isolated nor is this one `private`, and there is only one service, which the job reaches by its
    /// `/etc/hosts`.
    pub async fn job_network(
        self: &Arc<Self>,
        services: usize,
        private: bool,
    ) -> Result<Option<JobNetwork>, FailureReason> {
        let bridge_prefix = self.isolation.get().map(|isolation| isolation.bridge_prefix.as_str());
        if services == 0 || (services == 1 && bridge_prefix.is_none() && !private) {
            return Ok(None);
        }
        let name = self.create_network(bridge_prefix, true).await?;
        Ok(Some(JobNetwork { name, engine: self.clone() }))
    }

    /// Creates a network; `allow_traffic` lets its containers reach each other. With `bridge_prefix`, the name of its bridge on
    /// this machine starts so.
    async fn create_network(
        &self,
        bridge_prefix: Option<&str>,
        allow_traffic: bool,
    ) -> Result<String, FailureReason> {
        let id = uuid::Uuid::now_v7().simple().to_string();
        // The last digits are random. The name of an interface has at most 15 bytes.
        let digits = id.get(id.len().saturating_sub(8)..).unwrap_or(&id);
        let mut options = HashMap::from([(ICC.to_owned(), allow_traffic.to_string())]);
        if let Some(prefix) = bridge_prefix {
            options.insert(BRIDGE_NAME.to_owned(), format!("{prefix}{digits}"));
        }
        let name = format!("tidemill-{id}");
        let request = NetworkCreateRequest {
            name: name.clone(),
            driver: Some("bridge".into()),
            // Regardless of the engine's default: this machine is closed to these bridges for IPv4 only.
            enable_ipv6: Some(false),
            options: Some(options),
            labels: Some(self.labels()),
            ..Default::default()
        };
        let created = self.docker.create_network(request).await;
        created.map_err(|error| engine_failure("a network for jobs could not be created", &error))?;
        Ok(name)
    }

    async fn remove_network(&self, name: &str) {
        for _ in 0..MAX_REMOVAL_ATTEMPTS {
            match self.docker.remove_network(name).await {
                Ok(()) | Err(EngineError::DockerResponseServerError { status_code: 404, .. }) => return,
                // Its containers may still be removed.
                Err(_) => tokio::time::sleep(REMOVAL_RETRY_DELAY).await,
            }
        }
        tracing::warn!(network = name, "the network of a job is still in use and was not removed");
    }

    /// Removes the network of this worker's jobs, whose containers must be removed before.
    pub async fn remove_own_network(&self) {
        let Some(isolation) = self.isolation.get() else { return };
        self.remove_network(&isolation.jobs_network).await;
    }

    /// Removes the networks that workers of this data directory left when their processes ended.
    pub async fn remove_unused_networks(&self) {
        let labels = vec![format!("{LABEL}=1"), format!("{LABEL_DATA}={}", self.store.label())];
        let filters = Some(HashMap::from([("label".to_owned(), labels)]));
        let Ok(networks) = self.docker.list_networks(Some(ListNetworksOptions { filters })).await else {
            return;
        };
        for network in networks {
            let worker = network.labels.as_ref().and_then(|labels| labels.get(LABEL_WORKER));
            let is_dead = worker.is_some_and(|worker| *worker != self.worker && !self.store.is_alive(worker));
            if let (true, Some(name)) = (is_dead, network.name) {
                tracing::info!(network = %name, "removing a network of a worker that has ended");
                // A network that is still in use stays.
                drop(self.docker.remove_network(&name).await);
            }
        }
    }
}
