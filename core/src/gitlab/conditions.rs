//! Conditions of GitLab files in the native language.

pub(crate) mod cel;
mod expression;
pub(crate) mod only;
pub(crate) mod rules;
