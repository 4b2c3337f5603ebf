//! The sweep: invoked each minute, carries on what is late.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::{Value, json};
use std::time::Duration;
use tidemill_functions::{Wiring, telemetry};

/// How long each step may take; together less than the function's time.
const CARRYING_ON: Duration = Duration::from_secs(18);
const STARTING: Duration = Duration::from_secs(10);
const TELLING: Duration = Duration::from_secs(15);
const REMOVING: Duration = Duration::from_secs(8);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let wiring = Wiring::load().await?;
    run(service_fn(|_: LambdaEvent<Value>| async {
        let services = &wiring.services;
        // Each step is taken whatever becomes of the others; what is not done in its time is done by the next sweep.
        let late =
            step("nodes", CARRYING_ON, wiring.meter.request(Box::pin(services.sweep.carry_on()))).await;
        let scheduled =
            step("schedules", STARTING, wiring.meter.request(Box::pin(services.schedules.run()))).await;
        let told = step("outbox", TELLING, wiring.meter.request(Box::pin(services.outbox.run()))).await;
        let removed =
            step("expired", REMOVING, wiring.meter.request(Box::pin(services.sweep.expire()))).await;
        for (step, number) in [("nodes", &late), ("schedules", &scheduled), ("expired", &removed)] {
            if let Ok(number @ 1..) = number {
                tracing::info!(step, number, "done");
            }
        }
        let done = json!({ "late": late.as_ref().ok() });
        // The invocation fails if a step did, so that the function's alarm shows it.
        late.and(scheduled).and(told).and(removed)?;
        Ok::<Value, Error>(done)
    }))
    .await
}

/// What `work` gives, within `limit`.
async fn step(
    name: &'static str,
    limit: Duration,
    work: impl Future<Output = Result<usize, tidemill_services::Error>>,
) -> Result<usize, Error> {
    match tokio::time::timeout(limit, work).await {
        Ok(Ok(number)) => Ok(number),
        Ok(Err(error)) => {
            tracing::error!(step = name, %error, "a step of the sweep failed; the next sweep tries again");
            Err(error.into())
        }
        Err(_) => {
            tracing::warn!(step = name, "there is more to do than time for it: the next sweep goes on");
            Ok(0)
        }
    }
}
