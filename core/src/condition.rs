//! Conditions of `if`: expressions in a subset of CEL (the Common Expression Language) that always terminate and, once
//! checked, can fail only because of an invalid pattern in a variable.
//!
//! Values are booleans, strings, and lists of strings. What is unknown or not set is the empty string: there is no
//! null.
//!
//! | name | type | meaning |
//! | --- | --- | --- |
//! | `branch`, `tag`, `commit`, `default_branch` | string | of the execution |
//! | `event` | string | `push`, `tag`, `pull_request`, `schedule`, `manual`, `merge_group`, `release`, `comment` or `pipeline` |
//! | `target_branch`, `title` | string | of its pull request |
//! | `action` | string | what happened to its pull request, such as `opened` |
//! | `comment`, `comment_author` | string | of the comment that started it |
//! | `upstream`, `upstream_status` | string | name of the pipeline whose end started it, and how it ended |
//! | `fork`, `draft` | boolean | whether the pull request comes from another repository, is a draft |
//! | `env("NAME")` | string | value of a variable |
//! | `needs.JOB.outputs.NAME` | string | an output of a needed job; decided when the job is due |
//! | `defined("NAME")` | boolean | whether the variable is set, even to the empty string |
//! | `changed("glob", ..)` | boolean | whether a changed file matches one of the globs; true if unknown |
//! | `changed_since("ref", "glob", ..)` | boolean | like `changed`, compared with where the histories of the commit and the ref parted |
//! | `exists("glob", ..)` | boolean | whether a file matches one of the globs; true if unknown |
//! | `string.startsWith(string)`, `endsWith`, `contains` | boolean | |
//! | `string.matches("regex")` | boolean | whether a part of the string matches; `(?i)` at the start ignores case |
//! | `string.lowerAscii()`, `string.upperAscii()` | string | |
//!
//! Operators: `&&`, `||`, `!`, `==`, `!=`, `in`, `+` between strings, and `condition ? a : b`.

mod compared;
mod error;
mod evaluation_error;
mod nesting;
mod open;
mod outputs;
mod parser;
mod paths;
mod predicate;

pub use error::ConditionError;
pub use evaluation_error::{EvaluationError, PatternError};
pub use open::{Decision, OpenCondition};
pub use outputs::OutputReference;
pub use parser::{Condition, MAX_LEN, check};
pub use paths::{DecisivePaths, Paths};
pub(crate) use paths::{check_size, glob};
pub(crate) use predicate::compile_pattern;
pub use predicate::{Context, Outputs, event};
