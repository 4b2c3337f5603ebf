//! Fakes of servers, and other parts, that several tests of the worker share.
#![allow(dead_code)]

pub mod git_server;
pub mod metadata;
#[cfg(feature = "sqs")]
pub mod ministack;
