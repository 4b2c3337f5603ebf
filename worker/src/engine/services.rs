//! Containers of a job's services.

use super::{
    exits::EXIT_TIMEOUT,
    failures::{engine_failure, start_failure},
    manager::DockerManager,
};
use bollard::{
    exec::StartExecResults,
    models::ExecConfig,
    models::{
        ContainerCreateBody, ContainerStateStatusEnum, HealthStatusEnum, HostConfig, HostConfigLogConfig,
    },
    query_parameters::{
        AttachContainerOptions, CreateContainerOptions, InspectContainerOptions, StartContainerOptions,
    },
};
use futures_util::StreamExt;
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};
use tidemill_core::execution::{
    assignment::{Resources, Service},
    failure::{FailureKind, FailureReason},
};
use tokio_util::sync::CancellationToken;

/// Bytes of a service's log that are retained, from its end.
const MAX_LOG_BYTES: usize = 64 << 10;

/// The container of a service. It is removed in the background when this is dropped.
#[derive(Debug)]
pub struct ServiceContainer {
    /// Its id.
    pub id: String,
    /// Its IP address.
    pub address: String,
    log: Arc<Mutex<VecDeque<u8>>>,
    /// Cancelled once its output ended, so that `log` is complete.
    output_ended: CancellationToken,
    _container: RemovedOnDrop,
}

impl ServiceContainer {
    /// Returns the last lines of its output, at most `max` bytes. Only whole lines are returned, as a mask does not recognize
    /// half a secret.
    pub fn log(&self, max: usize) -> Vec<u8> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let skipped = log.len().saturating_sub(max);
        let mut tail = log.iter().skip(skipped).copied();
        if skipped > 0 {
            tail.find(|byte| *byte == b'\n');
        }
        tail.collect()
    }
}

/// The state of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceState {
    /// It runs, and its image has no health check.
    Running,
    /// It runs, and the health check of its image passes.
    Healthy,
    /// It runs, and the health check of its image does not pass yet.
    Unhealthy,
    /// It exited with this code.
    Exited(i64),
}

impl DockerManager {
    /// Whether the engine is on this machine, so that addresses of containers are reachable.
    pub const fn is_local(&self) -> bool {
        self.is_local
    }

    /// Starts a container for `service` in `network`, or in the engine's default network. Its image must be present.
    pub async fn start_service(
        self: &Arc<Self>,
        service: &Service,
        network: Option<&str>,
    ) -> Result<ServiceContainer, FailureReason> {
        let body = ContainerCreateBody {
            image: Some(service.image.clone()),
            entrypoint: service.entrypoint.clone(),
            cmd: service.command.clone(),
            env: Some(service.variables.iter().map(|(name, value)| format!("{name}={value}")).collect()),
            labels: Some(self.labels()),
            host_config: Some(HostConfig {
                network_mode: network.map(str::to_owned),
                log_config: Some(HostConfigLogConfig { typ: Some("none".into()), config: None }),
                ..self.host_limits(Resources::default())
            }),
            ..Default::default()
        };
        let created = self.docker.create_container(None::<CreateContainerOptions>, body).await;
        let id = created
            .map_err(|error| engine_failure("the container of a service could not be created", &error))?
            .id;
        // Removes the container if this function fails or is cancelled.
        let container = RemovedOnDrop { engine: self.clone(), id: id.clone() };
        let attach =
            AttachContainerOptions { stream: true, stdout: true, stderr: true, ..Default::default() };
        let streams = self.docker.attach_container(&id, Some(attach)).await;
        let mut output = streams
            .map_err(|error| engine_failure("the output of a service could not be attached", &error))?
            .output;
        let started = self.docker.start_container(&id, None::<StartContainerOptions>).await;
        started.map_err(|error| start_failure(&service.image, &error))?;
        let log = Arc::new(Mutex::new(VecDeque::new()));
        let retained = log.clone();
        let output_ended = CancellationToken::new();
        let ended = output_ended.clone().drop_guard();
        tokio::spawn(async move {
            let _ended = ended;
            while let Some(Ok(chunk)) = output.next().await {
                let mut retained = retained.lock().unwrap_or_else(PoisonError::into_inner);
                retained.extend(chunk.into_bytes());
                let excess = retained.len().saturating_sub(MAX_LOG_BYTES);
                retained.drain(..excess);
            }
        });
        let inspected = self.docker.inspect_container(&id, None::<InspectContainerOptions>).await;
        let inspected = inspected
            .map_err(|error| engine_failure("the container of a service could not be inspected", &error))?;
        let networks = inspected.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
        let address = networks.into_values().find_map(|network| network.ip_address).unwrap_or_default();
        Ok(ServiceContainer { id, address, log, output_ended, _container: container })
    }

