//! Sources: resolved, snapshotted from disk, cached, and checked out as trees.

mod bounds;
mod discovery;
mod error;
pub(crate) mod git;
mod local;
mod mirror;
mod prune;
mod reach;
mod registry;
mod resolve;
mod settings;
mod snapshot;
mod sources;
mod tree;
mod upload;

pub use bounds::{Limits, OperationBounds};
pub use discovery::{DiscoveryResult, discover};
pub use error::{SourceError, SourceErrorKind};
pub use git::variable;
pub use prune::{Retention, prune};
pub use reach::{HostPolicy, Remote, Resolver};
pub use resolve::{ResolvedCommit, repository_named, resolve};
pub use settings::SourceSettings;
pub use snapshot::{Snapshot, repository_of, snapshot};
pub use sources::SourceCache;
pub use tree::{Tree, materialise};
pub use upload::{SourcePack, UploadPlan, WrittenPack, upload};
