//! Addresses of the pages of the web UI. The UI and everything that links to it agree on them.

use crate::ids::ExecutionId;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What a segment of a path may not contain as it is: the same as of `encodeURIComponent` in browsers.
const SEGMENT: AsciiSet = NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

/// First segments of the paths of pages. The server replies with the UI's document to these paths and all below them.
pub const PAGES: [&str; 14] = [
    "executions",
    "repositories",
    "start",
    "insights",
    "tests",
    "workers",
    "environments",
    "schedules",
    "secrets",
    "tokens",
    "audit",
    "dead-letters",
    "settings",
    "login",
];

/// First segment of the addresses of files of artifacts for a page: a ticket and the file's path follow
/// ([`super::ArtifactLink`]).
pub const ARTIFACT_FILES: &str = "artifact-files";

/// The page on which people sign in.
pub const SIGN_IN: &str = "login";

/// Returns the address of an execution's page on the server at `url`.
#[must_use]
pub fn execution_page(url: &str, id: ExecutionId) -> String {
    format!("{}/executions/{id}", url.trim_end_matches('/'))
}

/// Returns the address of a job's page, given that of its execution.
#[must_use]
pub fn job_page(execution_page: &str, name: &str) -> String {
    format!("{execution_page}/jobs/{}", utf8_percent_encode(name, &SEGMENT))
}

/// Whether a URL, with or without a scheme, names the loopback interface, which is another one in a container.
#[must_use]
pub fn is_loopback(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    host.starts_with("localhost") || host.starts_with("127.") || host.starts_with("[::1]")
}

#[cfg(test)]
mod tests {
    use super::{is_loopback, job_page};

    #[test]
    fn loopback_is_this_machine_only() {
        for url in ["http://127.0.0.1:7600", "localhost:1", "https://user:pw@localhost/", "http://[::1]:1/x"]
        {
            assert!(is_loopback(url), "{url}");
        }
        for url in ["https://ci.example.org", "10.0.0.1:7600", "http://[::2]", "https://h/127.0.0.1"] {
            assert!(!is_loopback(url), "{url}");
        }
    }

    #[test]
    fn job_name_is_one_segment() {
        let page = "https://ci.example.org/executions/e";
        for (name, encoded) in [
            ("unit", "unit"),
            ("build/linux [v=1.2]", "build%2Flinux%20%5Bv%3D1.2%5D"),
            ("a?b#c%d", "a%3Fb%23c%25d"),
            ("größe", "gr%C3%B6%C3%9Fe"),
        ] {
            assert_eq!(job_page(page, name), format!("{page}/jobs/{encoded}"));
        }
    }
}
