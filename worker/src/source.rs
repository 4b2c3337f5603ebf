//! Sources: found, snapshotted from disk, cached, and laid out as trees.

mod discovery;
mod gate;
mod git;
mod handed;
mod here;
mod reach;
mod resolve;
mod snapshot;
mod sources;
mod tree;
mod upload;

pub use discovery::{Found, discover};
pub use git::SourceError;
pub use handed::prune as prune_handed;
pub use reach::{Reach, Remote, Resolver};
pub use resolve::{Resolved, repository_named, resolve};
pub use snapshot::{Snapshot, repository_of, snapshot};
pub use sources::Sources;
pub use tree::{Tree, materialise, prune};
pub use upload::{SourcePack, Upload, upload};
