//! The ports that are stored in files: objects, logs and keys; and the reserved disk space.

mod content;
pub mod directories;
mod keys;
mod logs;
mod objects;
mod reserve;

pub use keys::FileKeyStore;
pub use logs::FileLogs;
pub use objects::FileObjects;
pub use reserve::{DiskGuarded, DiskReserve};
