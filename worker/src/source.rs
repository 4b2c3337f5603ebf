//! Sources: found, snapshotted from disk, cached, and laid out as trees.

mod discovery;
mod git;
mod snapshot;
mod sources;
mod tree;
mod upload;

pub use discovery::{Found, discover};
pub use git::SourceError;
pub use snapshot::{Snapshot, repository_of, snapshot};
pub use sources::Sources;
pub use tree::{Tree, materialise, prune};
pub use upload::{SourcePack, Upload, WrittenPack, upload};

use std::path::Path;
use tidemill_core::assignment::Source;

/// Where the sources of `url` at `branch` or `commit` are, for `--repo`: the head of its default branch when neither
/// is given.
pub fn resolve(url: &str, branch: Option<&str>, commit: Option<&str>) -> Result<Source, SourceError> {
    let url = match Path::new(url).canonicalize() {
        Ok(path) => path.to_string_lossy().into_owned(),
        Err(_) => url.to_owned(),
    };
    if let Some(commit) = commit.filter(|text| git::is_full_hash(text)) {
        let branch = branch.map(str::to_owned);
        return Ok(Source::Git { url, branch, commit: commit.to_lowercase(), tree: None });
    }
    if let Some(short) = commit {
        if Path::new(&url).is_dir() {
            let full = git::line(&["-C", &url, "rev-parse", "--verify", &format!("{short}^{{commit}}")])
                .map_err(|error| SourceError::new(format!("{url} has no commit `{short}`: {error}")))?;
            return Ok(Source::Git { url, branch: branch.map(str::to_owned), commit: full, tree: None });
        }
        return Err(SourceError::new(format!(
            "`{short}` is not a full commit hash; a remote is asked by full hashes"
        )));
    }
    let refs = git::text(&["ls-remote", "--symref", "--", &url])?;
    let mut head = None;
    let mut found = None;
    let mut peeled = None;
    for line in refs.lines() {
        let Some((value, name)) = line.split_once('\t') else { continue };
        if let Some(target) = value.strip_prefix("ref: refs/heads/") {
            if name == "HEAD" {
                head = Some(target.to_owned());
            }
            continue;
        }
        match branch {
            Some(branch) if name == format!("refs/heads/{branch}") => peeled = Some(value.to_owned()),
            Some(branch) if name == format!("refs/tags/{branch}^{{}}") => peeled = Some(value.to_owned()),
            Some(branch) if name == format!("refs/tags/{branch}") => found = Some(value.to_owned()),
            None if name == "HEAD" => found = Some(value.to_owned()),
            _ => {}
        }
    }
    let commit = peeled.or(found).ok_or_else(|| {
        SourceError::new(match branch {
            Some(branch) => format!("{url} has no branch or tag `{branch}`"),
            None => format!("{url} has no commit yet"),
        })
    })?;
    Ok(Source::Git { url, branch: branch.map(str::to_owned).or(head), commit, tree: None })
}
