//! What is asked of a checkout.

use super::super::{network::HostPolicy, upload::Download};
use super::lfs::LfsDownload;
use crate::workspace::FileOwner;
use std::path::{Path, PathBuf};
use tidemill_core::execution::assignment::{Checkout, CheckoutRefs, Source};

/// How sources are checked out, and how what is missing is had.
#[derive(Clone, Copy)]
pub struct TreeRequest<'a> {
    /// The sources.
    pub source: &'a Source,
    /// How they are checked out.
    pub checkout: &'a Checkout,
    /// The refs of the repository.
    pub refs: &'a CheckoutRefs,
    /// Who owns the files.
    pub owner: FileOwner,
    /// The cache in which trees are kept.
    pub cache: &'a Path,
    /// The hosts that may be contacted.
    pub reach: &'a HostPolicy,
    /// Downloads uploads.
    pub download: Download<'a>,
    /// Downloads files of Git LFS.
    pub lfs: LfsDownload<'a>,
}

/// Returns the path of an address that names a directory of this machine.
pub fn local_path(url: &str) -> Option<PathBuf> {
    let path = url.strip_prefix("file://").unwrap_or(url);
    path.starts_with('/').then(|| PathBuf::from(path))
}
