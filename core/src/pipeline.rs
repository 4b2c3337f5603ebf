//! The pipeline file: its normalized model, and the reader that turns YAML into it.
//!
//! Reading is one pass:
//!
//! 1. [`yaml`]: text -> tree with positions;
//! 2. [`compose`]: expands `include` and `extends` in the tree;
//! 3. [`raw`]: tree -> records of typed fields; the JSON Schema is generated from the same records;
//! 4. [`checks`]: records -> model ([`Pipeline`]) and diagnostics.
//!
//! Only a syntax error ends the pass early. [`assemble`] and [`parse`] run it; `diagnose` computes the positions of findings.

mod assemble;
mod checks;
pub(crate) mod compose;
pub(crate) mod diagnose;
pub(crate) mod finding;
mod github_expressions;
mod inputs;
pub mod labels;
mod model;
mod names;
pub(crate) mod parse;
mod raw;
mod references;
mod registry_scope;
pub(crate) mod typed_inputs;
pub(crate) mod yaml;

pub use assemble::{PipelineErrors, PipelineWithSources, assemble, assemble_from};
pub use compose::elsewhere::{
    GitSource, IncludeError, IncludeSources, MAX_INCLUDED_REPOSITORIES, NoSources, RepositoryRefs,
};
pub use compose::files::{FileError, ReadFile, RepositoryFiles};
pub use compose::include::{MAX_FILES, MAX_INCLUDE_DEPTH, SourceFile};
pub use inputs::{InputError, set_inputs};
pub use model::{
    Artifacts, ArtifactsWhen, Cache, CachePolicy, Cell, CellFilter, Checkout, CheckoutContent, ChildInclude,
    ChildIncludeSource, ChildPipeline, CommentTrigger, Concurrency, ContainerOptions, DeploymentTier, Device,
    Environment, EnvironmentAction, Gpus, Health, IdTokenRequest, ImageBuild, ImageOptions, Input, InputKind,
    Job, JobConcurrency, JobOptions, MAX_ARTIFACT_LABEL_LEN, MAX_AUDIENCE_LEN, MAX_CHILD_DEPTH,
    MAX_CHILD_FILES, MAX_CHILDREN, MAX_CHILDREN_OF_CHILD, MAX_DEPTH, MAX_DESCENDANTS, MAX_ID_TOKENS,
    MAX_INPUT_LEN, MAX_JOB_GROUP_BYTES, MAX_JOB_GROUP_LIMIT, MAX_SECRETS, Matrix, MatrixPart,
    MergeGroupTrigger, NO_IMAGE, Need, Pipeline, PullPolicy, PullRequestTrigger, PushTrigger, Reports,
    Resources, Rule, RuleOutcome, Schedule, SecretRef, Service, SubmoduleLevel, Submodules, TagTrigger,
    Triggers, Ulimit, UpstreamStatus, UpstreamTrigger, When, descendants_of_child, is_docker_engine,
};
pub(crate) use model::{MAX_AUTO_STOP_S, SERVER_VARIABLES};
pub(crate) use names::{LABEL_RULE, check_inside, climbs_out};
pub use names::{is_capability, is_label, is_secret_name, is_ulimit, is_variable_name};
pub use parse::{ParsedPipeline, json_schema, locate_in_job, parse, parse_with_warnings};
pub use raw::quantities::{bytes, cpus, span_s};
pub(crate) use raw::unknown_keys::{called, counterpart, without_counterpart};
pub use registry_scope::{DOCKER_HUB, DOCKER_HUB_KEY, RegistryScope};
pub use yaml::limits::MAX_FILE_BYTES;
