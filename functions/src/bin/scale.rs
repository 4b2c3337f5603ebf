//! Invoked every minute: scales the machines of workers with the jobs that wait and run.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::{Value, json};
use tidemill_functions::{FunctionContext, telemetry};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let wiring = FunctionContext::load().await?;
    run(service_fn(|_: LambdaEvent<Value>| async {
        let outcome = wiring.meter.request(Box::pin(wiring.services.scaling.run())).await?;
        Ok::<Value, Error>(json!({
            "needed": outcome.needed, "changes": outcome.changes, "unstarted": outcome.unstarted
        }))
    }))
    .await
}
