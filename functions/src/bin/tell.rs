//! Tells git providers and people what happened, as soon as the table says so. What is missed or fails here is told by the sweep.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tidemill_aws::{Change, change_of};
use tidemill_functions::{Wiring, telemetry};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let wiring = Wiring::load().await?;
    let wiring = &wiring;
    run(service_fn(|event: LambdaEvent<Value>| async move {
        let records = event.payload["Records"].as_array().map_or(&[][..], Vec::as_slice);
        let changes: BTreeSet<Change> =
            records.iter().filter_map(|record| change_of(&record["dynamodb"]["NewImage"])).collect();
        let mut told = 0;
        for change in changes {
            // To fail would have the same records come again, and hold up those after them.
            match wiring.meter.request(tell(wiring, &change)).await {
                Ok(number) => told += number,
                Err(error) => tracing::warn!(?change, %error, "the sweep tells it"),
            }
        }
        Ok::<Value, Error>(json!({ "told": told }))
    }))
    .await
}

async fn tell(wiring: &Wiring, change: &Change) -> Result<usize, tidemill_services::Error> {
    match change {
        Change::Execution(id) => wiring.services.outbox.changed(*id).await,
        Change::Notice(name) => wiring.services.outbox.noticed(name).await.map(usize::from),
    }
}
