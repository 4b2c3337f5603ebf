//! Signing in with an OpenID provider, or with the OAuth of a git provider.

mod failure;
mod git_provider;
mod openid;
pub mod service;
pub mod settings;
mod signature;

pub use failure::SignInError;
