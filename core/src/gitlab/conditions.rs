//! Translates conditions of GitLab files into native conditions.

pub(crate) mod cel;
mod expression;
pub(crate) mod only;
pub(crate) mod requests;
pub(crate) mod rules;
