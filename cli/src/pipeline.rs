//! Pipeline files, and what git knows about the repository around them.

pub mod file;
pub mod git_facts;
