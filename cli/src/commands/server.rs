//! `server` and `worker`: processes that stay.

use crate::{
    args::{Cli, Server, WorkerArgs},
    deployment::{Deployment, data_dir, embedded_config},
    failure::{Failure, Outcome},
    interrupts::interrupts,
    workers,
};
use tidemill_backend::embedded::Embedded;
use tidemill_worker::{WorkerConfig, WorkerError};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// `tidemill server`.
pub async fn server(cli: &Cli, args: &Server) -> Outcome {
    let mut interrupts = interrupts()?;
    let config = embedded_config(cli)?;
    let data_dir = config.data_dir.clone();
    let embedded = Embedded::open(config).await?;
    let listener = TcpListener::bind(args.listen).await.map_err(|error| {
        Failure::system(format!(
            "{} cannot be listened on: {error}; choose another with --listen",
            args.listen
        ))
    })?;
    let url = format!("http://{}", listener.local_addr()?);
    let token = embedded.token().to_owned();
    let shutdown = CancellationToken::new();
    let mut served = tokio::spawn(embedded.serve(listener, shutdown.clone()));
    let slots = args.workers.map_or_else(|| workers::slots(None), usize::from);
    anstream::println!("serving on {url}, {slots} job(s) at the same time");
    anstream::println!("the token is in {}", data_dir.join("token").display());
    let stop_workers = CancellationToken::new();
    let config = worker_config(url, token, None, slots, data_dir.join("worker"));
    let stop = stop_workers.clone();
    let working = tokio::spawn(async move {
        if slots > 0 {
            tidemill_worker::run(config, stop).await
        } else {
            stop.cancelled_owned().await;
            Ok(())
        }
    });
    tokio::pin!(working);
    let mut worked = None;
    let failed = tokio::select! {
        _ = interrupts.recv() => None,
        over = &mut served => Some(over.unwrap_or_else(|error| Err(tidemill_backend::Error::storage("serving", error)))),
        over = &mut working => { worked = Some(over); None }
    };
    // Workers first: what they give back must still be taken.
    stop_workers.cancel();
    let worked = match worked {
        Some(over) => over,
        None => working.await,
    };
    shutdown.cancel();
    if let Some(outcome) = failed {
        outcome?;
    } else if let Ok(outcome) = served.await {
        outcome?;
    }
    worked
        .unwrap_or_else(|error| Err(WorkerError::Refused(error.to_string())))
        .map_err(|error| Failure::system(error.to_string()))
}

/// `tidemill worker`.
pub async fn worker(cli: &Cli, args: &WorkerArgs) -> Outcome {
    if cli.server.is_none() {
        return Err(Failure::usage("a worker works for a server: name it with --server, or TIDEMILL_SERVER"));
    }
    let deployment = Deployment::connect(cli).await?;
    let mut interrupts = interrupts()?;
    let slots = workers::slots(args.parallel);
    let own = data_dir(cli)?.join("worker");
    let config =
        worker_config(deployment.url.clone(), deployment.token.clone(), args.name.clone(), slots, own);
    anstream::println!("working for {}, {slots} job(s) at the same time", deployment.url);
    let stop = CancellationToken::new();
    let working = tidemill_worker::run(config, stop.clone());
    tokio::pin!(working);
    let outcome = tokio::select! {
        outcome = &mut working => outcome,
        _ = interrupts.recv() => { stop.cancel(); working.await }
    };
    outcome.map_err(|error| Failure::system(error.to_string()))
}

fn worker_config(
    server: String,
    token: String,
    name: Option<String>,
    slots: usize,
    data_dir: std::path::PathBuf,
) -> WorkerConfig {
    WorkerConfig {
        server,
        token,
        name: name.unwrap_or_else(workers::machine),
        slots,
        data_dir,
        only_execution: None,
        docker_host: std::env::var("DOCKER_HOST").ok().filter(|address| !address.is_empty()),
    }
}
