//! No file of a package depends on itself by way of others. A parent that only declares and re-exports modules does not count.

use crate::{
    modules::Package,
    tree::{PACKAGES, assert_none, relative, root},
};
use std::collections::BTreeSet;

/// Groups of files that depend on each other in a circle.
fn cycles(package: &Package) -> Vec<Vec<usize>> {
    let count = package.files.len();
    let mut uses = vec![BTreeSet::new(); count];
    for module in package.modules.values() {
        // Its re-exports are what such a parent is for.
        if !package.modules.values().any(|one| one.file == module.file && one.has_items) {
            continue;
        }
        uses[module.file].extend(
            module
                .paths
                .iter()
                .filter_map(|path| package.file_of(path))
                .filter(|target| *target != module.file),
        );
    }
    let reaches: Vec<BTreeSet<usize>> = (0..count).map(|file| reachable(&uses, file)).collect();
    let mut groups = Vec::new();
    let mut grouped = BTreeSet::new();
    for file in 0..count {
        if grouped.contains(&file) || !reaches[file].contains(&file) {
            continue;
        }
        let group: Vec<usize> =
            reaches[file].iter().copied().filter(|other| reaches[*other].contains(&file)).collect();
        grouped.extend(group.iter().copied());
        groups.push(group);
    }
    groups
}

/// Every file that can be reached from `start` along at least one dependency.
fn reachable(uses: &[BTreeSet<usize>], start: usize) -> BTreeSet<usize> {
    let mut reached = BTreeSet::new();
    let mut pending = vec![start];
    while let Some(file) = pending.pop() {
        pending.extend(uses[file].iter().copied().filter(|next| reached.insert(*next)));
    }
    reached
}

#[test]
fn source_files_have_no_dependency_cycle() {
    let mut violations = Vec::new();
    let mut files = 0;
    for name in PACKAGES {
        let source = root().join(name).join("src");
        let entries =
            ["lib.rs", "main.rs"].map(|entry| source.join(entry)).into_iter().filter(|path| path.exists());
        for entry in entries {
            let package = Package::read(&entry);
            files += package.files.len();
            for group in cycles(&package) {
                let names: Vec<String> = group.iter().map(|file| relative(&package.files[*file])).collect();
                violations.push(format!("{} files: {}", names.len(), names.join(", ")));
            }
        }
    }
    assert!(files > 300, "only {files} files were read");
    assert_none("these files depend on each other in a circle", &violations);
}
