//! Containers of a job's services.

use super::{
    exits::EXIT_TIMEOUT,
    failures::{engine_failure, is_bad_request, is_conflict, service_start_failure},
    manager::{DockerManager, created_container::CreatedContainer},
};
use bollard::{
    errors::Error as EngineError,
    exec::StartExecResults,
    models::ExecConfig,
    models::{
        ContainerCreateBody, ContainerStateStatusEnum, EndpointSettings, HealthStatusEnum, HostConfig,
        NetworkingConfig,
    },
    query_parameters::{
        AttachContainerOptions, CreateContainerOptions, InspectContainerOptions, StartContainerOptions,
    },
};
use futures_util::StreamExt;
use indexmap::IndexMap;
use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    io,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tidemill_core::execution::{
    assignment::{Origin, Resources, Service},
    failure::{FailureKind, FailureReason},
};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

/// How many exposed ports of a service are checked, as in GitLab.
const MAX_EXPOSED_PORTS: usize = 20;
/// How long one attempt to connect to a service may take.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(250);
/// Bytes of the output of a command in a container that are read.
const MAX_EXEC_OUTPUT_BYTES: usize = 1 << 20;
/// Bytes of a service's log that are retained, from its end.
const MAX_LOG_BYTES: usize = 64 << 10;

/// The container of a service. It is removed in the background when this is dropped.
#[derive(Debug)]
pub struct ServiceContainer {
    /// Its id.
    pub id: String,
    /// Its IP address; empty if it has none, as it ended at once or shares the network of the machine.
    pub address: String,
    /// The TCP ports that its image exposes, the lowest first.
    pub ports: Vec<u16>,
    log: Arc<Mutex<VecDeque<u8>>>,
    /// Cancelled once its output ended, so that `log` is complete.
    output_ended: CancellationToken,
    _container: CreatedContainer,
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
    /// It runs, and the health check of its image has not run yet.
    Starting,
    /// It runs, and the health check of its image failed.
    Unhealthy,
    /// It exited with this code.
    Exited(i64),
}

impl DockerManager {
    /// Starts a container for `service` in `network`, in which it has its host names, or in the engine's default network. Its
    /// image must be present. `names` are the host names of all services of the job.
    pub async fn start_service(
        self: &Arc<Self>,
        service: &Service,
        network: Option<&str>,
        origin: &Origin,
        names: &[&str],
    ) -> Result<ServiceContainer, FailureReason> {
        let network = network.map(str::to_owned);
        let mut environment: IndexMap<String, String> =
            self.environment(names.iter().copied(), false).into_iter().collect();
        environment.extend(service.variables.clone());
        let names = network.clone().map(|network| NetworkingConfig {
            endpoints_config: Some(HashMap::from([(
                network,
                EndpointSettings { aliases: Some(service.alias.clone()), ..Default::default() },
            )])),
        });
        let body = ContainerCreateBody {
            image: Some(service.image.clone()),
            entrypoint: service.entrypoint.clone(),
            cmd: service.command.clone(),
            user: service.user.clone(),
            env: Some(environment.iter().map(|(name, value)| format!("{name}={value}")).collect()),
            labels: Some(self.labels()),
            host_config: Some(HostConfig {
                network_mode: network,
                // The operator's mounts are for jobs.
                mounts: None,
                ..self.host_config(Resources::default(), &service.container, origin)
            }),
            networking_config: names,
            ..Default::default()
        };
        let platform = service
            .platform
            .clone()
            .map(|platform| CreateContainerOptions { platform, ..Default::default() });
        // Removes the container if this function fails or is cancelled.
        let container = self
            .create(platform, body)
            .await
            .map_err(|error| engine_failure("the container of a service could not be created", &error))?;
        let id = container.id().to_owned();
        self.trust_certificates(&id).await?;
        let attach =
            AttachContainerOptions { stream: true, stdout: true, stderr: true, ..Default::default() };
        let streams = self.docker.attach_container(&id, Some(attach)).await;
        let mut output = streams
            .map_err(|error| engine_failure("the output of a service could not be attached", &error))?
            .output;
        let started = self.docker.start_container(&id, None::<StartContainerOptions>).await;
        if let Err(error) = started {
            let user = service.user.as_deref().unwrap_or_default();
            let missing = Box::pin(self.missing_account(&service.image, user)).await;
            return Err(service_start_failure(service, missing, &error));
        }
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
        let exposed = inspected.config.and_then(|config| config.exposed_ports).unwrap_or_default();
        let ports = exposed_tcp_ports(exposed.iter().map(String::as_str));
        Ok(ServiceContainer { id, address, ports, log, output_ended, _container: container })
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
        let health = state.health.unwrap_or_default();
        Ok(match health.status {
            Some(HealthStatusEnum::HEALTHY) => ServiceState::Healthy,
            // It also counts as starting while its first checks fail.
            Some(HealthStatusEnum::STARTING) if health.failing_streak.unwrap_or(0) == 0 => {
                ServiceState::Starting
            }
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
        match self.exec(container, exec).await {
            Ok(code) => Ok(code == Some(0)),
            // The container has ended, which its state shows.
            Err(error) if is_conflict(&error) => Ok(false),
            Err(error) => Err(engine_failure(context, &error)),
        }
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

    /// Whether a TCP port of a service accepts connections; `None` if that cannot be found out.
    ///
    /// The worker connects to it where it reaches the addresses of containers. Elsewhere (an engine on another machine or without
    /// root, a worker in a container) the listening sockets are read in the service's container.
    pub async fn accepts_connections(
        &self,
        service: &ServiceContainer,
        port: u16,
    ) -> Result<Option<bool>, FailureReason> {
        if self.reaches_containers().await
            && let Ok(address) = service.address.parse::<IpAddr>()
        {
            match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect((address, port))).await {
                Ok(Ok(_)) => return Ok(Some(true)),
                Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(Some(false)),
                Ok(Err(_)) | Err(_) => {}
            }
        }
        let exec = ExecConfig {
            cmd: Some(["cat", "/proc/net/tcp", "/proc/net/tcp6"].map(str::to_owned).to_vec()),
            attach_stdout: Some(true),
            ..Default::default()
        };
        match self.exec_with_output(&service.id, exec).await {
            // 1: the kernel has no IPv6, and so no second file.
            Ok((Some(0 | 1), output)) => Ok(Some(listening_ports(&output).contains(&port))),
            // The image has no `cat`, or the container has ended.
            Ok(_) => Ok(None),
            Err(error) if is_bad_request(&error) || is_conflict(&error) => Ok(None),
            Err(error) => Err(engine_failure("the listening sockets of a service could not be read", &error)),
        }
    }

    /// Whether addresses of containers are reachable from this process: the engine runs on this machine, with root.
    pub async fn reaches_containers(&self) -> bool {
        if !self.is_local {
            return false;
        }
        let has_root = self.has_root.get_or_init(|| async {
            let info = self.docker.info().await;
            // The daemon of a user has networks of its own, whose addresses may be others' here.
            let options = info.ok().and_then(|info| info.security_options).unwrap_or_default();
            !options.iter().any(|option| option.contains("rootless"))
        });
        *has_root.await
    }

    /// Runs a command in a container and returns its exit code.
    pub(super) async fn exec(&self, container: &str, exec: ExecConfig) -> Result<Option<i64>, EngineError> {
        Ok(self.exec_with_output(container, exec).await?.0)
    }

    /// Runs a command in a container, and returns its exit code and the first part of its output.
    async fn exec_with_output(
        &self,
        container: &str,
        exec: ExecConfig,
    ) -> Result<(Option<i64>, Vec<u8>), EngineError> {
        let id = self.docker.create_exec(container, exec).await?.id;
        let mut retained = Vec::new();
        if let StartExecResults::Attached { mut output, .. } = self.docker.start_exec(&id, None).await? {
            while let Some(chunk) = output.next().await {
                let Ok(chunk) = chunk else { break };
                let room = MAX_EXEC_OUTPUT_BYTES - retained.len();
                retained.extend(chunk.into_bytes().into_iter().take(room));
            }
        }
        Ok((self.docker.inspect_exec(&id).await?.exit_code, retained))
    }
}

/// Returns the TCP ports among `exposed`, in the form of an image's configuration (`5432/tcp`, `8000-8010/tcp`), the lowest
/// first.
fn exposed_tcp_ports<'a>(exposed: impl Iterator<Item = &'a str>) -> Vec<u16> {
    let mut ports = BTreeSet::new();
    for text in exposed {
        let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        if protocol != "tcp" {
            continue;
        }
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        if let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>()) {
            ports.extend((first.max(1)..=last).take(MAX_EXPOSED_PORTS));
        }
    }
    ports.into_iter().take(MAX_EXPOSED_PORTS).collect()
}

