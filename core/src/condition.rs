//! Conditions, as `if` takes them: expressions in a part of CEL (the Common Expression Language) that always end and, once
//! checked, cannot fail but for a pattern that a variable holds.
//!
//! Values are truth values, texts, and lists of texts. What is not known, or not set, is the empty text: there is no null.
//!
//! | name | type | what it is |
//! | --- | --- | --- |
//! | `branch`, `tag`, `commit`, `default_branch` | text | of the execution |
//! | `event` | text | `push`, `tag`, `pull_request`, `schedule` or `manual` |
//! | `target_branch`, `title` | text | of its pull request |
//! | `fork`, `draft` | truth value | whether the pull request comes from another repository, is a draft |
//! | `env("NAME")` | text | a variable's value |
//! | `defined("NAME")` | truth value | whether it is set, if only to the empty text |
//! | `changed("glob", ..)` | truth value | whether a file that one of the globs matches changed; true where that is not known |
//! | `exists("glob", ..)` | truth value | whether there is such a file; true where that is not known |
//! | `text.startsWith(text)`, `endsWith`, `contains` | truth value | |
//! | `text.matches("regex")` | truth value | whether a part of the text matches; `(?i)` in front ignores case |
//! | `text.lowerAscii()`, `text.upperAscii()` | text | |
//!
//! Operators: `&&`, `||`, `!`, `==`, `!=`, `in`, `+` between texts, and `condition ? a : b`.

mod parser;
mod paths;
mod predicate;

pub use parser::{Condition, Fault, MAX_LEN, check};
pub use paths::Paths;
pub(crate) use paths::glob;
pub(crate) use predicate::pattern;
pub use predicate::{Context, event};
