//! `server` and `worker`: processes that stay.

use crate::{
    args::{Server, WorkerArgs},
    deployment::{Deployment, embedded_config},
    failure::{Failure, Outcome},
    interrupts::interrupts,
    settings::Settings,
    workers,
};
use tidemill_backend::embedded::Embedded;
use tidemill_worker::{Client, WorkerError};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// `tidemill server`.
pub async fn server(settings: &Settings, args: &Server) -> Outcome {
    let mut interrupts = interrupts()?;
    let config = embedded_config(settings)?;
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
    let config = workers::config(settings, slots, workers::machine())?;
    let client = Client { server: url, token, only_execution: None };
    let stop = stop_workers.clone();
    let working = tokio::spawn(async move {
        if slots > 0 {
            tidemill_worker::run(config, client, stop).await
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
    Ok(worked.unwrap_or_else(|error| Err(WorkerError::Refused(error.to_string())))?)
}

/// `tidemill worker`.
pub async fn worker(settings: &Settings, args: &WorkerArgs) -> Outcome {
    if !settings.is_elsewhere() {
        return Err(Failure::usage(
            "a worker works for a server: name it with --server, TIDEMILL_SERVER or --profile",
        ));
    }
    let deployment = Deployment::connect(settings).await?;
    let mut interrupts = interrupts()?;
    let slots = workers::slots(args.parallel);
    let config = workers::config(settings, slots, args.name.clone().unwrap_or_else(workers::machine))?;
    let client =
        Client { server: deployment.url.clone(), token: deployment.token.clone(), only_execution: None };
    anstream::println!("working for {}, {slots} job(s) at the same time", deployment.url);
    let stop = CancellationToken::new();
    let working = tidemill_worker::run(config, client, stop.clone());
    tokio::pin!(working);
    let outcome = tokio::select! {
        outcome = &mut working => outcome,
        _ = interrupts.recv() => { stop.cancel(); working.await }
    };
    Ok(outcome?)
}
