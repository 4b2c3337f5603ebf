//! Properties of whatever reads bytes from outside; the fuzzers look for inputs that violate one.

#![allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a panic is how a fuzzer learns of a failure"
)]

mod webhook;

pub use webhook::webhook;

use crate::repository::{HostName, RepositoryAddress, RepositoryName, Scheme, canonical};
use crate::text::diagnostics::{Diagnostic, Location, Severity, render_human};
use crate::{
    pipeline::parse_with_warnings,
    plan::{Plan, PlanError},
};
use indexmap::IndexMap;
use std::collections::HashSet;

/// Reads `bytes` as a pipeline file, and panics when what must hold does not: it is answered, the same way each time;
/// each diagnostic is within the text; what is accepted can be planned, its jobs in an order in which each
/// comes after all that it waits for.
pub fn pipeline(bytes: &[u8]) {
    let Ok(source) = std::str::from_utf8(bytes) else { return };
    let answer = parse_with_warnings(source);
    assert_eq!(answer, parse_with_warnings(source), "the same text is answered in the same way");
    match answer {
        Err(found) => {
            assert!(found.iter().any(|one| one.severity == Severity::Error), "a refusal names an error");
            shown(source, &found);
        }
        Ok(parsed) => {
            assert!(parsed.warnings.iter().all(|one| one.severity == Severity::Warning));
            shown(source, &parsed.warnings);
            let plan = Plan::new(&parsed.pipeline, &IndexMap::new());
            assert_eq!(plan, Plan::new(&parsed.pipeline, &IndexMap::new()), "a plan is always the same");
            planned(&plan);
        }
    }
}

fn shown(source: &str, found: &[Diagnostic]) {
    for one in found {
        let places = one.location.into_iter().chain(one.related.iter().map(|related| related.location));
        for place in places {
            assert!(is_within(source, place), "{one} lies outside of the text: {place:?}");
        }
    }
    let drawn = render_human("fuzz.yml", source, found, false);
    assert!(found.iter().all(|one| drawn.contains(&one.code)), "each mistake is shown");
}

/// Whether `place` is on a line of the text, or at its end, and no further than one character beyond the line.
fn is_within(source: &str, place: Location) -> bool {
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    let line = place.line.checked_sub(1).and_then(|before| source.split('\n').nth(before));
    line.is_some_and(|line| {
        let most = line.chars().count() + 1;
        (1..=most).contains(&place.column) && place.column + place.length <= most + 1
    })
}

fn planned(plan: &Result<Plan, PlanError>) {
    let plan = match plan {
        Ok(plan) => plan,
        // Where nothing is known, conditions may leave out all jobs, and a pattern that a variable holds may be none.
        Err(PlanError::AllLeftOut(_) | PlanError::Condition { .. }) => return,
        Err(error) => panic!("what is accepted can be planned: {error}"),
    };
    let mut names = HashSet::new();
    for (ix, job) in plan.jobs.iter().enumerate() {
        assert!(
            plan.stages.contains(&job.stage) && names.insert(&job.name),
            "`{}` is twice or nowhere",
            job.name
        );
        assert!(
            job.needs_jobs.iter().all(|need| (*need as usize) < ix),
            "`{}` comes before its needs",
            job.name
        );
    }
}

/// Reads `bytes` as the address of a repository, and panics when what must hold does not: what is accepted has one form, in which git
/// sees the host and the port that limits go by; a name is its own name; what is refused has the name of no other.
pub fn repository_address(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let name = canonical(text);
    assert_eq!(canonical(&name), name, "a name is its own name");
    let Ok((address, credentials)) = RepositoryAddress::parse_with_credentials(text) else {
        assert!(RepositoryAddress::parse(text).is_err());
        return;
    };
    let url = address.to_git_url();
    assert_eq!(RepositoryAddress::parse(&url).as_ref(), Ok(&address), "it is read again as it is written");
    if credentials.is_none() {
        assert_eq!(RepositoryAddress::parse(text).as_ref(), Ok(&address));
        assert_eq!(RepositoryName::parse(text), Ok(RepositoryName::Network(address.canonical())));
    }
    let (host, port) = as_git_reads(&url);
    assert_eq!(host, address.host().as_str(), "git contacts another host: {url}");
    assert_eq!(port.unwrap_or(address.scheme().port()), address.port(), "git contacts another port: {url}");
    assert_eq!(HostName::parse(&host).as_ref(), Ok(address.host()));
    if matches!(address.scheme(), Scheme::Http | Scheme::Https) {
        // Curl reads these, which follows the URL standard here.
        let read = url::Url::parse(&url).expect("it is a URL");
        assert_eq!(read.host_str(), Some(host.as_str()));
        assert_eq!(read.port_or_known_default(), Some(address.port()));
        assert!(read.username().is_empty() && read.password().is_none() && read.query().is_none());
        assert_eq!(read.path(), format!("/{}", address.path()), "nothing of the path is rewritten");
    }
}

/// Host and port as git's own reader finds them (`parse_connect_url` and `get_host_and_port` of its connect.c), written after that and
/// not after our parser.
fn as_git_reads(url: &str) -> (String, Option<u16>) {
    let (rest, separator) = match url.split_once("://") {
        Some((_, rest)) => (rest, '/'),
        None => (url, ':'),
    };
    // What stands before the last `@` of the authority is the user.
    let bracket = rest.find('[').map_or(0, |at| rest[at..].find(']').map_or(0, |end| at + end));
    let end = rest[bracket..].find(separator).map_or(rest.len(), |at| bracket + at);
    let place = &rest[..end];
    let place = place.rsplit_once('@').map_or(place, |(_, place)| place);
    let after = place.rfind(']').map_or(0, |at| at + 1);
    match place[after..].find(':') {
        Some(at) if separator == '/' => {
            let (host, port) = place.split_at(after + at);
            (host.to_owned(), port[1..].parse().ok())
        }
        _ => (place.to_owned(), None),
    }
}
