//! The Auto Scaling groups of the workers. It is here and not in `backend/aws`, so that the command line does without its SDK.

use crate::settings::{self, PoolSettings, SettingsError};
use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_autoscaling::{
    Client,
    error::ProvideErrorMetadata,
    types::{AutoScalingGroup as Group, Instance},
};
use std::sync::Arc;
use tidemill_core::scheduler::{FleetLimits, Machine, WorkerGroupState};
use tidemill_services::{
    Error, Result, Services,
    ports::{WorkerGroup, WorkerPool},
};

/// The lifecycle states of an instance that takes jobs or will: `Pending`, `Pending:Wait`, `Pending:Proceed`, `InService`.
const SERVING_STATES: [&str; 2] = ["Pending", "InService"];
/// The first part of the states of an instance in a warm pool.
const WARM_STATE: &str = "Warmed";

/// An Auto Scaling group and, if it is one of spot instances, the group of those that are requested on demand in place of missing ones.
/// Desired capacities are lowered only together with the end of an instance, or to the number of instances that are there.
#[derive(Debug)]
pub struct AutoScalingGroup {
    client: Client,
    name: String,
    fallback: Option<String>,
}

/// Lets the services scale the groups that the settings name.
pub fn scale_on_groups(services: &Services, sdk: &SdkConfig) -> std::result::Result<(), SettingsError> {
    let pools = settings::pools()?;
    if pools.is_empty() {
        return Ok(());
    }
    let client = Client::new(sdk);
    let pools = pools.into_iter().map(|pool| {
        let labels = pool.labels()?;
        let PoolSettings { group: name, fallback, slots, min, max, .. } = pool;
        let group = Arc::new(AutoScalingGroup { client: client.clone(), name, fallback });
        Ok(WorkerPool { labels, group, limits: FleetLimits { slots, min, max } })
    });
    services.scale_on(pools.collect::<std::result::Result<_, SettingsError>>()?);
    Ok(())
}

fn machine(instance: &Instance, is_fallback: bool) -> Option<Machine> {
    let id = instance.instance_id()?.to_owned();
    let state = instance.lifecycle_state().map_or("", |state| state.as_str());
    // An instance that waits in a warm pool is stopped, and belongs to nobody yet.
    let phase = state.split(':').next().filter(|phase| *phase != WARM_STATE)?;
    Some(Machine { id, is_leaving: !SERVING_STATES.contains(&phase), is_fallback })
}

fn state_of(group: &Group, fallback: Option<&Group>) -> WorkerGroupState {
    let desired = |group: &Group| group.desired_capacity().and_then(|number| u32::try_from(number).ok());
    let machines_of = |group: &Group, is_fallback: bool| {
        group.instances().iter().filter_map(|instance| machine(instance, is_fallback)).collect::<Vec<_>>()
    };
    let mut machines = machines_of(group, false);
    machines.extend(fallback.map(|group| machines_of(group, true)).unwrap_or_default());
    WorkerGroupState {
        desired: desired(group).unwrap_or(0),
        fallback: fallback.map(|group| desired(group).unwrap_or(0)),
        machines,
    }
}

impl AutoScalingGroup {
    async fn request(&self, name: &str, number: u32) -> Result<()> {
        let number = i32::try_from(number).unwrap_or(i32::MAX);
        let request = self.client.set_desired_capacity().auto_scaling_group_name(name);
        let sent = request.desired_capacity(number).honor_cooldown(false).send().await;
        sent.map(drop)
            .map_err(|error| Error::storage("requesting instances of workers", error.into_service_error()))
    }
}

#[async_trait]
impl WorkerGroup for AutoScalingGroup {
    async fn state(&self) -> Result<WorkerGroupState> {
        const READING: &str = "reading the Auto Scaling groups";
        let request = self.client.describe_auto_scaling_groups().auto_scaling_group_names(&self.name);
        let request = match &self.fallback {
            Some(name) => request.auto_scaling_group_names(name),
            None => request,
        };
        let reply = request.send().await;
        let reply = reply.map_err(|error| Error::storage(READING, error.into_service_error()))?;
        let find = |name: &str| {
            let mut groups = reply.auto_scaling_groups().iter();
            let group = groups.find(|group| group.auto_scaling_group_name() == Some(name));
            group.ok_or_else(|| Error::storage(READING, format!("there is no group {name}")))
        };
        let fallback = self.fallback.as_deref().map(find).transpose()?;
        Ok(state_of(find(&self.name)?, fallback))
    }

    async fn set_desired(&self, number: u32) -> Result<()> {
        self.request(&self.name, number).await
    }

    async fn set_fallback(&self, number: u32) -> Result<()> {
        match &self.fallback {
            Some(name) => self.request(name, number).await,
            None => Ok(()),
        }
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
    use super::{machine, state_of};
    use aws_sdk_autoscaling::types::{AutoScalingGroup as Group, Instance, LifecycleState};
    use tidemill_core::scheduler::{Machine, WorkerGroupState};

    fn instance(id: &str, state: &str) -> Instance {
        Instance::builder().instance_id(id).lifecycle_state(state.into()).build()
    }

    #[test]
    fn instances_that_end_are_leaving() {
        for (state, is_leaving) in [
            ("Pending", false),
            ("Pending:Wait", false),
            ("InService", false),
            ("Terminating:Wait", true),
            ("Terminated", true),
            ("Standby", true),
            ("Detached", true),
        ] {
            let expected = Machine { id: "i-1".to_owned(), is_leaving, is_fallback: true };
            assert_eq!(machine(&instance("i-1", state), true), Some(expected), "{state}");
        }
        let without_id = Instance::builder().lifecycle_state(LifecycleState::InService).build();
        assert_eq!(machine(&without_id, false), None);
        for state in ["Warmed:Pending:Wait", "Warmed:Stopped"] {
            assert_eq!(machine(&instance("i-1", state), false), None, "{state}");
        }
    }

    #[test]
    fn groups_of_both_markets_are_one() {
        let group = |desired, id| {
            Group::builder().desired_capacity(desired).instances(instance(id, "InService")).build()
        };
        let machine = |id: &str, is_fallback| Machine { id: id.to_owned(), is_leaving: false, is_fallback };
        let expected = WorkerGroupState {
            desired: 3,
            fallback: Some(1),
            machines: vec![machine("i-1", false), machine("i-2", true)],
        };
        assert_eq!(state_of(&group(3, "i-1"), Some(&group(1, "i-2"))), expected);
        assert_eq!(state_of(&group(3, "i-1"), None).fallback, None);
    }
}
