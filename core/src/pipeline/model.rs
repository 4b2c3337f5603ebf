//! The model of a pipeline: checked, `defaults` merged, one spelling for each thing.

mod artifacts;
mod file;
mod job;
mod rules;
mod surroundings;
mod triggers;

pub use artifacts::{Artifacts, ArtifactsWhen, Reports};
pub use file::{Concurrency, Pipeline};
pub use job::{Job, PullPolicy, Resources};
pub use rules::{Rule, RuleThen, RunWhen};
pub use surroundings::{
    Cache, CachePolicy, Environment, Health, MAX_SECRETS, SecretUse, Service, Surroundings,
};
pub use triggers::{PullRequestTrigger, PushTrigger, Schedule, Triggers};
