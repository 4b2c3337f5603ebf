//! Rules about the source text that no compiler checks: dependencies between packages and files, sizes, vocabulary, documentation.
#![allow(clippy::unwrap_used, missing_docs)]

mod cycles;
mod documentation;
mod errors;
mod modules;
mod packages;
mod sizes;
mod tree;
mod vocabulary;
