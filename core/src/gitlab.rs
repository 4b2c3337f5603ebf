//! Translates `.gitlab-ci.yml` into a native pipeline file.
//!
//! The file and those of the same repository that it includes become one document (`document`), in which `extends` and `!reference`
//! are expanded. Its jobs are then translated one by one (`job`). Each key that is not supported is reported with its place: a
//! warning where jobs run as they would with it, an error where they would not. The result is checked like any native file.

mod conditions;
mod document;
mod file;
mod findings;
mod job;
mod keys;
mod output;
mod settings;
mod translate;
mod values;
mod variables;

pub use settings::{DEFAULT_IMAGE, TranslateOptions};
pub use translate::translate;

/// The names that GitLab's file may have.
pub const FILE_NAMES: [&str; 2] = [".gitlab-ci.yml", ".gitlab-ci.yaml"];
