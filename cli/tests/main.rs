//! All integration tests of the command line, as one program: each module is a subject.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::missing_panics_doc, missing_docs)]

mod access;
mod cases;
mod conditions;
mod credentials;
mod debug;
mod deploy;
mod deployment;
mod embedded;
mod examples;
mod faults;
mod gitlab;
mod hostile;
#[path = "../../worker/tests/support/http_git.rs"]
mod http_git;
mod image_builds;
mod includes;
mod interrupts;
mod live_view;
mod login;
mod lost_replies;
mod maintenance;
mod messages;
mod observability;
mod odd_input;
mod process_attacks;
mod processes;
mod reference;
#[path = "../../core/tests/reference/mod.rs"]
mod reference_page;
mod registries;
mod repositories;
mod server;
mod sign_in;
mod sources;
mod suite;
mod support;
mod tls;
mod upload;
mod watch;
mod webhooks;
mod worker;
mod worker_end;
