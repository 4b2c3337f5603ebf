//! The services of a job: their start, their readiness, and their names in the `/etc/hosts` of the job's container.

use crate::{
    engine::{DockerManager, ServiceContainer, ServiceState},
    job::reporter::Reporter,
};
use futures_util::future::{join_all, try_join_all};
use std::{fmt::Write as _, net::IpAddr, sync::Arc, time::Duration};
use tidemill_core::execution::{
    assignment::{Assignment, Service},
    failure::{FailureKind, FailureReason},
};
use tidemill_core::pipeline::Health;
use tokio::time::Instant;

/// Time between the first two readiness checks of a service; doubled after each.
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(20);
/// The longest time between two readiness checks of a service.
const MAX_POLL_INTERVAL: Duration = Duration::from_millis(250);
/// A service without any check counts as ready if it still runs after this time.
const STABLE_AFTER: Duration = Duration::from_millis(300);
/// Once one exposed port accepts connections, how long the next one may take: an image may expose ports that it does not use.
const NEXT_PORT_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of the end of a service's log that are copied into the job's.
const MAX_LOG_TAIL: usize = 16 << 10;

/// The services of one job. Their containers are removed in the background when this is dropped.
#[derive(Debug)]
pub struct Services {
    engine: Arc<DockerManager>,
    running: Vec<(Service, ServiceContainer)>,
    /// The containers of those whose end is in the job's log.
    reported: Vec<String>,
}

/// Where a service is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceAddress {
    /// Its names.
    pub names: Vec<String>,
    /// Its address in the network of the job.
    pub ip: IpAddr,
}

/// Why a service is not ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NotReady {
    /// It ended with this exit code.
    Ended(i64),
    /// It took too long.
    TimedOut,
    /// Its ports cannot be checked.
    Unknown,
}

impl Services {
    /// Starts the services of a job, whose images must be present, in `network`, or in the engine's default network.
    pub async fn start(
        engine: &Arc<DockerManager>,
        assignment: &Assignment,
        network: Option<&str>,
        reporter: &Reporter,
    ) -> Result<Self, FailureReason> {
        reporter.phase("starting services");
        let (services, preparation) = (&assignment.extras.services, &assignment.preparation);
        let names: Vec<&str> =
            services.iter().flat_map(|service| &service.alias).map(String::as_str).collect();
        let started = services
            .iter()
            .map(|service| engine.start_service(service, network, &preparation.origin, &names));
        let started = try_join_all(started).await?;
        let running = services.iter().cloned().zip(started).collect();
        Ok(Self { engine: engine.clone(), running, reported: Vec::new() })
    }

    /// Waits until each service is ready. One that is not is a warning in the job's log, or a failure if it is required. The end
    /// of its log is copied into the job's.
    pub async fn wait_until_ready(&mut self, reporter: &Reporter) -> Result<(), FailureReason> {
        let services = &*self;
        let waiting = services.running.iter().map(|(service, container)| async move {
            match services.readiness(service, container).await {
                Ok(Some(problem)) if service.required && problem != NotReady::Unknown => {
                    Err(problem.failure(service))
                }
                other => other,
            }
        });
        let results = match try_join_all(waiting).await {
            Ok(results) => results,
            Err(reason) => {
                self.log_output(reporter).await;
                return Err(reason);
            }
        };
        for ((service, container), problem) in self.running.iter().zip(results) {
            let Some(problem) = problem else { continue };
            reporter.log(format!("warning: {}\n", problem.warning(service)).as_bytes()).await;
            self.log_output_of(service, container, reporter).await;
            if matches!(problem, NotReady::Ended(_)) {
                self.reported.push(container.id.clone());
            }
        }
        Ok(())
    }

