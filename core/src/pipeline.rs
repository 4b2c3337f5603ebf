//! The pipeline file: its normalised model, and the reader that turns YAML into it.
//!
//! Reading is one pass down:
//!
//! 1. [`yaml`]: text -> tree with positions;
//! 2. [`compose`]: `include` and `extends` are written out in the tree;
//! 3. [`raw`]: tree -> records, as users write them; the JSON Schema is made from the same records;
//! 4. [`checks`]: records -> model ([`Pipeline`]), with everything that is wrong.
//!
//! Only a syntax error ends the pass, as what follows one means nothing. [`assemble`] and [`parse`] run it; `diagnose` looks up the
//! places of what was found.

mod assemble;
mod checks;
pub(crate) mod compose;
pub(crate) mod diagnose;
pub(crate) mod finding;
pub mod labels;
mod model;
mod names;
mod parse;
mod raw;
mod references;
pub(crate) mod yaml;

pub use assemble::{PipelineErrors, PipelineWithSources, assemble};
pub use compose::include::{MAX_FILES, MAX_INCLUDE_DEPTH, ReadFile, SourceFile};
pub use model::{
    Artifacts, ArtifactsWhen, Cache, CachePolicy, Concurrency, Environment, Health, Job, JobOptions,
    MAX_SECRETS, Pipeline, PullPolicy, PullRequestTrigger, PushTrigger, Reports, Resources, Rule,
    RuleOutcome, Schedule, SecretRef, Service, Triggers, When,
};
pub use names::{is_label, is_secret_name, is_variable_name};
pub use parse::{ParsedPipeline, json_schema, parse, parse_with_warnings};
pub use raw::quantities::{bytes, cpus, span_s};
pub use yaml::limits::MAX_FILE_BYTES;
