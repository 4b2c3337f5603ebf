//! The HTTP API: the same router serves the embedded server, Lambda and the tests.

mod access;
mod assets;
mod body_limits;
mod client;
mod extractors;
mod handlers;
mod intake;
mod limits;
mod openapi;
mod problem;
mod reply;
mod route;
mod router;
mod routes;
mod state;
mod token_verifier;

pub use access::public::PUBLIC_PATHS;
pub use client::{AuthenticatedFlag, ClientAddress};
pub use openapi::document as openapi_document;
pub use route::{Route, Within};
pub use router::router;
pub use routes::ROUTES;
pub use token_verifier::{DEFAULT_RATE, InvalidTokenHash, TokenVerifier};
