//! GitLab files as they are found, and what becomes of them.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{fs, path::Path};

use tidemill_core::gitlab::{Settings, translate};
use tidemill_core::pipeline::{Assembled, Mistakes, parse};

fn fixtures() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gitlab")
}

fn from(name: &str, text: &str) -> Result<Assembled, Mistakes> {
    let read =
        |path: &str| fs::read_to_string(fixtures().join(path)).map_err(|error| error.kind().to_string());
    translate(name, text, &read, &Settings::of("app"))
}

fn said(text: &str) -> Vec<String> {
    let found = match from(".gitlab-ci.yml", text) {
        Ok(made) => made.parsed.warnings,
        Err(mistakes) => mistakes.found,
    };
    found.iter().map(ToString::to_string).collect()
}

#[test]
fn files_as_they_are_found_become_native_files() {
    let mut names: Vec<String> = fs::read_dir(fixtures())
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter(|name| name.ends_with(".yml"))
        .collect();
    names.sort();
    assert!(names.len() >= 15, "{names:?}");
    for name in names {
        let made = match from(&name, &fs::read_to_string(fixtures().join(&name)).unwrap()) {
            Ok(made) => made,
            Err(mistakes) => panic!("{name}:\n{}", mistakes.render(false)),
        };
        let pipeline = parse(&made.text).unwrap();
        assert_eq!(pipeline, made.parsed.pipeline, "{name}");
        let seen = format!("{}\n---\n{}", made.text, made.render_warnings(false));
        insta::assert_snapshot!(name.trim_end_matches(".yml"), seen);
    }
}
