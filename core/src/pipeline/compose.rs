//! Composes the document of a pipeline from included files and templates.

pub(crate) mod include;
pub(crate) mod merge;
pub(crate) mod templates;
