//! How large the body of each operation may be. Artifacts, sources and webhooks are streamed and have limits of their own.

use super::routes::Route;
use tidemill_core::api::path;

/// What carries logs, test results, pipeline files or lists of files: a report has up to 4 MiB of log, packed and in base64.
const MAX_LARGE: usize = 16 << 20;
/// What carries the value of a secret.
const MAX_SECRET: usize = 1 << 20;
/// Everything else.
const MAX_SMALL: usize = 256 << 10;

/// The most bytes of this operation's body.
pub fn max_body(route: &Route) -> usize {
    match route.path {
        // Nobody has shown a token; the webhook bounds its body by itself.
        _ if route.need.is_empty() => 0,
        path::EXECUTE | path::JOB_STATUS | path::JOB_TESTS | path::DISCOVERED | path::ARTIFACT_UPLOAD => {
            MAX_LARGE
        }
        path::SECRETS => MAX_SECRET,
        _ => MAX_SMALL,
    }
}

#[cfg(test)]
mod tests {
    use super::{MAX_SMALL, max_body};
    use crate::http::ROUTES;

    #[test]
    fn nothing_is_read_without_a_token_and_little_where_little_is_needed() {
        for route in ROUTES {
            let max = max_body(route);
            assert_eq!(route.need.is_empty(), max == 0, "{}", route.path);
            if route.method == "GET" || route.method == "DELETE" {
                assert!(max <= MAX_SMALL || route.path == "/api/secret", "{}", route.path);
            }
        }
    }
}
