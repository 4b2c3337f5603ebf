//! Checks `allow_failure` and `retry`.

use super::context::FindingSink;
use crate::execution::retry::RetryFor;
use crate::pipeline::finding::{Finding, Path};
use crate::pipeline::raw::alternatives::Either;
use crate::pipeline::raw::field::Field;
use crate::pipeline::raw::job_parts::RawAllowFailure;
use crate::pipeline::raw::retry::RawRetry;
use crate::pipeline::raw::scalars::Flag;

/// Returns whether all failures are tolerated, and the tolerated exit codes.
pub(crate) fn tolerated_failures(raw: &Either<Flag, RawAllowFailure>) -> (bool, Vec<i32>) {
    match raw {
        Either::Short(flag) => (flag.0, Vec::new()),
        Either::Long(raw) => {
            let codes = raw.exit_codes.get().map_or(&[][..], |codes| codes.0.as_slice());
            (false, codes.iter().map(|code| code.0).collect())
        }
    }
}

pub(crate) fn check_allow_failure(
    raw: &Field<Either<Flag, RawAllowFailure>>,
    path: &Path,
    findings: &mut FindingSink,
) {
    let Some(Either::Long(raw)) = raw.get() else { return };
    let none = raw.exit_codes.is_absent() || raw.exit_codes.get().is_some_and(|codes| codes.0.is_empty());
    if none {
        findings.push(
            Finding::value("missing-key", &path.key("allow_failure"), "`allow_failure` names no exit codes")
                .help("write `allow_failure: true`, or `{ exit_codes: [..] }` with those that are allowed"),
        );
    }
}

/// Returns the number of retries, and the failures to retry after. An empty `when` is no failure at all, lost workers
/// included.
pub(crate) fn retry(raw: &RawRetry) -> (u32, RetryFor) {
    let kinds = raw.when.get().map_or(&[][..], |kinds| kinds.0.as_slice());
    let exit_codes = raw.exit_codes.get().map_or(&[][..], |codes| codes.0.as_slice());
    let retry_for = RetryFor {
        kinds: kinds.iter().map(|kind| kind.0).collect(),
        exit_codes: exit_codes.iter().map(|code| code.0).collect(),
        lost_is_final: raw.when.get().is_some_and(|kinds| kinds.0.is_empty()),
    };
    if retry_for.lost_is_final && exit_codes.is_empty() {
        return (0, retry_for);
    }
    (raw.max.get().map_or(1, |max| max.0), retry_for)
}

/// Rejects an empty list of exit codes, which would match every failure.
pub(crate) fn check_retry(raw: &RawRetry, path: &Path, findings: &mut FindingSink) {
    let path = path.key("retry");
    if raw.exit_codes.get().is_some_and(|codes| codes.0.is_empty()) {
        findings.push(
            Finding::value(
                "empty-list",
                &path.key("exit_codes"),
                "`exit_codes` is empty, so it matches every failure",
            )
            .help("remove `exit_codes` to retry after every failure, or write `when: []` to never repeat the job"),
        );
    }
}
