//! Access control: scopes of every route, tokens, the audit log and the web view's policy.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
mod audit;
mod id_tokens;
mod job_tokens;
mod other_repositories;
mod public;
mod routes;
mod server;
mod tokens;
mod web_ui;
