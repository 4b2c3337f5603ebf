//! The normalized model of a checked pipeline, with `defaults` applied.

mod artifacts;
mod build;
mod checkout;
mod child;
mod concurrency;
mod container;
mod environment;
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
pub use child::{
    ChildInclude, ChildIncludeSource, ChildPipeline, MAX_CHILD_DEPTH, MAX_CHILD_FILES, MAX_CHILDREN,
    MAX_CHILDREN_OF_CHILD, MAX_DESCENDANTS, SERVER_VARIABLES, descendants_of_child,
};
pub use concurrency::{JobConcurrency, MAX_JOB_GROUP_BYTES, MAX_JOB_GROUP_LIMIT};
pub use container::{ContainerOptions, Device, Gpus, Ulimit};
pub(crate) use environment::MAX_AUTO_STOP_S;
pub use environment::{DeploymentTier, Environment, EnvironmentAction};
pub use file::{Concurrency, Pipeline};
pub use image::{ImageOptions, NO_IMAGE, PullPolicy, is_docker_engine};
pub use inputs::{Input, InputKind, MAX_INPUT_LEN};
pub use job::{Job, Resources};
pub(crate) use matrix::is_match;
pub use matrix::{Cell, CellFilter, Matrix, MatrixPart, Need};
pub use rules::{Rule, RuleOutcome, When};
pub use surroundings::{
    Cache, CachePolicy, Health, IdTokenRequest, JobOptions, MAX_AUDIENCE_LEN, MAX_ID_TOKENS, MAX_SECRETS,
    SecretRef, Service,
};
pub use triggers::{
    CommentTrigger, MergeGroupTrigger, PullRequestTrigger, PushTrigger, Schedule, TagTrigger, Triggers,
    UpstreamStatus, UpstreamTrigger,
};
