//! All integration tests of the worker, as one program: each module is a subject.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::missing_panics_doc, missing_docs)]

mod checkout;
mod client;
mod corpus;
mod credentials;
mod ecr;
mod engine;
mod git_bounds;
mod git_hostile;
#[path = "support/http_git.rs"]
mod http_git;
mod includes;
mod job_source;
mod masking;
mod metadata_guard;
mod notices;
mod reach;
#[path = "../../fuzz/replay.rs"]
mod replay;
mod source;
mod ssh;
mod support;
mod unpacking;
