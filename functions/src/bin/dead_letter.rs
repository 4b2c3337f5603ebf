//! Ends jobs whose messages moved to the dead-letter queue, since no worker could run them.

use aws_lambda_events::event::sqs::{BatchItemFailure, SqsBatchResponse, SqsEvent};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use tidemill_aws::MessageBody;
use tidemill_functions::{FunctionContext, telemetry};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let wiring = FunctionContext::load().await?;
    run(service_fn(|event: LambdaEvent<SqsEvent>| async {
        let mut reply = SqsBatchResponse::default();
        for message in event.payload.records {
            if let Err(error) = give_up(&wiring, message.body.as_deref().unwrap_or_default()).await {
                tracing::error!(id = message.message_id, %error, "the message is processed again");
                let mut failure = BatchItemFailure::default();
                failure.item_identifier = message.message_id.unwrap_or_default();
                reply.batch_item_failures.push(failure);
            }
        }
        Ok::<SqsBatchResponse, Error>(reply)
    }))
    .await
}

/// Ends the job of one message as undeliverable.
async fn give_up(wiring: &FunctionContext, body: &str) -> Result<(), Error> {
    let body: MessageBody = serde_json::from_str(body)?;
    let ended = wiring.meter.request(wiring.services.jobs.end_undeliverable(body.job_id)).await?;
    tracing::warn!(job = %body.job_id, execution = %body.execution_id, ended, "no worker could run the job");
    Ok(())
}
