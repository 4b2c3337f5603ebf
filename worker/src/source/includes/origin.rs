//! The repository that the pipeline files of a job belong to.

use crate::source::{local, registry};
use std::path::Path;
use tidemill_core::execution::assignment::Source;
use tidemill_core::repository::RepositoryAddress;

/// Returns the address of the repository of `source`, on whose server included repositories are looked up, and whether its host may
/// have a private address. Snapshots are registered below `cache`.
pub fn own_repository(source: &Source, cache: &Path) -> (Option<RepositoryAddress>, bool) {
    match source {
        Source::Git { url, private_host, .. } | Source::Uploaded { url: Some(url), private_host, .. } => {
            (RepositoryAddress::parse(url).ok(), *private_host)
        }
        Source::Snapshot { snapshot, repository, .. } => {
            let found = registry::find(cache, snapshot, repository).ok();
            let origin = found.and_then(|(_, details)| details.origin);
            // A run of a directory's commit has that directory as its origin.
            let origin = match origin.as_deref().and_then(|origin| origin.strip_prefix("file://")) {
                Some(directory) => local::git(Path::new(directory), &["remote", "get-url", "origin"]).ok(),
                None => origin,
            };
            let address = origin.and_then(|url| RepositoryAddress::parse_with_credentials(url.trim()).ok());
            (address.map(|(address, _)| address), false)
        }
        Source::None | Source::Uploaded { url: None, .. } => (None, false),
    }
}
