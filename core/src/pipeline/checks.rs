//! Validates the records of a pipeline file and converts them into the model.

mod artifacts;
mod checkout;
mod containers;
mod context;
mod cron;
mod cycles;
mod dependencies;
mod failures;
mod image;
mod job;
mod needs;
mod pipeline;
mod rules;
mod stages;
mod surroundings;
mod triggers;

pub(crate) use pipeline::pipeline;