    /// Returns the state of a service.
    pub async fn service_state(&self, service: &ServiceContainer) -> Result<ServiceState, FailureReason> {
        let inspected = self.docker.inspect_container(&service.id, None::<InspectContainerOptions>).await;
        let inspected = inspected
            .map_err(|error| engine_failure("the container of a service could not be inspected", &error))?;
        let state = inspected.state.unwrap_or_default();
        if matches!(state.status, Some(ContainerStateStatusEnum::EXITED | ContainerStateStatusEnum::DEAD)) {
            return Ok(ServiceState::Exited(state.exit_code.unwrap_or(-1)));
        }
        Ok(match state.health.and_then(|health| health.status) {
            Some(HealthStatusEnum::HEALTHY) => ServiceState::Healthy,
            Some(HealthStatusEnum::STARTING | HealthStatusEnum::UNHEALTHY) => ServiceState::Unhealthy,
            _ => ServiceState::Running,
        })
    }

    /// Waits until the log of a service that exited is complete, as its last output may still be in transit. The wait is
    /// limited, so that an engine that does not answer does not block the job.
    pub async fn drain_service_log(&self, service: &ServiceContainer) {
        let drained = async {
            if matches!(self.service_state(service).await, Ok(ServiceState::Exited(_))) {
                service.output_ended.cancelled().await;
            }
        };
        drop(tokio::time::timeout(EXIT_TIMEOUT, drained).await);
    }

    /// Whether a shell command in a container exits with 0.
    pub async fn succeeds_in(&self, container: &str, command: &str) -> Result<bool, FailureReason> {
        let context = "the readiness of a service could not be checked";
        let exec = ExecConfig {
            cmd: Some(vec!["sh".into(), "-c".into(), command.to_owned()]),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..Default::default()
        };
        Ok(self.exec(container, exec).await.map_err(|error| engine_failure(context, &error))? == Some(0))
    }

    /// Adds lines to the `/etc/hosts` of a job's container.
    pub async fn add_hosts(&self, container: &str, lines: &str) -> Result<(), FailureReason> {
        let exec = ExecConfig {
            cmd: Some(vec![
                "sh".into(),
                "-c".into(),
                "printf %s \"$1\" >>/etc/hosts".into(),
                "sh".into(),
                lines.into(),
            ]),
            user: Some("0".into()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..Default::default()
        };
        let context = "the host names of services could not be written into the job's container";
        match self.exec(container, exec).await.map_err(|error| engine_failure(context, &error))? {
            Some(0) => Ok(()),
            code => {
                Err(FailureReason::new(FailureKind::EngineFailed, format!("{context}: exit code {code:?}")))
            }
        }
    }

    /// Runs a command in a container and returns its exit code.
    async fn exec(&self, container: &str, exec: ExecConfig) -> Result<Option<i64>, bollard::errors::Error> {
        let id = self.docker.create_exec(container, exec).await?.id;
        if let StartExecResults::Attached { mut output, .. } = self.docker.start_exec(&id, None).await? {
            while output.next().await.is_some() {}
        }
        Ok(self.docker.inspect_exec(&id).await?.exit_code)
    }
}

/// A container that is removed in the background when this is dropped.
#[derive(Debug)]
struct RemovedOnDrop {
    engine: Arc<DockerManager>,
    id: String,
}

impl Drop for RemovedOnDrop {
    fn drop(&mut self) {
        self.engine.remove_later(std::mem::take(&mut self.id));
    }
}
