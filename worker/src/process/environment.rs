//! The environment of a job: nothing of it comes from the worker's own.

use super::directory::JobDirectory;
use crate::policy::JobSettings;
use indexmap::IndexMap;
use std::path::Path;
use tidemill_core::{
    execution::{assignment::Assignment, predefined::WORKSPACE_DIR},
    summary::markdown::SUMMARY_VARIABLE,
};

/// Where programs are looked up, unless the operator says otherwise.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The variable by which the processes of a job are found whose supervisor was killed.
pub(super) const MARKER: &str = "TIDEMILL_PROCESS_JOB";

/// Returns the variables of the operator and those that every program needs; the job's own are in its script.
pub(super) fn environment(
    settings: &JobSettings,
    directory: &JobDirectory,
    (user, marker): (&str, &str),
) -> IndexMap<String, String> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let mut all = IndexMap::new();
    let own = [
        ("PATH", DEFAULT_PATH.to_owned()),
        ("HOME", text(&directory.home())),
        ("TMPDIR", text(&directory.temporary())),
        ("USER", user.to_owned()),
        ("LOGNAME", user.to_owned()),
        ("SHELL", "/bin/sh".to_owned()),
    ];
    all.extend(own.into_iter().map(|(name, value)| (name.to_owned(), value)));
    all.extend(settings.proxies.variables(std::iter::empty()));
    all.extend(settings.environment.clone());
    all.insert(MARKER.to_owned(), marker.to_owned());
    all
}

/// Replaces the paths of a container in the job's variables and its working directory by those of `directory`.
pub(super) fn relocate(assignment: &mut Assignment, directory: &JobDirectory) {
    let workspace = directory.workspace().to_string_lossy().into_owned();
    for value in assignment.variables.values_mut() {
        if value.contains(WORKSPACE_DIR) {
            *value = value.split(':').map(|path| relocated(path, &workspace)).collect::<Vec<_>>().join(":");
        }
    }
    let summary = summary_file(&directory.run()).to_string_lossy().into_owned();
    assignment.variables.insert(SUMMARY_VARIABLE.to_owned(), summary);
    if let Some(path) = &mut assignment.preparation.working_dir {
        *path = relocated(path, &workspace);
    }
}

/// Returns the file of the summary in the directory with a job's scripts.
pub(super) fn summary_file(run: &Path) -> std::path::PathBuf {
    run.join("summary.md")
}

/// Returns a path with the workspace of containers replaced by that of this job.
fn relocated(path: &str, workspace: &str) -> String {
    match path.strip_prefix(WORKSPACE_DIR) {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => format!("{workspace}{rest}"),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::relocated;

    #[test]
    fn only_paths_in_the_workspace_are_replaced() {
        for (path, expected) in [
            ("/workspace", "/job/workspace"),
            ("/workspace/.cache", "/job/workspace/.cache"),
            ("/workspaces/x", "/workspaces/x"),
            ("a/workspace", "a/workspace"),
            ("", ""),
        ] {
            assert_eq!(relocated(path, "/job/workspace"), expected);
        }
    }
}
