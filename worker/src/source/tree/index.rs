//! The index of the repository in a tree: what git lists as changed.

use super::{
    super::git::{self, SourceError},
    lfs::recognize_content,
};
use std::{
    io::{self, Seek, SeekFrom, Write},
    path::Path,
    process::{Command, Stdio},
};

/// Creates a git command for the repository of a tree.
pub fn in_tree(git_dir: &Path, work_tree: &Path) -> Command {
    let mut command = git::at(git_dir);
    command.arg("--work-tree").arg(work_tree).current_dir(work_tree);
    command
}

/// Marks files as unchanged whose content is that of the index, in the form that attributes ask for.
pub fn refresh_index(git_dir: &Path, work_tree: &Path) -> Result<(), SourceError> {
    let mut command = in_tree(git_dir, work_tree);
    recognize_content(&mut command);
    git::run(command.args(["update-index", "-q", "--ignore-submodules", "--refresh"])).map(drop)
}

/// Marks `paths` in the index, as they are in the user's.
pub fn hide(git_dir: &Path, work_tree: &Path, option: &str, paths: &[String]) -> Result<(), SourceError> {
    if paths.is_empty() {
        return Ok(());
    }
    let failed = |error: io::Error| SourceError::io("the source cache cannot be written", &error);
    let mut input = tempfile::tempfile().map_err(failed)?;
    let list = paths.join("\0") + "\0";
    input.write_all(list.as_bytes()).and_then(|()| input.seek(SeekFrom::Start(0))).map_err(failed)?;
    let mut command = in_tree(git_dir, work_tree);
    command.args(["update-index", "-z", option, "--stdin"]).stdin(Stdio::from(input));
    // It fails for a file that is new in the user's index. The others then show as changed, as they are.
    drop(git::run(&mut command));
    Ok(())
}
