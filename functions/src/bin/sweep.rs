//! The sweep: invoked each minute, carries on what is late.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::{Value, json};
use tidemill_functions::{Wiring, telemetry};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let wiring = Wiring::load().await?;
    run(service_fn(|_: LambdaEvent<Value>| async {
        let late = wiring.meter.request(wiring.services.sweep.run()).await?;
        let scheduled = wiring.meter.request(wiring.services.schedules.run()).await?;
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
