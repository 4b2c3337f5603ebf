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
fn local_run_has_no_cloud_cost() {
    let place = Place::new(
        "name: free\nstages: [a]\njobs:\n  j: { stage: a, image: \"IMAGE\", script: [\"true\"] }\n",
    );
    assert_eq!(place.tidemill(&["run", "--quiet"]).status.code(), Some(0));
    let shown = text(&place.tidemill(&["report", "--cost"]).stdout);
    assert!(shown.contains("no cloud usage"), "{shown}");
    let cost = place.json(&["report", "--cost", "--format", "json"]);
    assert!(cost["bill"].is_null() && cost["worker_ms"].as_u64().unwrap() > 0, "{cost:#}");
    assert_eq!(place.tidemill(&["report", "--cost", "--format", "junit"]).status.code(), Some(2));
}

#[test]
fn secrets_passed_to_a_run_are_not_stored() {
    let mut place = Place::new(
        r#"
name: lent
stages: [a]
jobs:
  uses:
    stage: a
    image: "IMAGE"
    environment: production
    secrets: [FROM_HERE, { name: FROM_FILE, file: true }]
    script: ['test "$(printf %s "$FROM_HERE" | wc -c)" = 14', 'test "$(wc -c <"$FROM_FILE")" = 14', 'echo "$FROM_HERE"']
"#,
    );
    let file = place.repo().join("../value");
    std::fs::write(&file, "out of a file\n").unwrap();
    let from_file = format!("FROM_FILE=@{}", file.display());
    let run = |words: &[&str]| {
        let mut command = place.command(&[&["run"], words].concat());
        command.env("FROM_HERE", "said only here").stdin(std::process::Stdio::null()).output().unwrap()
    };
    let lent = run(&["--secret", "FROM_HERE", "--secret", &from_file]);
    assert_eq!(lent.status.code(), Some(0), "{lent:?}\n{}", place.log("uses"));
    assert!(place.log("uses").ends_with("[masked]\n"), "{}", place.log("uses"));
    // The next process has them no more.
    assert_eq!(run(&["--secret", "FROM_HERE"]).status.code(), Some(1));
    assert_eq!(support::kind(&place.latest(), "uses"), "secret_unavailable");
    for wrong in ["FROM_HERE=plain-value", "NOT_SET_HERE", "FROM_FILE=@/no/such/file", "A-B=@/dev/null"] {
        let refused = run(&["--secret", wrong]);
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
        assert!(!text(&refused.stderr).contains("plain-value"), "{refused:?}");
    }
    place.wait_until_clean();
    for entry in std::fs::read_dir(&place.data).unwrap() {
        let path = entry.unwrap().path();
        let Ok(bytes) = std::fs::read(&path) else { continue };
        for value in ["said only here", "out of a file"] {
            assert!(
                !bytes.windows(value.len()).any(|part| part == value.as_bytes()),
                "{value} in {}",
                path.display()
            );
        }
    }
}
