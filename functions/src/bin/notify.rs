//! Sends commit statuses, check runs, notes and notifications as soon as the table's stream has their change, and does what a request
//! about a large execution has left. The sweep retries what is missed or fails.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tidemill_aws::{StreamChange, parse_change};
use tidemill_functions::{FunctionContext, telemetry};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let wiring = FunctionContext::load().await?;
    let wiring = &wiring;
    run(service_fn(|event: LambdaEvent<Value>| async move {
        let records = event.payload["Records"].as_array().map_or(&[][..], Vec::as_slice);
        let changes: BTreeSet<StreamChange> =
            records.iter().filter_map(|record| parse_change(&record["dynamodb"]["NewImage"])).collect();
        let mut notified = 0;
        for change in changes {
            if let StreamChange::Unfinished(id) = &change
                && let Err(error) = wiring.meter.request(wiring.services.pipelines.resume(*id)).await
            {
                tracing::warn!(execution = %id, %error, "cannot advance the execution; the sweep does");
            }
            // A failed invocation would repeat these records, and delay those after them.
            match wiring.meter.request(Box::pin(notify(wiring, &change))).await {
                Ok(number) => notified += number,
                Err(error) => tracing::warn!(?change, %error, "notification failed; the sweep retries it"),
            }
        }
        Ok::<Value, Error>(json!({ "notified": notified }))
    }))
    .await
}

async fn notify(wiring: &FunctionContext, change: &StreamChange) -> Result<usize, tidemill_services::Error> {
    match change {
        StreamChange::Execution(id) | StreamChange::Unfinished(id) => {
            wiring.services.outbox.send_status_now(*id).await
        }
        StreamChange::Notice(name) => {
            wiring.services.outbox.send_notification_now(name).await.map(usize::from)
        }
    }
}
