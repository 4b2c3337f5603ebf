//! Checks what containers of jobs and services get.

pub(crate) mod build;
pub(crate) mod options;
pub(crate) mod services;
