//! Containers beside a job's own, through the engine's API.

use super::{CAPABILITIES, DockerManager, EXIT_TIMEOUT, failure, failures::start_failure};
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

/// What is kept of a service's log, in bytes from its end.
const MAX_LOG_BYTES: usize = 64 << 10;

/// A container that runs beside a job. It is removed in the background when this is dropped.
#[derive(Debug)]
pub struct ServiceContainer {
    /// Its id.
    pub id: String,
    /// Its address in the engine's network.
    pub address: String,
    log: Arc<Mutex<VecDeque<u8>>>,
    /// Whether all that it printed is in `log`: its output ended.
    over: CancellationToken,
    _made: CreatedContainer,
}

impl ServiceContainer {
    /// The last lines of what it printed, at most `most` bytes. A line is shown whole or not at all: a mask would not know half a
    /// secret.
    pub fn log(&self, most: usize) -> Vec<u8> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let over = log.len().saturating_sub(most);
        let mut rest = log.iter().skip(over).copied();
        if over > 0 {
            rest.find(|byte| *byte == b'\n');
        }
        rest.collect()
    }
}

/// Where a service stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceState {
    /// It runs, and its image says nothing of its health.
    Runs,
    /// It runs, and its image's health check is content.
    Healthy,
    /// It runs, and its image's health check is not content yet.
    Unhealthy,
    /// It is over, with this exit code.
    Ended(i64),
}

impl DockerManager {
    /// Whether the engine is on this machine, so that its containers' addresses can be reached.
    pub const fn is_local(&self) -> bool {
        self.local
    }

    /// A running container of `service` in `network`, or in the engine's default one; its image must be there.
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
                security_opt: Some(vec!["no-new-privileges".into()]),
                cap_drop: Some(vec!["ALL".into()]),
                cap_add: Some(CAPABILITIES.iter().map(|name| (*name).to_owned()).collect()),
                ..self.host_limits(Resources::default())
            }),
            ..Default::default()
        };
        let made = self.docker.create_container(None::<CreateContainerOptions>, body).await;
        let id = made.map_err(|error| failure("a service's container could not be made", &error))?.id;
        // Should this be given up half-way, the container is removed all the same.
        let made = CreatedContainer { engine: self.clone(), id: id.clone() };
        let attach =
            AttachContainerOptions { stream: true, stdout: true, stderr: true, ..Default::default() };
        let streams = self.docker.attach_container(&id, Some(attach)).await;
        let mut output =
            streams.map_err(|error| failure("a service's output could not be had", &error))?.output;
        let started = self.docker.start_container(&id, None::<StartContainerOptions>).await;
        started.map_err(|error| start_failure(&service.image, &error))?;
        let log = Arc::new(Mutex::new(VecDeque::new()));
        let kept = log.clone();
        let over = CancellationToken::new();
        let ended = over.clone().drop_guard();
        tokio::spawn(async move {
            let _ended = ended;
            while let Some(Ok(chunk)) = output.next().await {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.extend(chunk.into_bytes());
                let over = kept.len().saturating_sub(MAX_LOG_BYTES);
                kept.drain(..over);
            }
        });
        let seen = self.docker.inspect_container(&id, None::<InspectContainerOptions>).await;
        let seen = seen.map_err(|error| failure("a service's container could not be looked at", &error))?;
        let networks = seen.network_settings.and_then(|settings| settings.networks).unwrap_or_default();
        let address = networks.into_values().find_map(|network| network.ip_address).unwrap_or_default();
        Ok(ServiceContainer { id, address, log, over, _made: made })
    }

    /// Where a service stands.
    pub async fn service_state(&self, service: &ServiceContainer) -> Result<ServiceState, FailureReason> {
        let seen = self.docker.inspect_container(&service.id, None::<InspectContainerOptions>).await;
        let seen = seen.map_err(|error| failure("a service's container could not be looked at", &error))?;
        let state = seen.state.unwrap_or_default();
        if matches!(state.status, Some(ContainerStateStatusEnum::EXITED | ContainerStateStatusEnum::DEAD)) {
            return Ok(ServiceState::Ended(state.exit_code.unwrap_or(-1)));
        }
        Ok(match state.health.and_then(|health| health.status) {
            Some(HealthStatusEnum::HEALTHY) => ServiceState::Healthy,
            Some(HealthStatusEnum::STARTING | HealthStatusEnum::UNHEALTHY) => ServiceState::Unhealthy,
            _ => ServiceState::Runs,
        })
    }

    /// Waits until all that a service printed which ended can be seen: its last words may be under way still. An engine that
    /// does not answer does not hold the job.
    pub async fn hear_out(&self, service: &ServiceContainer) {
        let heard = async {
            if matches!(self.service_state(service).await, Ok(ServiceState::Ended(_))) {
                service.over.cancelled().await;
            }
        };
        drop(tokio::time::timeout(EXIT_TIMEOUT, heard).await);
    }

    /// Whether a shell command in a container ends with 0.
    pub async fn succeeds_in(&self, container: &str, command: &str) -> Result<bool, FailureReason> {
        let doing = "a service could not be asked whether it is ready";
        let exec = ExecConfig {
            cmd: Some(vec!["sh".into(), "-c".into(), command.to_owned()]),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            ..Default::default()
        };
        Ok(self.exec(container, exec).await.map_err(|error| failure(doing, &error))? == Some(0))
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
        let doing = "the names of services could not be written into the job's container";
        match self.exec(container, exec).await.map_err(|error| failure(doing, &error))? {
            Some(0) => Ok(()),
            code => {
                Err(FailureReason::new(FailureKind::EngineFailed, format!("{doing}: exit code {code:?}")))
            }
        }
    }

    async fn exec(&self, container: &str, exec: ExecConfig) -> Result<Option<i64>, bollard::errors::Error> {
        let id = self.docker.create_exec(container, exec).await?.id;
        if let StartExecResults::Attached { mut output, .. } = self.docker.start_exec(&id, None).await? {
            while output.next().await.is_some() {}
        }
        Ok(self.docker.inspect_exec(&id).await?.exit_code)
    }
}

/// A container that was made, and is removed with this.
#[derive(Debug)]
struct CreatedContainer {
    engine: Arc<DockerManager>,
    id: String,
}

impl Drop for CreatedContainer {
    fn drop(&mut self) {
        self.engine.remove_later(std::mem::take(&mut self.id));
    }
}
