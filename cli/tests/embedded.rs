//! The suite where commands run the jobs themselves, and what is so there only.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod suite;
mod support;
use support::{Backend, Place, text};

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

#[test]
fn a_run_of_this_machine_cost_no_cloud() {
    let place = Place::new(
        "name: free\nstages: [a]\njobs:\n  j: { stage: a, image: \"IMAGE\", script: [\"true\"] }\n",
    );
    assert_eq!(place.tidemill(&["run", "--quiet"]).status.code(), Some(0));
    let shown = text(&place.tidemill(&["report", "--cost"]).stdout);
    assert!(shown.contains("no cloud was used"), "{shown}");
    let cost = place.json(&["report", "--cost", "--format", "json"]);
    assert!(cost["bill"].is_null() && cost["worker_ms"].as_u64().unwrap() > 0, "{cost:#}");
    assert_eq!(place.tidemill(&["report", "--cost", "--format", "junit"]).status.code(), Some(2));
}
