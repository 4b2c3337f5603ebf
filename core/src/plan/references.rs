//! The built-in references in texts, besides variables.

use crate::execution::facts::Facts;

/// Returns the value of a built-in reference; a variable of the same name takes precedence.
pub(super) fn builtin<'a>(
    reference: &str,
    pipeline: &'a str,
    job: &'a str,
    facts: &'a Facts,
) -> Option<&'a str> {
    match reference {
        "branch" => Some(facts.branch.as_deref().unwrap_or_default()),
        "tag" => Some(facts.tag.as_deref().unwrap_or_default()),
        "job" | "CI_JOB_NAME" => Some(job),
        "pipeline" => Some(pipeline),
        _ => None,
    }
}
