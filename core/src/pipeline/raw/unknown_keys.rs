//! Advice on keys that a mapping does not have.

mod advice;
mod synonyms;

pub(crate) use advice::{shape_advice, unknown_key};
#[cfg(test)]
pub(crate) use advice::{CONTAINER_KEYS, DEFAULTS_KEYS};
pub(crate) use synonyms::keys_written_elsewhere;
