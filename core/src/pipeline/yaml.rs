//! YAML documents with positions: the tree, what builds it from a text, and what writes it.

mod builder;
mod input;
pub(crate) mod limits;
pub(crate) mod tree;
pub(crate) mod writer;

pub(crate) use builder::{build, build_file, build_gitlab_file};
