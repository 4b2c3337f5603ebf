//! Repositories: addresses and names, the policy for hosts, registrations, and webhooks.

mod address;
pub mod credential;
pub mod deliveries;
pub mod github_app;
mod host;
pub mod includes;
mod name;
mod policy;
mod public;
pub mod registration;
pub mod schedules;
pub mod webhook;

pub use address::{AddressError, Credentials, MAX_ADDRESS_LEN, RepositoryAddress, Scheme};
pub use host::{HostError, HostName, HostPort};
pub use name::{RepositoryName, canonical_name, local_path, names_same_repository};
pub use policy::{AddressPolicy, AddressPolicyError};
pub use public::is_public;
