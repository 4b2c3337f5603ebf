//! Validates the records of a pipeline file and converts them into the model.

mod artifacts;
mod checkout;
mod child;
mod containers;
mod context;
mod cron;
mod failures;
mod graph;
mod image;
mod job;
mod matrix;
mod pipeline;
mod rules;
mod stages;
mod surroundings;
mod triggers;

pub(crate) use pipeline::pipeline;
