//! Writes the files that `--output` names.

use crate::failure::{Failure, Outcome};
use rustix::{fs::OFlags, io::Errno};
use std::{
    fs,
    io::{ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// Writes a file and creates its directory. Without `force`, an existing file is a usage error. A link is never followed: the
/// repository may have come with one to any other file of the user.
pub fn write(path: &Path, force: bool, text: &str) -> Outcome {
    let name = path.display();
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::AlreadyExists => Failure::usage(format!(
            "{name} already exists; use another path with -o, or overwrite it with --force"
        )),
        ErrorKind::IsADirectory => {
            Failure::usage(format!("{name} is a directory; use the path of a file with -o"))
        }
        _ if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
            Failure::usage(format!("{name} is a symbolic link; use the path of the file itself with -o"))
        }
        _ => Failure::system(format!("{name} cannot be written: {error}")),
    };
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists | ErrorKind::NotADirectory => Failure::usage(format!(
                "{name} cannot be created, as {} is not a directory; use another path with -o",
                directory.display()
            )),
            _ => failed(error),
        })?;
    }
    if path.is_dir() {
        return Err(failed(ErrorKind::IsADirectory.into()));
    }
    let mut options = fs::OpenOptions::new();
    options.write(true).custom_flags(OFlags::NOFOLLOW.bits().cast_signed());
    let options = if force { options.create(true).truncate(true) } else { options.create_new(true) };
    let mut file = options.open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::write;
    use std::{fs, os::unix::fs::symlink};

    #[test]
    fn only_a_file_at_the_path_itself_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("kept"), "kept").unwrap();
        symlink(at("kept"), at("link")).unwrap();
        symlink(at("absent"), at("dangling")).unwrap();
        fs::create_dir(at("directory")).unwrap();
        for (name, force, reason) in [
            ("kept", false, "already exists"),
            ("link", true, "is a symbolic link"),
            ("dangling", true, "is a symbolic link"),
            ("directory", true, "is a directory"),
            ("kept/below", true, "is not a directory"),
            ("kept/further/below", true, "is not a directory"),
        ] {
            let message = write(&at(name), force, "new").unwrap_err().message;
            assert!(message.contains(reason), "{name}: {message}");
        }
        assert_eq!(fs::read_to_string(at("kept")).unwrap(), "kept");
        assert!(!at("absent").exists());
        write(&at("new/file"), false, "1").unwrap();
        write(&at("new/file"), true, "2").unwrap();
        assert_eq!(fs::read_to_string(at("new/file")).unwrap(), "2");
    }
}
