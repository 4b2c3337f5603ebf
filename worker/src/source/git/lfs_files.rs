//! The files that attributes assign to Git LFS.

use crate::source::git::{self, SourceError};
use std::{
    io::{self, Seek, SeekFrom, Write},
    process::{Command, Stdio},
};

/// Returns those of `paths`, each followed by a NUL byte, that the attributes of a working tree assign to Git LFS. `command` is git
/// in that tree.
pub fn lfs_files(mut command: Command, paths: &[u8]) -> Result<Vec<String>, SourceError> {
    if paths.is_empty() {
        return Ok(Vec::new());
    }
    let failed = |error: io::Error| SourceError::io("the files of Git LFS cannot be listed", &error);
    let mut input = tempfile::tempfile().map_err(failed)?;
    input.write_all(paths).and_then(|()| input.seek(SeekFrom::Start(0))).map_err(failed)?;
    command.args(["check-attr", "-z", "--stdin", "filter"]).stdin(Stdio::from(input));
    let attributes = git::run(&mut command)?;
    let mut fields = attributes.split('\0');
    let mut found = Vec::new();
    while let (Some(path), Some(_), Some(value)) = (fields.next(), fields.next(), fields.next()) {
        if value == "lfs" {
            found.push(path.to_owned());
        }
    }
    Ok(found)
}
