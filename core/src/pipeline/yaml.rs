//! YAML documents with positions: tree, builder and writer.

mod anchors;
mod builder;
mod input;
pub(crate) mod limits;
pub(crate) mod line_scanner;
mod merge_keys;
pub(crate) mod origin;
pub(crate) mod scalars;
pub(crate) mod tree;
mod unquoted;
pub(crate) mod writer;

pub(crate) use builder::{build, build_file, build_gitlab_file, build_replaced};
