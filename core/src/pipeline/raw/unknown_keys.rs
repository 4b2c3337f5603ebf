//! Advice on keys that a mapping does not have.

mod advice;
mod synonyms;

#[cfg(test)]
pub(crate) use advice::{CONTAINER_KEYS, DEFAULTS_KEYS};
pub(crate) use advice::{named_services, shape_advice, unknown_key};
pub(crate) use synonyms::{called, counterpart, keys_written_elsewhere, without_counterpart};
