//! `checkout`: how a job gets its sources.

use schemars::JsonSchema;

use super::alternatives::Either;
use super::collections::OneOrMany;
use super::field::{Field, FromScalar, Read, Reader, Record, read_record, record};
use super::scalars::{Flag, Text};
use crate::pipeline::finding::{Fault, Trail, quoted};
use crate::pipeline::model::{MAX_DEPTH, SubmoduleLevel};
use crate::pipeline::yaml::tree::Node;

/// A number of commits; 0: all.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(inline)]
pub(crate) struct Depth(#[schemars(range(min = 0, max = 1_000_000))] pub(crate) u32);

impl FromScalar for Depth {
    const EXPECTED: &'static str = "a number of commits, or 0 for all";
    fn from_text(text: &str) -> Result<Self, Fault> {
        match text.parse::<i128>() {
            Ok(depth) => {
                u32::try_from(depth).ok().filter(|depth| *depth <= MAX_DEPTH).map(Self).ok_or_else(|| {
                    Fault::new("out-of-range", format!("must be from 0 to {MAX_DEPTH}, not {}", quoted(text)))
                        .help("0 is the whole history")
                })
            }
            Err(_) => {
                Err(Fault::new("wrong-type", format!("takes {}, not {}", Self::EXPECTED, quoted(text))))
            }
        }
    }
}

/// Which submodules to check out.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(inline)]
pub(crate) struct SubmodulesValue(#[schemars(schema_with = "submodules_schema")] pub(crate) SubmoduleLevel);

fn submodules_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "enum": [true, false, "recursive", "direct"] })
}

impl FromScalar for SubmodulesValue {
    const EXPECTED: &'static str = "`recursive`, `direct`, `true` or `false`";
    fn from_text(text: &str) -> Result<Self, Fault> {
        match text {
            "recursive" | "true" | "True" | "TRUE" => Ok(Self(SubmoduleLevel::Recursive)),
            "direct" => Ok(Self(SubmoduleLevel::Direct)),
            "false" | "False" | "FALSE" => Ok(Self(SubmoduleLevel::Off)),
            _ => {
                let fault =
                    Fault::new("unknown-value", format!("takes {}, not {}", Self::EXPECTED, quoted(text)));
                Err(match text {
                    "normal" => fault.help("write `direct`: the repository's own submodules, not theirs"),
                    "none" => fault.help("write `false`"),
                    _ => fault,
                })
            }
        }
    }
}

record! {
    /// How to check out the sources.
    struct RawCheckout("`checkout`") {
        /// Commits of history in the repository; 0: all. Default: 50, or as many as lead to the nearest tag and to the base of the branch.
        depth: Depth = "depth",
        /// Whether the repository has all tags, or none. Default: those that the history leads to.
        tags: Flag = "tags",
        /// Which submodules to check out. Default: recursive.
        submodules: Either<SubmodulesValue, RawSubmodules> = "submodules",
        /// Whether files of Git LFS have their content instead of pointers. Default: true.
        lfs: Flag = "lfs",
        /// Whether uncommitted changes and untracked files of the working tree are left out. Default: false.
        clean: Flag = "clean",
        /// Whether the files are checked out; otherwise the workspace has only the repository. Default: true.
        files: Flag = "files",
        /// Whether the job may push to its repository, with the credential that an administrator registered for it. Default: false.
        push: Flag = "push",
    }
}

record! {
    /// Which submodules to check out.
    struct RawSubmodules("`submodules`") {
        /// Whether submodules of submodules are checked out. Default: true.
        recursive: Flag = "recursive",
        /// Paths of the submodules to check out; `:(exclude)` in front of a path leaves it out. Default: all.
        paths: OneOrMany<Text> = "paths",
        /// Commits of history in each submodule; 0: all. Default: as many as the repository has.
        depth: Depth = "depth",
    }
}
