//! The Auto Scaling group of the workers. It is here and not in `backend/aws`, so that the command line does without its SDK.

use crate::settings::{self, SettingsError};
use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_autoscaling::{Client, error::ProvideErrorMetadata, types::Instance};
use std::sync::Arc;
use tidemill_core::scheduler::{FleetLimits, Machine, WorkerGroupState};
use tidemill_services::{Error, Result, Services, ports::WorkerGroup};

/// The lifecycle states of an instance that takes jobs or will: `Pending`, `Pending:Wait`, `Pending:Proceed`, `InService`.
const SERVING_STATES: [&str; 2] = ["Pending", "InService"];

/// An Auto Scaling group. Its desired capacity is only raised, and lowered by one together with the end of an instance.
#[derive(Debug)]
pub struct AutoScalingGroup {
    client: Client,
    name: String,
}

impl AutoScalingGroup {
    /// Creates the client of the group with this name.
    #[must_use]
    pub fn new(sdk: &SdkConfig, name: String) -> Self {
        Self { client: Client::new(sdk), name }
    }
}

/// Lets the services scale the group that the settings name, if they name one.
pub fn scale_on_group(services: &Services, sdk: &SdkConfig) -> std::result::Result<(), SettingsError> {
    let Some(name) = std::env::var(settings::GROUP).ok().filter(|name| !name.is_empty()) else {
        return Ok(());
    };
    let limits = FleetLimits {
        slots: settings::number(settings::SLOTS)?,
        min: settings::number(settings::MIN_WORKERS)?,
        max: settings::number(settings::MAX_WORKERS)?,
    };
    services.scale_on(Arc::new(AutoScalingGroup::new(sdk, name)), limits);
    Ok(())
}

fn machine(instance: &Instance) -> Option<Machine> {
    let id = instance.instance_id()?.to_owned();
    let state = instance.lifecycle_state().map_or("", |state| state.as_str());
    let is_serving = SERVING_STATES.iter().any(|serving| state.split(':').next() == Some(*serving));
    Some(Machine { id, is_leaving: !is_serving })
}

#[async_trait]
impl WorkerGroup for AutoScalingGroup {
    async fn state(&self) -> Result<WorkerGroupState> {
        let request = self.client.describe_auto_scaling_groups().auto_scaling_group_names(&self.name);
        let reply = request
            .send()
            .await
            .map_err(|error| Error::storage("reading the Auto Scaling group", error.into_service_error()))?;
        let group = reply.auto_scaling_groups().first();
        let group = group.ok_or_else(|| {
            Error::storage("reading the Auto Scaling group", format!("there is no group {}", self.name))
        })?;
        let desired = group.desired_capacity().and_then(|number| u32::try_from(number).ok()).unwrap_or(0);
        Ok(WorkerGroupState { desired, machines: group.instances().iter().filter_map(machine).collect() })
    }

    async fn set_desired(&self, number: u32) -> Result<()> {
        let number = i32::try_from(number).unwrap_or(i32::MAX);
        let request = self.client.set_desired_capacity().auto_scaling_group_name(&self.name);
        let sent = request.desired_capacity(number).honor_cooldown(false).send().await;
        sent.map(drop)
            .map_err(|error| Error::storage("requesting instances of workers", error.into_service_error()))
    }

    async fn remove(&self, machine: &str, replace: bool) -> Result<()> {
        let request = self.client.terminate_instance_in_auto_scaling_group().instance_id(machine);
        let sent = request.should_decrement_desired_capacity(!replace).send().await;
        match sent.map_err(aws_sdk_autoscaling::error::SdkError::into_service_error) {
            // The instance is not there any more, or the operator has raised the minimum. The next decision sees which.
            Err(error) if error.code() == Some("ValidationError") => {
                tracing::info!(machine, %error, "an instance was not ended");
                Ok(())
            }
            sent => sent.map(drop).map_err(|error| Error::storage("ending an instance of a worker", error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::machine;
    use aws_sdk_autoscaling::types::{Instance, LifecycleState};
    use tidemill_core::scheduler::Machine;

    #[test]
    fn instances_that_end_are_leaving() {
        let instance =
            |state: &str| Instance::builder().instance_id("i-1").lifecycle_state(state.into()).build();
        for (state, is_leaving) in [
            ("Pending", false),
            ("Pending:Wait", false),
            ("InService", false),
            ("Terminating:Wait", true),
            ("Terminated", true),
            ("Standby", true),
            ("Detached", true),
        ] {
            let expected = Machine { id: "i-1".to_owned(), is_leaving };
            assert_eq!(machine(&instance(state)), Some(expected), "{state}");
        }
        assert_eq!(machine(&Instance::builder().lifecycle_state(LifecycleState::InService).build()), None);
    }
}
