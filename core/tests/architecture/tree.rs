//! Finds the files of the workspace.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Directories of the packages with product code.
pub const PACKAGES: [&str; 9] = [
    "core",
    "backend/services",
    "backend/sqlite",
    "backend/server",
    "backend/aws",
    "backend/testkit",
    "worker",
    "functions",
    "cli",
];

/// Root of the workspace.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Files below `directory` (relative to the root) with one of `extensions`, sorted, without build results.
pub fn files(directory: &str, extensions: &[&str]) -> Vec<PathBuf> {
    let mut directories = vec![root().join(directory)];
    let mut files = Vec::new();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() {
                let is_skipped =
                    name.starts_with('.') || matches!(name, "target" | "node_modules" | "__pycache__");
                if !is_skipped {
                    directories.push(path);
                }
            } else if path.extension().is_some_and(|extension| extensions.iter().any(|one| extension == *one))
            {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// Programs without an extension, which are scripts: those in `scripts/`, `bench/`, `.ci/` and below `infra/` and `localstack/`.
pub fn scripts() -> Vec<PathBuf> {
    let directories = ["scripts", "bench", ".ci", "infra", "localstack"];
    let entries = directories.iter().flat_map(|directory| fs::read_dir(root().join(directory)).unwrap());
    let mut scripts: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file() && path.extension().is_none())
        .collect();
    scripts.sort();
    scripts
}

/// The path relative to the root, for messages.
pub fn relative(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// Fails with all `violations`, one per line.
pub fn assert_none(rule: &str, violations: &[String]) {
    assert!(violations.is_empty(), "{rule}:\n{}", violations.join("\n"));
}
