//! The sweep, invoked every minute: resumes overdue work, and ends jobs whose messages moved to the dead-letter queue, since no worker
//! could run them.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::{Value, json};
use std::time::Duration;
use tidemill_functions::{FunctionContext, telemetry};

/// Minutes between two readings of the dead-letter queue.
const DEAD_LETTER_MINUTES: u32 = 5;
/// Time limit of each step; their sum is less than the function's timeout.
const NODES_LIMIT: Duration = Duration::from_secs(12);
const DEAD_LETTERS_LIMIT: Duration = Duration::from_secs(3);
const SCHEDULES_LIMIT: Duration = Duration::from_secs(6);
const ENVIRONMENTS_LIMIT: Duration = Duration::from_secs(5);
const FOLLOW_UPS_LIMIT: Duration = Duration::from_secs(5);
const OUTBOX_LIMIT: Duration = Duration::from_secs(6);
const EXPIRY_LIMIT: Duration = Duration::from_secs(8);
/// Twice this for a part of a pass of retention, which ends once this time has passed.
const RETENTION_LIMIT: Duration = Duration::from_secs(4);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let wiring = FunctionContext::load().await?;
    run(service_fn(|event: LambdaEvent<Value>| {
        let reads_dead_letters = reads_dead_letters(&event.payload);
        let wiring = &wiring;
        async move {
            let services = &wiring.services;
            // Each step runs even if others fail; the next sweep continues steps that run out of time.
            let overdue =
                step("nodes", NODES_LIMIT, wiring.meter.request(Box::pin(services.sweep.advance_due())))
                    .await;
            let given_up = step(
                "dead letters",
                DEAD_LETTERS_LIMIT,
                wiring.meter.request(Box::pin(end_dead_letters(wiring, reads_dead_letters))),
            )
            .await;
            let scheduled =
                step("schedules", SCHEDULES_LIMIT, wiring.meter.request(Box::pin(services.schedules.run())))
                    .await;
            let environments = wiring.meter.request(Box::pin(services.environments.run()));
            let stopped = step("environments", ENVIRONMENTS_LIMIT, environments).await;
            let followed = step(
                "follow-ups",
                FOLLOW_UPS_LIMIT,
                wiring.meter.request(Box::pin(services.follow_ups.run())),
            )
            .await;
            let notified =
                step("outbox", OUTBOX_LIMIT, wiring.meter.request(Box::pin(services.outbox.run()))).await;
            let removed =
                step("expired", EXPIRY_LIMIT, wiring.meter.request(Box::pin(services.sweep.expire()))).await;
            let retained = wiring.meter.request(Box::pin(services.retention.run_due(RETENTION_LIMIT)));
            // Its parts end by themselves: one that was cut off would begin anew.
            let retained = step("retention", RETENTION_LIMIT * 2, retained).await;
            let steps = [
                ("retention", &retained),
                ("nodes", &overdue),
                ("dead letters", &given_up),
                ("schedules", &scheduled),
                ("environments", &stopped),
                ("follow-ups", &followed),
                ("expired", &removed),
            ];
            for (step, number) in steps {
                if let Ok(number @ 1..) = number {
                    tracing::info!(step, number, "done");
                }
            }
            let done = json!({ "overdue": overdue.as_ref().ok() });
            // The invocation fails if a step failed, which raises the function's alarm.
            overdue
                .and(given_up)
                .and(scheduled)
                .and(stopped)
                .and(followed)
                .and(notified)
                .and(removed)
                .and(retained)?;
            Ok::<Value, Error>(done)
        }
    }))
    .await
}

/// Whether a run reads the dead-letter queue: of those that the schedule starts, one in five does, as each request is billed. A message has
/// been in its queue for some minutes before it arrives there.
fn reads_dead_letters(event: &Value) -> bool {
    let minute = event["time"].as_str().and_then(|time| time.get(14..16)).and_then(|text| text.parse().ok());
    minute.is_none_or(|minute: u32| minute.is_multiple_of(DEAD_LETTER_MINUTES))
}

/// Ends the jobs of all messages in the dead-letter queue as undeliverable, and returns their number. A message whose job cannot be ended
/// now is received again later.
async fn end_dead_letters(wiring: &FunctionContext, is_due: bool) -> Result<usize, tidemill_services::Error> {
    let Some(queue) = wiring.dead_letters.as_ref().filter(|_| is_due) else { return Ok(0) };
    let mut number = 0;
    loop {
        let messages = queue.receive().await?;
        if messages.is_empty() {
            return Ok(number);
        }
        for message in messages {
            let Some(body) = &message.body else {
                tracing::error!("deleting a message from the dead-letter queue that is not from Tidemill");
                queue.delete(&message).await?;
                continue;
            };
            match wiring.services.jobs.end_undeliverable(body.job_id).await {
                Ok(ended) => {
                    tracing::warn!(job = %body.job_id, execution = %body.execution_id, ended, "no worker could run the job");
                    queue.delete(&message).await?;
                    number += 1;
                }
                Err(error) => tracing::error!(job = %body.job_id, %error, "the message is processed again"),
            }
        }
    }
}

/// Runs `work` within `limit`.
async fn step(
    name: &'static str,
    limit: Duration,
    work: impl Future<Output = Result<usize, tidemill_services::Error>>,
) -> Result<usize, Error> {
    match tokio::time::timeout(limit, work).await {
        Ok(Ok(number)) => Ok(number),
        Ok(Err(error)) => {
            tracing::error!(step = name, %error, "a step of the sweep failed; the next sweep retries it");
            Err(error.into())
        }
        Err(_) => {
            tracing::warn!(step = name, "a step ran out of time; the next sweep continues it");
            Ok(0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::reads_dead_letters;
    use serde_json::json;

    #[test]
    fn one_scheduled_run_in_five_reads_dead_letters() {
        let scheduled = (0..60).filter(|minute| {
            reads_dead_letters(
                &json!({ "source": "aws.events", "time": format!("2026-11-30T10:{minute:02}:07Z") }),
            )
        });
        assert_eq!(scheduled.count(), 12);
        assert!(reads_dead_letters(&json!({})), "a run that was started by hand");
    }
}
