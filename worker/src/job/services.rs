//! Services of a job: started before its script, awaited until ready, and removed with the job.
//!
//! Each has its own address, so that two may serve the same port; the job reaches it by the names in its `/etc/hosts`.

use crate::{
    engine::{DockerManager, ServiceContainer, ServiceState},
    job::reporter::Reporter,
};
use futures_util::future::try_join_all;
use std::{fmt::Write as _, sync::Arc, time::Duration};
use tidemill_core::execution::{
    assignment::Service,
    failure::{FailureKind, FailureReason},
};
use tidemill_core::pipeline::Health;
use tokio::{net::TcpStream, time::Instant};

/// Time between two readiness checks of a service.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// A service without a health check counts as ready if it still runs after this time.
const STABLE_AFTER: Duration = Duration::from_millis(300);
/// Bytes of the end of a service's log that are copied into the job's.
const MAX_LOG_TAIL: usize = 16 << 10;

/// The services of one job. Their containers are removed in the background when this is dropped.
#[derive(Debug)]
pub struct Services {
    engine: Arc<DockerManager>,
    running: Vec<(Service, ServiceContainer)>,
}

impl Services {
    /// Starts all `services`, whose images must be present, and waits until each is ready. If one does not become ready, the ends
    /// of their logs are copied into the job's log.
    pub async fn start(
        engine: &Arc<DockerManager>,
        services: &[Service],
        network: Option<&str>,
        reporter: &Reporter,
    ) -> Result<Self, FailureReason> {
        reporter.phase("starting services");
        let started =
            try_join_all(services.iter().map(|service| engine.start_service(service, network))).await?;
        let running = services.iter().cloned().zip(started).collect();
        let started = Self { engine: engine.clone(), running };
        let ready = try_join_all(
            started.running.iter().map(|(service, container)| started.wait_until_ready(service, container)),
        );
        if let Err(reason) = ready.await {
            started.log_output(reporter).await;
            return Err(reason);
        }
        Ok(started)
    }

    /// Returns lines for `/etc/hosts` with the names of the services.
    pub fn hosts(&self) -> String {
        let mut lines = String::new();
        for (service, container) in &self.running {
            let _ = writeln!(lines, "{} {}", container.address, service.alias.join(" "));
        }
        lines
    }

    /// Copies the end of each service's log into the job's log.
    pub async fn log_output(&self, reporter: &Reporter) {
        for (service, container) in &self.running {
            self.engine.drain_service_log(container).await;
            let log = container.log(MAX_LOG_TAIL);
            if log.is_empty() {
                continue;
            }
            let name = service.alias.first().map_or(service.image.as_str(), String::as_str);
            reporter.log(format!("--- the end of the log of the service `{name}`\n").as_bytes()).await;
            reporter.log(&log).await;
            let terminator = if log.ends_with(b"\n") { "---\n" } else { "\n---\n" };
            reporter.log(terminator.as_bytes()).await;
        }
    }

    /// Waits until the service is ready; fails if it exits or takes too long.
    async fn wait_until_ready(
        &self,
        service: &Service,
        container: &ServiceContainer,
    ) -> Result<(), FailureReason> {
        let name = service.alias.first().map_or(service.image.as_str(), String::as_str);
        let failed = |message: String| FailureReason::new(FailureKind::ServiceFailed, message);
        let started = Instant::now();
        let limit = Duration::from_secs(service.ready_within_s);
        loop {
            match self.engine.service_state(container).await? {
                ServiceState::Exited(code) => {
                    return Err(failed(format!(
                        "the service `{name}` ended with exit code {code}; its log is in the job's"
                    )));
                }
                ServiceState::Unhealthy => {}
                ServiceState::Healthy if service.health.is_none() => return Ok(()),
                ServiceState::Healthy | ServiceState::Running => {
                    if self.passes_health_check(service, container, started).await? {
                        return Ok(());
                    }
                }
            }
            if started.elapsed() >= limit {
                return Err(failed(format!(
                    "the service `{name}` was not ready within {} s; its log is in the job's, and `ready_within` gives it longer",
                    service.ready_within_s
                )));
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    async fn passes_health_check(
        &self,
        service: &Service,
        container: &ServiceContainer,
        started: Instant,
    ) -> Result<bool, FailureReason> {
        Ok(match &service.health {
            None => started.elapsed() >= STABLE_AFTER,
            Some(Health::Command(command)) => self.engine.succeeds_in(&container.id, command).await?,
            Some(Health::Port(port)) if self.engine.is_local() => {
                let connecting = TcpStream::connect((container.address.as_str(), *port));
                tokio::time::timeout(POLL_INTERVAL, connecting).await.is_ok_and(|connected| connected.is_ok())
            }
            // The ports of a container on another machine are not reachable: the listening sockets are read inside of it (proc(5),
            // /proc/net/tcp: state 0A is LISTEN).
            Some(Health::Port(port)) => {
                let check =
                    format!("cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep -qi ':{port:04x} .* 0a '");
                self.engine.succeeds_in(&container.id, &check).await?
            }
        })
    }
}
