//! Maximum size of request bodies, by operation. Artifacts, sources and webhooks are streamed and have limits of their own.

use super::route::Route;
use tidemill_core::api::path;

/// Maximum size of bodies with logs, test results, summaries, pipeline files or lists of files. A report has up to 4 MiB of log, compressed and
/// in base64.
const MAX_LARGE_BODY: usize = 16 << 20;
/// Maximum size of a body with the value of a secret.
const MAX_SECRET_BODY: usize = 1 << 20;
/// Maximum size of all other bodies.
pub const MAX_SMALL_BODY: usize = 256 << 10;

/// Maximum size of a body that comes without a token.
pub const MAX_PUBLIC_BODY: usize = 4 << 10;

/// Returns the maximum size of the body of this operation, in bytes.
pub fn max_body(route: &Route) -> usize {
    match route.path {
        path::SESSION_CODE | path::SESSION_TOKEN => MAX_PUBLIC_BODY,
        // The caller has no token; the webhook handler bounds its body itself.
        _ if route.need.is_empty() => 0,
        path::EXECUTE
        | path::INPUTS
        | path::JOB_STATUS
        | path::JOB_TESTS
        | path::JOB_SUMMARY
        | path::DISCOVERY_REPORT
        | path::CHILD_REPORT
        | path::ARTIFACT_UPLOAD => MAX_LARGE_BODY,
        path::SECRETS => MAX_SECRET_BODY,
        _ => MAX_SMALL_BODY,
    }
}
