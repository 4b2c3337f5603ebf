//! Translates `.gitlab-ci.yml` into a native pipeline file.
//!
//! The file and the files of the same repository that it includes are merged into one document (`document`), in which
//! `extends` and `!reference` are expanded. Its jobs are then translated one by one (`job`). Each unsupported key is
//! reported with its location: as a warning if the jobs run as they would with it, otherwise as an error. The result is
//! checked like any native file.

mod conditions;
mod document;
mod file;
mod findings;
mod job;
mod keys;
mod locate;
mod output;
mod predefined_names;
mod schema;
mod settings;
mod translation;
mod usage;
mod values;
mod variables;

pub use document::MAX_INCLUDES;
pub use settings::{DEFAULT_IMAGE, TranslateOptions};
pub use translation::translate;

/// The file names that GitLab uses.
pub const FILE_NAMES: [&str; 2] = [".gitlab-ci.yml", ".gitlab-ci.yaml"];