    /// Checks after the script which services ended while it ran. Each is a warning in the job's log, with the end of its own if
    /// the job has not failed; otherwise the logs of all follow. Returns the failure of one that is required.
    pub async fn check_after_script(&self, has_failed: bool, reporter: &Reporter) -> Option<FailureReason> {
        let states = self.running.iter().map(|(_, container)| self.engine.service_state(container));
        let states = join_all(states).await;
        let mut failure = None;
        for ((service, container), state) in self.running.iter().zip(states) {
            let Ok(ServiceState::Exited(code)) = state else { continue };
            if self.reported.contains(&container.id) {
                continue;
            }
            if service.required && !has_failed {
                let reason = NotReady::Ended(code).failure(service);
                reporter.log(format!("{}\n", reason.message).as_bytes()).await;
                failure.get_or_insert(reason);
                continue;
            }
            let advice = if service.required { "" } else { "; `required: true` makes this an error" };
            let name = name(service);
            let warning = format!(
                "warning: the service `{name}` ended with exit code {code} while the script ran{advice}\n"
            );
            reporter.log(warning.as_bytes()).await;
            if !has_failed {
                self.log_output_of(service, container, reporter).await;
            }
        }
        failure
    }

    /// Returns lines for `/etc/hosts` with the names of the services.
    pub fn hosts(&self) -> String {
        let mut lines = String::new();
        // A service that ended at once has no address.
        for (service, container) in self.running.iter().filter(|(_, container)| !container.address.is_empty())
        {
            let _ = writeln!(lines, "{} {}", container.address, service.alias.join(" "));
        }
        lines
    }

    /// Returns the names of each service with its address.
    pub fn addresses(&self) -> Vec<ServiceAddress> {
        let address = |(service, container): &(Service, ServiceContainer)| {
            let ip = container.address.parse().ok()?;
            Some(ServiceAddress { names: service.alias.clone(), ip })
        };
        self.running.iter().filter_map(address).collect()
    }

    /// Copies the end of each service's log into the job's log.
    pub async fn log_output(&self, reporter: &Reporter) {
        for (service, container) in &self.running {
            self.log_output_of(service, container, reporter).await;
        }
    }

    async fn log_output_of(&self, service: &Service, container: &ServiceContainer, reporter: &Reporter) {
        self.engine.drain_service_log(container).await;
        let log = container.log(MAX_LOG_TAIL);
        if log.is_empty() {
            return;
        }
        let name = name(service);
        reporter.log(format!("--- the end of the log of the service `{name}`\n").as_bytes()).await;
        reporter.log(&log).await;
        let terminator = if log.ends_with(b"\n") { "---\n" } else { "\n---\n" };
        reporter.log(terminator.as_bytes()).await;
    }

    /// Waits until the service is ready; returns why if it is not.
    async fn readiness(
        &self,
        service: &Service,
        container: &ServiceContainer,
    ) -> Result<Option<NotReady>, FailureReason> {
        let started = Instant::now();
        let limit = Duration::from_secs(service.ready_within_s);
        let mut interval = MIN_POLL_INTERVAL;
        let mut ports = ExposedPorts::new(&container.ports);
        loop {
            let state = self.engine.service_state(container).await?;
            if let ServiceState::Exited(code) = state {
                return Ok(Some(NotReady::Ended(code)));
            }
            let ready = match &service.health {
                Some(health) => self.passes(health, container).await?,
                None if state == ServiceState::Healthy => Some(true),
                None if state == ServiceState::Unhealthy => Some(false),
                None if !container.ports.is_empty() => self.check_ports(&mut ports, container).await?,
                None => Some(state != ServiceState::Starting && started.elapsed() >= STABLE_AFTER),
            };
            match ready {
                Some(true) => return Ok(None),
                Some(false) => {}
                None => {
                    // It may have ended meanwhile.
                    return Ok(Some(match self.engine.service_state(container).await? {
                        ServiceState::Exited(code) => NotReady::Ended(code),
                        _ => NotReady::Unknown,
                    }));
                }
            }
            if started.elapsed() >= limit {
                return Ok(Some(NotReady::TimedOut));
            }
            tokio::time::sleep(interval).await;
            interval = (interval * 2).min(MAX_POLL_INTERVAL);
        }
    }

