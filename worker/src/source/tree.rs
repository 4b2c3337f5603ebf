//! Read-only trees of sources, checked out once and shared by all jobs that need them.

mod checkout;
mod cloning;
mod index;
mod lfs;
mod lfs_client;
mod materialize;
mod measure;
mod record;
mod repository;
mod request;
mod sharing;
mod submodule_location;
mod submodules;
mod update;

pub use lfs_client::download_lfs;
pub use materialize::{TREES_DIR, Tree, materialize, materialize_as, source_objects};
pub use request::TreeRequest;
