//! How large the body of each operation may be. Artifacts, sources and webhooks are streamed and have limits of their own.

use super::routes::Route;
use tidemill_core::api::path;

/// What carries logs, test results, pipeline files or lists of files: a report has up to 4 MiB of log, packed and in base64.
const MAX_LARGE_BODY: usize = 16 << 20;
/// What carries the value of a secret.
const MAX_SECRET_BODY: usize = 1 << 20;
/// Everything else.
const MAX_SMALL_BODY: usize = 256 << 10;

/// The most bytes of this operation's body.
pub fn max_body(route: &Route) -> usize {
    match route.path {
        // Nobody has shown a token; the webhook bounds its body by itself.
        _ if route.need.is_empty() => 0,
        path::EXECUTE | path::JOB_STATUS | path::JOB_TESTS | path::DISCOVERED | path::ARTIFACT_UPLOAD => {
            MAX_LARGE_BODY
        }
        path::SECRETS => MAX_SECRET_BODY,
        _ => MAX_SMALL_BODY,
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_SMALL_BODY, max_body};
    use crate::http::ROUTES;

    #[test]
    fn body_limits_follow_route_and_token() {
        for route in ROUTES {
            let max = max_body(route);
            assert_eq!(route.need.is_empty(), max == 0, "{}", route.path);
            if route.method == "GET" || route.method == "DELETE" {
                assert!(max <= MAX_SMALL_BODY || route.path == "/api/secret", "{}", route.path);
            }
        }
    }
}
