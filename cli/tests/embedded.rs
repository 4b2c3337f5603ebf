//! The suite where commands run the jobs themselves, and what is so there only.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod suite;
mod support;
use support::{Backend, Place};

suite!(Some(Backend::Embedded));

#[test]
fn bad_files_and_bad_usage_end_with_2() {
    let place =
        Place::new("name: bad\nstages: [a]\njobs:\n  j: { stage: b, image: i, script: [x], nees: [j] }\n");
    for words in [&["run"][..], &["check"], &["plan"], &["run", "--no-such-flag"], &["report", "--run", "9"]]
    {
        assert_eq!(place.tidemill(words).status.code(), Some(2), "{words:?}");
    }
    let found = place.json(&["check", "--format", "json"]);
    let codes: Vec<&str> =
        found.as_array().unwrap().iter().map(|one| one["code"].as_str().unwrap()).collect();
    assert_eq!(codes.len(), 2, "{found:#}");
    let sarif = place.json(&["check", "--format", "sarif"]);
    assert_eq!(sarif["runs"][0]["results"].as_array().unwrap().len(), 2, "{sarif:#}");
}
