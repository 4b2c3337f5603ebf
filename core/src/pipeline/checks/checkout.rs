//! Checks `checkout`.

use super::context::{FindingSink, texts};
use crate::pipeline::finding::{Fault, Finding, Path};
use crate::pipeline::model::{Checkout, CheckoutContent, SubmoduleLevel, Submodules};
use crate::pipeline::raw::alternatives::Either;
use crate::pipeline::raw::checkout::{RawCheckout, RawSubmodules};
use crate::pipeline::raw::scalars::Flag;

const MAX_PATHS: usize = 200;

const MAX_PATH_BYTES: usize = 1024;

/// Checks how the sources are checked out, and returns it.
pub(crate) fn checkout(raw: &Either<Flag, RawCheckout>, path: &Path, findings: &mut FindingSink) -> Checkout {
    let raw = match raw {
        Either::Short(Flag(true)) => return Checkout::default(),
        Either::Short(Flag(false)) => {
            return Checkout { content: CheckoutContent::Nothing, ..Checkout::default() };
        }
        Either::Long(raw) => raw,
    };
    let has_files = raw.files.get().is_none_or(|files| files.0);
    let submodules = match raw.submodules.get() {
        None => Submodules::default(),
        Some(Either::Short(level)) => Submodules { level: level.0, ..Submodules::default() },
        Some(Either::Long(raw)) => submodules(raw, &path.key("submodules"), findings),
    };
    Checkout {
        content: if has_files { CheckoutContent::Files } else { CheckoutContent::Repository },
        depth: raw.depth.get().map(|depth| depth.0),
        tags: raw.tags.get().map(|tags| tags.0),
        submodules,
        lfs_pointers: raw.lfs.get().is_some_and(|lfs| !lfs.0),
        clean: raw.clean.get().is_some_and(|clean| clean.0),
        push: raw.push.get().is_some_and(|push| push.0),
    }
}

fn submodules(raw: &RawSubmodules, path: &Path, findings: &mut FindingSink) -> Submodules {
    let paths = texts(raw.paths.get());
    let at = path.key("paths");
    if paths.len() > MAX_PATHS {
        let message = format!("{} paths are more than {MAX_PATHS}, the limit", paths.len());
        findings.push(Finding::key("out-of-range", &at, message).help("name the paths to leave out instead"));
    }
    for (index, text) in paths.iter().enumerate() {
        findings.check(check_path(text), || at.index(index));
    }
    let is_recursive = raw.recursive.get().is_none_or(|recursive| recursive.0);
    Submodules {
        level: if is_recursive { SubmoduleLevel::Recursive } else { SubmoduleLevel::Direct },
        paths,
        depth: raw.depth.get().map(|depth| depth.0),
    }
}

fn check_path(text: &str) -> Result<(), Fault> {
    if text.trim().is_empty() || text.len() > MAX_PATH_BYTES || text.contains(char::is_control) {
        return Err(Fault::new(
            "bad-path",
            format!("must have 1 to {MAX_PATH_BYTES} bytes without line breaks"),
        ));
    }
    Ok(())
}
