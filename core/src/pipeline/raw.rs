//! A pipeline file before any check: records of typed fields, each of which is absent, invalid or set. The JSON Schema is generated
//! from the same records.

pub(crate) mod alternatives;
pub(crate) mod build;
pub(crate) mod checkout;
pub(crate) mod collections;
pub(crate) mod container;
pub(crate) mod field;
pub(crate) mod job_parts;
pub(crate) mod matrix;
pub(crate) mod needs;
pub(crate) mod quantities;
pub(crate) mod records;
pub(crate) mod retry;
pub(crate) mod scalars;
pub(crate) mod script;
pub(crate) mod triggers;
pub(crate) mod unknown_keys;
