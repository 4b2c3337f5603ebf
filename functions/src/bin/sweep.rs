//! The sweep, invoked every minute: resumes overdue work.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::{Value, json};
use std::time::Duration;
use tidemill_functions::{FunctionContext, telemetry};

/// Time limit of each step; their sum is less than the function's timeout.
const NODES_LIMIT: Duration = Duration::from_secs(12);
const SCHEDULES_LIMIT: Duration = Duration::from_secs(10);
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
    run(service_fn(|_: LambdaEvent<Value>| async {
        let services = &wiring.services;
        // Each step runs even if others fail; the next sweep continues steps that run out of time.
        let overdue =
            step("nodes", NODES_LIMIT, wiring.meter.request(Box::pin(services.sweep.advance_due()))).await;
        let scheduled =
            step("schedules", SCHEDULES_LIMIT, wiring.meter.request(Box::pin(services.schedules.run())))
                .await;
        let environments = wiring.meter.request(Box::pin(services.environments.run()));
        let stopped = step("environments", ENVIRONMENTS_LIMIT, environments).await;
        let followed =
            step("follow-ups", FOLLOW_UPS_LIMIT, wiring.meter.request(Box::pin(services.follow_ups.run())))
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
        overdue.and(scheduled).and(stopped).and(followed).and(notified).and(removed).and(retained)?;
        Ok::<Value, Error>(done)
    }))
    .await
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
