//! Sources: resolved, snapshotted from disk, cached, and checked out as trees.

mod bounds;
mod cache;
mod discovery;
mod error;
pub(crate) mod git;
mod includes;
mod local;
mod mirror;
mod network;
mod prune;
mod registry;
mod resolve;
mod settings;
mod snapshot;
mod tree;
mod upload;

pub use bounds::{Limits, OperationBounds};
pub use cache::SourceCache;
pub use discovery::{DiscoveryResult, GitlabValues, discover, read_resolved, repository_name};
pub use error::{SourceError, SourceErrorKind};
pub use git::{is_ref_name, variable};
pub use includes::{IncludeAccess, IncludeFetcher};
pub use local::command as local_git_command;
pub use network::{GitSetUp, HostPolicy, Remote, Resolver, ssh_options};
pub use prune::{Retention, prune};
pub use resolve::{ResolvedCommit, Revision, normalize_repository, resolve};
pub use settings::SourceSettings;
pub use snapshot::{Snapshot, changed_files, repository_of, snapshot};
pub use tree::{Tree, TreeRequest, materialize, materialize_as};
pub use upload::{SourcePack, UploadPlan, WrittenPack, plan_upload};
