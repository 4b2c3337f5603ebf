//! What git providers show of executions beside commit statuses: check runs, and notes of pull requests.

pub(super) mod check_runs;
mod content;
pub(super) mod notes;
pub(crate) mod reruns;
pub(super) mod tokens;
