//! The rules of a pipeline file, and the way from its records to the model.

mod artifacts;
mod context;
mod cron;
mod cycles;
mod dependencies;
mod failures;
mod job;
mod needs;
mod pipeline;
mod rules;
mod services;
mod stages;
mod surroundings;
mod triggers;

pub(crate) use pipeline::pipeline;
