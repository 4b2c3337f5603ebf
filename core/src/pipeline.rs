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
pub mod labels;
mod model;
mod names;
pub(crate) mod parse;
mod raw;
mod references;
mod registry_scope;
pub(crate) mod yaml;

pub use assemble::{PipelineErrors, PipelineWithSources, assemble};
pub use compose::include::{MAX_FILES, MAX_INCLUDE_DEPTH, ReadFile, RepositoryFiles, SourceFile};
pub use model::{
    Artifacts, ArtifactsWhen, Cache, CachePolicy, Cell, CellFilter, Checkout, CheckoutContent, ChildPipeline,
    Concurrency, ContainerOptions, Device, Environment, Gpus, Health, ImageBuild, ImageOptions, Job,
    JobOptions, MAX_ARTIFACT_LABEL_LEN, MAX_CHILD_DEPTH, MAX_CHILD_FILES, MAX_CHILDREN,
    MAX_CHILDREN_OF_CHILD, MAX_DEPTH, MAX_SECRETS, Matrix, MatrixPart, Need, Pipeline, PullPolicy,
    PullRequestTrigger, PushTrigger, Reports, Resources, Rule, RuleOutcome, Schedule, SecretRef, Service,
    SubmoduleLevel, Submodules, Triggers, Ulimit, When, is_docker_engine,
};
pub(crate) use names::{LABEL_RULE, check_inside, climbs_out};
pub use names::{is_capability, is_label, is_secret_name, is_ulimit, is_variable_name};
pub use parse::{ParsedPipeline, json_schema, parse, parse_with_warnings};
pub use raw::quantities::{bytes, cpus, span_s};
pub use registry_scope::{DOCKER_HUB, DOCKER_HUB_KEY, RegistryScope};
pub use yaml::limits::MAX_FILE_BYTES;
