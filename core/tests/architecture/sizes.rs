//! Limits of files and folders.

use crate::tree::{PACKAGES, assert_none, files, relative};
use std::{collections::BTreeMap, fs};

/// Lines of a source file.
const MAX_LINES: usize = 500;
/// Source files directly in a folder of `src/`.
const MAX_FILES: usize = 16;

#[test]
fn source_file_has_at_most_500_lines() {
    let mut sources = files(".", &["rs"]);
    sources.extend(files("bench", &["py"]));
    let long: Vec<String> = sources
        .iter()
        .map(|path| (fs::read_to_string(path).unwrap().lines().count(), path))
        .filter(|(lines, _)| *lines > MAX_LINES)
        .map(|(lines, path)| format!("{}: {lines} lines", relative(path)))
        .collect();
    assert_none("split these files by subject", &long);
}

#[test]
fn folder_of_src_has_at_most_16_source_files() {
    let mut folders = BTreeMap::<String, usize>::new();
    for package in PACKAGES {
        for path in files(&format!("{package}/src"), &["rs"]) {
            *folders.entry(relative(path.parent().unwrap())).or_default() += 1;
        }
    }
    let full: Vec<String> = folders
        .iter()
        .filter(|(_, files)| **files > MAX_FILES)
        .map(|(folder, files)| format!("{folder}: {files} files"))
        .collect();
    assert_none("group these folders by noun", &full);
}
