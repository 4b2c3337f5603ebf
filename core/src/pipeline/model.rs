//! The normalized model of a checked pipeline, with `defaults` applied.

mod artifacts;
mod build;
mod checkout;
mod container;
mod file;
pub(crate) mod host_names;
mod image;
mod inputs;
mod job;
mod matrix;
mod rules;
pub(crate) mod surroundings;
mod triggers;

pub use artifacts::{Artifacts, ArtifactsWhen, MAX_ARTIFACT_LABEL_LEN, Reports};
pub use build::ImageBuild;
pub use checkout::{Checkout, CheckoutContent, MAX_DEPTH, SubmoduleLevel, Submodules};
pub use container::{ContainerOptions, Device, Gpus, Ulimit};
pub use file::{Concurrency, Pipeline};
pub use image::{ImageOptions, PullPolicy, is_docker_engine};
pub use inputs::{Input, InputKind, MAX_INPUT_LEN};
pub use job::{Job, Resources};
pub(crate) use matrix::is_match;
pub use matrix::{Cell, CellFilter, Matrix, MatrixPart, Need};
pub use rules::{Rule, RuleOutcome, When};
pub use surroundings::{
    Cache, CachePolicy, Environment, Health, JobOptions, MAX_SECRETS, SecretRef, Service,
};
pub use triggers::{
    CommentTrigger, MergeGroupTrigger, PullRequestTrigger, PushTrigger, Schedule, TagTrigger, Triggers,
    UpstreamStatus, UpstreamTrigger,
};
