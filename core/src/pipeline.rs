//! The pipeline file: its normalised model, and the reader that turns YAML into it.

mod model;

pub use model::{
    Artifacts, ArtifactsWhen, Job, Pipeline, PullPolicy, PullRequestTrigger, PushTrigger, Resources, Triggers,
};
