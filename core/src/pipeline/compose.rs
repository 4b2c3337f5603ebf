//! Composes the document of a pipeline from included files and templates.

pub(crate) mod declarations;
pub(crate) mod elsewhere;
pub(crate) mod files;
pub(crate) mod include;
pub(crate) mod inputs;
pub(crate) mod items;
pub(crate) mod merge;
pub(crate) mod place;
pub(crate) mod templates;
pub(crate) mod versions;
