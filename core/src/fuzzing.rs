//! Properties of the parsers of untrusted input, which fuzzers try to violate.

#![allow(clippy::expect_used, clippy::missing_panics_doc, reason = "a panic reports a failure to the fuzzer")]

mod webhook;

pub use webhook::webhook;

use crate::repository::{HostName, RepositoryAddress, RepositoryName, Scheme, canonical_name};
use crate::text::diagnostics::{Diagnostic, Location, Severity, render_human};
use crate::{
    pipeline::parse_with_warnings,
    plan::{Plan, PlanError},
};
use indexmap::IndexMap;
use std::collections::HashSet;

/// Parses `bytes` as a pipeline file, and panics if a property is violated: the result is deterministic; each
/// diagnostic is within the text; an accepted file can be planned, with its jobs in an order in which each follows its
/// dependencies.
pub fn pipeline(bytes: &[u8]) {
    let Ok(source) = std::str::from_utf8(bytes) else { return };
    let result = parse_with_warnings(source);
    assert_eq!(result, parse_with_warnings(source), "parsing is deterministic");
    match result {
        Err(diagnostics) => {
            assert!(
                diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error),
                "a rejected file has an error"
            );
            check_rendering(source, &diagnostics);
        }
        Ok(parsed) => {
            assert!(parsed.warnings.iter().all(|diagnostic| diagnostic.severity == Severity::Warning));
            check_rendering(source, &parsed.warnings);
            let plan = Plan::new(&parsed.pipeline, &IndexMap::new());
            assert_eq!(plan, Plan::new(&parsed.pipeline, &IndexMap::new()), "planning is deterministic");
            check_plan(&plan);
        }
    }
}

fn check_rendering(source: &str, diagnostics: &[Diagnostic]) {
    for diagnostic in diagnostics {
        let locations =
            diagnostic.location.into_iter().chain(diagnostic.related.iter().map(|related| related.location));
        for location in locations {
            assert!(is_within(source, location), "{diagnostic} is outside of the text: {location:?}");
        }
    }
    let rendered = render_human("fuzz.yml", source, diagnostics, false);
    assert!(
        diagnostics.iter().all(|diagnostic| rendered.contains(&diagnostic.code)),
        "each diagnostic is rendered"
    );
}

/// Whether `location` is on a line of the text or at its end, and at most one character beyond the line.
fn is_within(source: &str, location: Location) -> bool {
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    let line = location.line.checked_sub(1).and_then(|before| source.split('\n').nth(before));
    line.is_some_and(|line| {
        let max_column = line.chars().count() + 1;
        (1..=max_column).contains(&location.column) && location.column + location.length <= max_column + 1
    })
}

fn check_plan(plan: &Result<Plan, PlanError>) {
    let plan = match plan {
        Ok(plan) => plan,
        // Without facts, conditions may exclude all jobs or one that is needed, a pattern in a variable may be invalid, and there
        // is no registry.
        Err(
            PlanError::AllExcluded(_)
            | PlanError::NeedExcluded { .. }
            | PlanError::Condition { .. }
            | PlanError::UnsetVariable { .. }
            | PlanError::NameTooLong(_)
            | PlanError::BadLabel { .. },
        ) => {
            return;
        }
        Err(error) => panic!("an accepted file can be planned: {error}"),
    };
    let mut names = HashSet::new();
    for (ix, job) in plan.jobs.iter().enumerate() {
        assert!(
            plan.stages.contains(&job.stage) && names.insert(&job.name),
            "`{}` is duplicate or has no stage",
            job.name
        );
        assert!(
            job.needs_jobs.iter().all(|need| (*need as usize) < ix),
            "`{}` comes before its needs",
            job.name
        );
    }
}

/// Parses `bytes` as the address of a repository, and panics if a property is violated: an accepted address has one
/// form, in which git reads the host and the port that the policy checked; the name of a name is itself; a rejected
/// address does not have the name of another.
pub fn repository_address(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let name = canonical_name(text);
    assert_eq!(canonical_name(&name), name, "the name of a name is itself");
    let Ok((address, credentials)) = RepositoryAddress::parse_with_credentials(text) else {
        assert!(RepositoryAddress::parse(text).is_err());
        return;
    };
    let url = address.to_git_url();
    assert_eq!(RepositoryAddress::parse(&url).as_ref(), Ok(&address), "formatting and parsing are inverse");
    if credentials.is_none() {
        assert_eq!(RepositoryAddress::parse(text).as_ref(), Ok(&address));
        assert_eq!(RepositoryName::parse(text), Ok(RepositoryName::Network(address.canonical())));
    }
    let (host, port) = parse_like_git(&url);
    assert_eq!(host, address.host().as_str(), "git contacts another host: {url}");
    assert_eq!(port.unwrap_or(address.scheme().port()), address.port(), "git contacts another port: {url}");
    assert_eq!(HostName::parse(&host).as_ref(), Ok(address.host()));
    if matches!(address.scheme(), Scheme::Http | Scheme::Https) {
        // Curl parses these, which follows the URL standard here.
        let read = url::Url::parse(&url).expect("it is a URL");
        assert_eq!(read.host_str(), Some(host.as_str()));
        assert_eq!(read.port_or_known_default(), Some(address.port()));
        assert!(read.username().is_empty() && read.password().is_none() && read.query().is_none());
        assert_eq!(read.path(), format!("/{}", address.path()), "the path is not rewritten");
    }
}

/// Returns host and port as git parses them (`parse_connect_url` and `get_host_and_port` of its connect.c), written
/// from that source and independent of our parser.
fn parse_like_git(url: &str) -> (String, Option<u16>) {
    let (rest, separator) = match url.split_once("://") {
        Some((_, rest)) => (rest, '/'),
        None => (url, ':'),
    };
    // The part before the last `@` of the authority is the user.
    let bracket = rest.find('[').map_or(0, |at| rest[at..].find(']').map_or(0, |end| at + end));
    let end = rest[bracket..].find(separator).map_or(rest.len(), |at| bracket + at);
    let authority = &rest[..end];
    let authority = authority.rsplit_once('@').map_or(authority, |(_, authority)| authority);
    let after = authority.rfind(']').map_or(0, |at| at + 1);
    match authority[after..].find(':') {
        Some(at) if separator == '/' => {
            let (host, port) = authority.split_at(after + at);
            (host.to_owned(), port[1..].parse().ok())
        }
        _ => (authority.to_owned(), None),
    }
}
