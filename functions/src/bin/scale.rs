//! Invoked every minute: requests as many workers as the backlog needs.

use aws_sdk_sqs::types::QueueAttributeName;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use serde_json::{Value, json};
use tidemill_aws::load_sdk_config;
use tidemill_functions::{
    capacity::{Limits, Load, desired},
    settings, telemetry,
};

struct ScaleContext {
    queue: aws_sdk_sqs::Client,
    queue_url: String,
    groups: aws_sdk_autoscaling::Client,
    group: String,
    limits: Limits,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let sdk = load_sdk_config().await;
    let scaler = ScaleContext {
        queue: aws_sdk_sqs::Client::new(&sdk),
        queue_url: settings::text(settings::QUEUE_URL)?,
        groups: aws_sdk_autoscaling::Client::new(&sdk),
        group: settings::text(settings::GROUP)?,
        limits: Limits {
            slots: settings::number(settings::SLOTS)?,
            min: settings::number(settings::MIN_WORKERS)?,
            max: settings::number(settings::MAX_WORKERS)?,
        },
    };
    run(service_fn(|_: LambdaEvent<Value>| scaler.scale())).await
}

impl ScaleContext {
    async fn scale(&self) -> Result<Value, Error> {
        let load = self.load().await?;
        let desired_now = desired(load, self.limits);
        if desired_now != load.desired {
            tracing::info!(?load, desired_now, "changing the number of workers");
            let set = self.groups.set_desired_capacity().auto_scaling_group_name(&self.group);
            set.desired_capacity(i32::try_from(desired_now)?).honor_cooldown(false).send().await?;
        }
        Ok(json!({ "desired": desired_now }))
    }

    async fn load(&self) -> Result<Load, Error> {
        let (waiting, running) = (
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        );
        let request = self.queue.get_queue_attributes().queue_url(&self.queue_url);
        let reply = request.attribute_names(waiting.clone()).attribute_names(running.clone()).send().await?;
        let count = |name| {
            let text = reply.attributes().and_then(|all| all.get(name));
            text.and_then(|text| text.parse().ok()).unwrap_or(0)
        };
        let groups = self.groups.describe_auto_scaling_groups().auto_scaling_group_names(&self.group);
        let groups = groups.send().await?;
        let group = groups.auto_scaling_groups().first();
        let group = group.ok_or_else(|| format!("no Auto Scaling group {}", self.group))?;
        let now = group.desired_capacity().and_then(|now| u32::try_from(now).ok()).unwrap_or(0);
        Ok(Load { waiting: count(&waiting), running: count(&running), desired: now })
    }
}
