//! Writes the files that `--output` names.

use crate::failure::{Failure, Outcome};
use std::{
    fs,
    io::{ErrorKind, Write},
    path::Path,
};

/// Writes a file and creates its directory. Without `force`, an existing file is a usage error.
pub fn write(path: &Path, force: bool, text: &str) -> Outcome {
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::AlreadyExists => Failure::usage(format!(
            "{} already exists; use another path with -o, or overwrite it with --force",
            path.display()
        )),
        _ => Failure::system(format!("{} cannot be written: {error}", path.display())),
    };
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(failed)?;
    }
    let mut options = fs::OpenOptions::new();
    options.write(true);
    let options = if force { options.create(true).truncate(true) } else { options.create_new(true) };
    let mut file = options.open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
}