    /// Whether the service passes the check that its file asks for; `None` if that cannot be found out.
    async fn passes(
        &self,
        health: &Health,
        container: &ServiceContainer,
    ) -> Result<Option<bool>, FailureReason> {
        match health {
            Health::Command(command) => self.engine.succeeds_in(&container.id, command).await.map(Some),
            Health::Port(port) => self.engine.accepts_connections(container, *port).await,
        }
    }

    /// Checks the ports that did not accept connections before. Returns whether the service is ready; `None` if that cannot be
    /// found out.
    async fn check_ports(
        &self,
        ports: &mut ExposedPorts,
        container: &ServiceContainer,
    ) -> Result<Option<bool>, FailureReason> {
        let checks = ports.closed.iter().map(|port| self.engine.accepts_connections(container, *port));
        let mut open = Vec::new();
        for (port, accepted) in ports.closed.iter().zip(join_all(checks).await) {
            match accepted? {
                Some(true) => open.push(*port),
                Some(false) => {}
                None => return Ok(None),
            }
        }
        Ok(Some(ports.opened(&open, Instant::now())))
    }
}

/// The exposed ports of a service while it starts.
struct ExposedPorts {
    /// Those that did not accept connections yet.
    closed: Vec<u16>,
    /// When the last one began to accept connections.
    last_opened: Option<Instant>,
}

impl ExposedPorts {
    fn new(ports: &[u16]) -> Self {
        Self { closed: ports.to_vec(), last_opened: None }
    }

    /// Records the ports that accept connections now. Returns whether the service is ready: all its ports do, or one does and no
    /// other one followed for a while.
    fn opened(&mut self, open: &[u16], now: Instant) -> bool {
        if !open.is_empty() {
            self.closed.retain(|port| !open.contains(port));
            self.last_opened = Some(now);
        }
        let is_over = self.last_opened.is_some_and(|last| now - last >= NEXT_PORT_TIMEOUT);
        self.closed.is_empty() || is_over
    }
}

impl NotReady {
    /// Returns the failure of a required service.
    fn failure(self, service: &Service) -> FailureReason {
        let name = name(service);
        let message = match self {
            Self::Ended(code) => {
                format!("the service `{name}` ended with exit code {code}; its log is in the job's")
            }
            Self::TimedOut | Self::Unknown => format!(
                "the service `{name}` was not ready within {} s; its log is in the job's, and `ready_within` gives it longer",
                service.ready_within_s
            ),
        };
        FailureReason::new(FailureKind::ServiceFailed, message)
    }

    /// Returns the text of the warning for a service that is not required.
    fn warning(self, service: &Service) -> String {
        let name = name(service);
        match self {
            Self::Ended(code) => format!(
                "the service `{name}` ended with exit code {code} before the script started; `required: true` makes this an error"
            ),
            Self::TimedOut => format!(
                "the service `{name}` was not ready within {} s; `ready_within` gives it longer, `health` says how to check it, and \
                 `required: true` makes this an error",
                service.ready_within_s
            ),
            Self::Unknown => format!(
                "whether the service `{name}` is ready cannot be checked here: this machine does not reach its network, and its \
                 image has no `cat`; `health: {{ command: ... }}` checks it by a command"
            ),
        }
    }
}

/// Returns the name of a service in messages.
fn name(service: &Service) -> &str {
    service.alias.first().map_or(service.image.as_str(), String::as_str)
}

#[cfg(test)]
mod tests {
    use super::{ExposedPorts, NEXT_PORT_TIMEOUT};
    use tokio::time::{Duration, Instant};

    #[test]
    fn service_is_ready_once_its_ports_are_open_or_no_other_follows() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut both = ExposedPorts::new(&[80, 443]);
        assert!(!both.opened(&[], at(10_000)), "no port is open");
        assert!(!both.opened(&[80], at(11_000)));
        assert!(both.opened(&[443], at(11_500)), "all are");
        let mut one = ExposedPorts::new(&[2375, 2376]);
        assert!(!one.opened(&[2376], at(1_000)));
        let timeout = u64::try_from(NEXT_PORT_TIMEOUT.as_millis()).unwrap_or(u64::MAX);
        assert!(!one.opened(&[], at(999 + timeout)) && one.opened(&[], at(1_000 + timeout)));
    }
}