/// Returns the TCP ports at which something listens that other containers reach, from the content of `/proc/net/tcp` and
/// `/proc/net/tcp6` (proc(5)): the local address and port in hexadecimal digits, the remote ones, and the state, 0A for LISTEN.
fn listening_ports(table: &[u8]) -> HashSet<u16> {
    let table = String::from_utf8_lossy(table);
    let port = |line: &str| {
        let mut columns = line.split_ascii_whitespace().skip(1);
        let (local, state) = (columns.next()?, columns.nth(1)?);
        let (address, port) = local.split_once(':')?;
        // Addresses are in the byte order of the machine: 127.0.0.1 is 0100007F.
        let is_loopback =
            (address.len() == 8 && address.ends_with("7F")) || address == "00000000000000000000000001000000";
        (state == "0A" && !is_loopback).then(|| u16::from_str_radix(port, 16).ok()).flatten()
    };
    table.lines().filter_map(port).collect()
}

#[cfg(test)]
mod tests {
    use super::{exposed_tcp_ports, listening_ports};

    #[test]
    fn exposed_ports_are_tcp_ports_from_the_lowest() {
        let exposed = ["9300/tcp", "53/udp", "9200/tcp", "8000-8002/tcp", "70000/tcp", "x", "80"];
        assert_eq!(exposed_tcp_ports(exposed.into_iter()), [80, 8000, 8001, 8002, 9200, 9300]);
        assert_eq!(exposed_tcp_ports(["1-65535/tcp"].into_iter()).len(), 20);
    }

    #[test]
    fn listening_sockets_exclude_loopback_and_connections() {
        let table = b"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   2: 020011AC:1F90 030011AC:9C40 01 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   0: 00000000000000000000000000000000:0CEA 00000000000000000000000000000000:0000 0A 0 0 0 0
   1: 00000000000000000000000001000000:0CEB 00000000000000000000000000000000:0000 0A 0 0 0 0
truncated";
        let mut ports: Vec<u16> = listening_ports(table).into_iter().collect();
        ports.sort_unstable();
        assert_eq!(ports, [3306, 5432]);
    }
}
