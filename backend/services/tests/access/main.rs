//! Access control: scopes of every route, tokens, sign-in, sessions and roles, the audit log and the web view's policy.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]
mod approvals;
mod audit;
mod broken_stores;
mod browser;
mod git_providers;
mod id_tokens;
mod job_tokens;
mod other_repositories;
mod people;
mod provider;
mod public;
mod routes;
mod server;
mod sessions;
mod sign_in;
mod tokens;
mod web_ui;
