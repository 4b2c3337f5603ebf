//! What a server or a worker shows of itself: metrics, the export to OpenTelemetry, and log levels that signals change.

use crate::{
    args::ObservabilityArgs,
    env_vars,
    failure::{Failure, Outcome},
    output::{LogLevels, Logging},
};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tidemill_server::{
    AllMetrics, OtlpExporter, OtlpOptions, OtlpSettings, OtlpSources, ProcessMetrics, serve_metrics,
};
use tidemill_services::Services;
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Time for the last export at the end of the process.
const MAX_STOP_TIME: Duration = Duration::from_secs(2);

/// The process that is observed.
pub struct Observed {
    /// Its default name for OpenTelemetry.
    pub name: &'static str,
    /// The services of a server.
    pub services: Option<Services>,
}

/// The tasks that show what the process does.
#[derive(Debug)]
pub struct Observability {
    metrics: Arc<AllMetrics>,
    address: Option<SocketAddr>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Observability {
    /// Starts what the arguments ask for.
    pub async fn start(args: &ObservabilityArgs, of: Observed, logging: Logging) -> Outcome<Self> {
        let Logging { levels, records } = logging;
        let exporter = exporter(args, of.name)?;
        let (metrics, stop, tasks) =
            (Arc::new(AllMetrics::default()), CancellationToken::new(), TaskTracker::new());
        metrics.add(Arc::new(ProcessMetrics::new()));
        if let Some(services) = &of.services {
            metrics.add(Arc::new(services.clone()));
        }
        let mut address = None;
        if let Some(listen) = args.metrics_listen {
            let listener = TcpListener::bind(listen).await.map_err(|error| {
                Failure::system(format!(
                    "cannot serve metrics on {listen}: {error}; use another address with --metrics-listen"
                ))
            })?;
            address = Some(listener.local_addr()?);
            tasks.spawn(serve_metrics(listener, metrics.clone(), stop.clone()));
        }
        if let Some(exporter) = exporter {
            metrics.add(Arc::new(exporter.metrics()));
            let sources = OtlpSources { services: of.services, metrics: metrics.clone(), logs: records };
            tasks.spawn(exporter.run(sources, stop.clone()));
        }
        change_levels_on_signals(levels, stop.clone(), &tasks)?;
        Ok(Self { metrics, address, stop, tasks })
    }

    /// Returns the metrics, to which parts that start later add theirs.
    pub fn metrics(&self) -> Arc<AllMetrics> {
        self.metrics.clone()
    }

    /// Prints the address of the metrics, if they have one.
    pub fn print_address(&self) {
        if let Some(address) = self.address {
            crate::output::outln!("metrics on http://{address}/metrics");
        }
    }

    /// Ends all tasks; what was not exported yet is exported, if that is quick.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        let _ = timeout(MAX_STOP_TIME, self.tasks.wait()).await;
    }
}

/// Returns the exporter that the arguments and the environment ask for.
fn exporter(args: &ObservabilityArgs, name: &str) -> Outcome<Option<OtlpExporter>> {
    let Some(endpoint) = &args.otlp_endpoint else { return Ok(None) };
    let variable = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
    let options = OtlpOptions {
        endpoint: endpoint.clone(),
        headers: variable(env_vars::OTLP_HEADERS),
        resource: variable(env_vars::OTLP_RESOURCE),
        service_name: variable(env_vars::OTLP_SERVICE).unwrap_or_else(|| name.to_owned()),
        metric_interval_ms: variable(env_vars::OTLP_METRIC_INTERVAL),
    };
    let settings = OtlpSettings::new(&options).map_err(|error| Failure::usage(error.to_string()))?;
    Ok(Some(OtlpExporter::new(settings)))
}

/// Raises the level of the log at each SIGUSR1, and resets it at SIGUSR2.
fn change_levels_on_signals(
    levels: LogLevels,
    stop: CancellationToken,
    tasks: &TaskTracker,
) -> std::io::Result<()> {
    let mut raise = signal(SignalKind::user_defined1())?;
    let mut reset = signal(SignalKind::user_defined2())?;
    tasks.spawn(async move {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                Some(()) = raise.recv() => levels.raise(),
                Some(()) = reset.recv() => levels.reset(),
                else => return,
            }
        }
    });
    Ok(())
}
