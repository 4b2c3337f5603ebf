//! Service containers of a job: started and awaited before its script, and removed with it.
//!
//! Each has an address of its own, so that two may serve the same port; the job reaches it by names in its `/etc/hosts`.

use crate::{
    engine::{DockerManager, ServiceContainer, ServiceState},
    job::reporter::Reporter,
};
use futures_util::future::try_join_all;
use std::{fmt::Write as _, sync::Arc, time::Duration};
use tidemill_core::execution::{
    assignment::{PullPolicy, Service},
    failure::{FailureKind, FailureReason},
};
use tidemill_core::pipeline::Health;
use tokio::{net::TcpStream, time::Instant};

/// Time between two checks whether a service is ready.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// A service without a health check counts as ready when it still runs after this time.
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
    /// Starts all of `wanted` and waits until each is ready. If one does not become ready, the ends of their logs are in the
    /// job's.
    pub async fn start(
        engine: &Arc<DockerManager>,
        wanted: &[Service],
        network: Option<&str>,
        pull_policy: PullPolicy,
        reporter: &Reporter,
    ) -> Result<Self, FailureReason> {
        reporter.phase("starting services");
        for service in wanted {
            let mut lines = Vec::new();
            engine.ensure_image(&service.image, pull_policy, |line| lines.push(line)).await?;
            reporter.log(lines.concat().as_bytes()).await;
        }
        let mut services = Self { engine: engine.clone(), running: Vec::new() };
        let started =
            try_join_all(wanted.iter().map(|service| engine.start_service(service, network))).await?;
        services.running = wanted.iter().cloned().zip(started).collect();
        let ready = try_join_all(
            services.running.iter().map(|(service, container)| services.wait_until_ready(service, container)),
        );
        if let Err(reason) = ready.await {
            services.log_output(reporter).await;
            return Err(reason);
        }
        Ok(services)
    }

    /// The lines of `/etc/hosts` that name the services.
    pub fn hosts(&self) -> String {
        let mut lines = String::new();
        for (service, container) in &self.running {
            let _ = writeln!(lines, "{} {}", container.address, service.alias.join(" "));
        }
        lines
    }

    /// Puts the end of each service's log into the job's.
    pub async fn log_output(&self, reporter: &Reporter) {
        for (service, container) in &self.running {
            self.engine.hear_out(container).await;
            let log = container.log(MAX_LOG_TAIL);
            if log.is_empty() {
                continue;
            }
            let name = service.alias.first().map_or(service.image.as_str(), String::as_str);
            reporter.log(format!("--- the end of the log of the service `{name}`\n").as_bytes()).await;
            reporter.log(&log).await;
            let ends = if log.ends_with(b"\n") { "---\n" } else { "\n---\n" };
            reporter.log(ends.as_bytes()).await;
        }
    }

    async fn wait_until_ready(
        &self,
        service: &Service,
        container: &ServiceContainer,
    ) -> Result<(), FailureReason> {
        let name = service.alias.first().map_or(service.image.as_str(), String::as_str);
        let failed = |words: String| FailureReason::new(FailureKind::ServiceFailed, words);
        let begun = Instant::now();
        let within = Duration::from_secs(service.ready_within_s);
        loop {
            match self.engine.service_state(container).await? {
                ServiceState::Ended(code) => {
                    return Err(failed(format!(
                        "the service `{name}` ended with exit code {code}; its log is in the job's"
                    )));
                }
                ServiceState::Unhealthy => {}
                ServiceState::Healthy if service.health.is_none() => return Ok(()),
                ServiceState::Healthy | ServiceState::Runs => {
                    if self.passes_health_check(service, container, begun).await? {
                        return Ok(());
                    }
                }
            }
            if begun.elapsed() >= within {
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
        begun: Instant,
    ) -> Result<bool, FailureReason> {
        Ok(match &service.health {
            None => begun.elapsed() >= STABLE_AFTER,
            Some(Health::Command(command)) => self.engine.succeeds_in(&container.id, command).await?,
            Some(Health::Port(port)) if self.engine.is_local() => {
                let connecting = TcpStream::connect((container.address.as_str(), *port));
                tokio::time::timeout(POLL_INTERVAL, connecting).await.is_ok_and(|connected| connected.is_ok())
            }
            // An engine elsewhere is asked what listens in the container (proc(5), /proc/net/tcp: state 0A is LISTEN).
            Some(Health::Port(port)) => {
                let look =
                    format!("cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep -qi ':{port:04x} .* 0a '");
                self.engine.succeeds_in(&container.id, &look).await?
            }
        })
    }
}
