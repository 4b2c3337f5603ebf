//! Which repository is meant: its address on a network, its name, and which hosts may be contacted.

mod address;
mod host;
mod name;
mod policy;
mod public;

pub use address::{AddressError, Credentials, MAX_ADDRESS_LEN, RepositoryAddress, Scheme};
pub use host::{HostError, HostName, HostPort};
pub use name::{RepositoryName, canonical, is_same, local_path};
pub use policy::{AddressPolicy, AddressRefusal};
pub use public::is_public;
