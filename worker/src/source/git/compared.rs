//! The paths of a commit that changed since the histories of it and of other refs parted.

use super::{
    commit_files::{READ_LIMITS, paths},
    is_full_hash, is_ref_name,
};
use crate::source::{
    bounds::OperationBounds,
    git::{self, SourceError},
    mirror::ObjectRepository,
    network::Remote,
};
use std::collections::{BTreeMap, BTreeSet};
use tidemill_core::execution::{
    discovery::{MAX_COMPARED_REFS, MAX_PATH_LEN, MAX_PATHS_BYTES},
    facts::ComparedPaths,
};

/// Where the refs of a commit's repository are.
pub struct RefSource<'a> {
    /// The repository on this machine.
    pub objects: &'a ObjectRepository,
    /// The one from which refs are fetched into it; none: it has all.
    pub remote: Option<&'a Remote>,
}

impl RefSource<'_> {
    /// Returns the paths that differ between `tree`, which is `commit` or based on it, and the commit at which its history and that of
    /// each of `refs` parted. Refs beyond what a report takes are left out, and so unknown: several files may name more than one may.
    pub fn compare(
        &self,
        (commit, tree): (&str, &str),
        mut refs: BTreeSet<String>,
    ) -> Result<ComparedPaths, SourceError> {
        let mut all = ComparedPaths::new();
        refs.retain(|reference| reference.len() <= MAX_PATH_LEN);
        let refs: BTreeSet<String> = refs.into_iter().take(MAX_COMPARED_REFS).collect();
        if refs.is_empty() {
            return Ok(all);
        }
        let places: BTreeMap<String, Vec<String>> =
            refs.into_iter().map(|reference| (reference.clone(), self.places(&reference))).collect();
        let known = self.known(places.values().flatten().map(String::as_str))?;
        let (bounds, mut bytes) = (OperationBounds::current(), 0);
        for (reference, places) in places {
            bounds.check()?;
            let place = places.iter().find(|place| known.contains(*place)).cloned();
            let Some(base) = self.base(&reference, place.as_deref(), commit)? else {
                all.insert(reference, None);
                continue;
            };
            let mut diff = git::at(&self.objects.path);
            diff.args(["diff-tree", "-r", "--name-only", "-z", "--no-renames", "--no-ext-diff"]);
            diff.args(["--no-textconv", &base, tree]);
            // What has too many paths is unknown.
            let Some(changed) = paths(&mut diff)? else { continue };
            bytes += changed.iter().map(String::len).sum::<usize>();
            if bytes <= MAX_PATHS_BYTES {
                all.insert(reference, Some(changed));
            }
        }
        Ok(all)
    }

    /// Returns the full names that a ref may have, the first of which counts.
    fn places(&self, reference: &str) -> Vec<String> {
        if !is_ref_name(reference) {
            return Vec::new();
        }
        let of_origin = |branch: &str| format!("refs/remotes/origin/{branch}");
        let is_local = self.remote.is_none();
        match (reference.strip_prefix("refs/heads/"), reference.strip_prefix("refs/")) {
            (Some(branch), _) if is_local => vec![of_origin(branch), reference.to_owned()],
            (None, Some(full)) if !full.starts_with("tags/") => Vec::new(),
            (_, Some(_)) => vec![reference.to_owned()],
            (_, None) => {
                let origin = is_local.then(|| of_origin(reference));
                let tag = std::iter::once(format!("refs/tags/{reference}"));
                tag.chain(origin).chain([format!("refs/heads/{reference}")]).collect()
            }
        }
    }

    /// Returns which of these refs there are.
    fn known<'n>(&self, names: impl Iterator<Item = &'n str>) -> Result<BTreeSet<String>, SourceError> {
        let names: Vec<&str> = names.collect();
        if names.is_empty() {
            return Ok(BTreeSet::new());
        }
        let text = if let Some(remote) = self.remote {
            remote.list_refs(&[], &names)?
        } else {
            let mut list = git::at(&self.objects.path);
            list.args(["for-each-ref", "--format=%(objectname)%09%(refname)"]).args(&names);
            git::run_limited(&mut list, READ_LIMITS)?
        };
        Ok(text.lines().filter_map(|line| line.split_once('\t')).map(|(_, name)| name.to_owned()).collect())
    }

    /// Returns the commit at which the histories of `commit` and of a ref parted; `place` is the full name of the ref.
    fn base(
        &self,
        reference: &str,
        place: Option<&str>,
        commit: &str,
    ) -> Result<Option<String>, SourceError> {
        let repo = &self.objects.path;
        let other = match (place, self.remote) {
            (Some(place), Some(remote)) => {
                let spec = format!("+{place}:{place}");
                self.objects.fetch(remote, &[spec.as_str()])?;
                place
            }
            (Some(place), None) => place,
            (None, remote) => {
                let is_hash = (7..=64).contains(&reference.len())
                    && reference.bytes().all(|byte| byte.is_ascii_hexdigit());
                if !is_hash {
                    return Ok(None);
                }
                let has = |name: &str| {
                    git::run(git::at(repo).args(["cat-file", "-e", &format!("{name}^{{commit}}")])).is_ok()
                };
                if let Some(remote) = remote.filter(|_| is_full_hash(reference) && !has(reference)) {
                    drop(self.objects.fetch(remote, &[reference]));
                }
                if !has(reference) {
                    return Ok(None);
                }
                reference
            }
        };
        let mut base = git::at(repo);
        base.args(["merge-base", &format!("{other}^{{commit}}"), commit]);
        // Without a common commit there is nothing to compare with.
        Ok(git::run_limited(&mut base, READ_LIMITS).ok().map(|base| base.trim().to_owned()))
    }
}
