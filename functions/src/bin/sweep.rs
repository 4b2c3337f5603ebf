//! The sweep: invoked each minute, carries on what is late.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::{Value, json};
use std::time::Duration;
use tidemill_functions::{Wiring, telemetry};

/// How long others may take to be told.
const TELLING: Duration = Duration::from_secs(25);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let wiring = Wiring::load().await?;
    run(service_fn(|_: LambdaEvent<Value>| async {
        let late = wiring.meter.request(wiring.services.sweep.run()).await?;
        let scheduled = wiring.meter.request(wiring.services.schedules.run()).await?;
        // What is not told in this time is told by the next sweep.
        let telling = wiring.meter.request(wiring.services.outbox.run());
        if let Ok(told) = tokio::time::timeout(TELLING, telling).await {
            told?;
        } else {
            tracing::warn!("others are slow: the next sweep goes on");
        }
        if late > 0 {
            tracing::info!(late, "carried on what was late");
        }
        if scheduled > 0 {
            tracing::info!(scheduled, "started what was scheduled");
        }
        Ok::<Value, Error>(json!({ "late": late }))
    }))
    .await
}
