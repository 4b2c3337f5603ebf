//! Files of Git LFS in a checkout: pointers are replaced by their content, which comes from this machine or from the server
//! that the repository was fetched from.

use super::super::{
    bounds::OperationBounds,
    error::SourceErrorKind,
    git::{
        self, SourceError,
        lfs_files::lfs_files,
        lfs_pointer::{MAX_POINTER, Pointer},
    },
    network::Remote,
};
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};

/// How much older than the index the files of Git LFS are made.
const INDEX_TIME: Duration = Duration::from_secs(5);
/// A filter with which git recognizes the content of a pointer, without git-lfs on this machine. Git replaces percent signs in
/// it.
const CLEAN_FILTER: &str = "f=$(mktemp) && cat >\"$f\" && h=$(sha256sum <\"$f\" | cut -c1-64) && s=$(wc -c <\"$f\") && \
     rm -f \"$f\" && echo 'version https://git-lfs.github.com/spec/v1' && echo \"oid sha256:$h\" && echo \"size $((s))\"";

/// Downloads contents of Git LFS into a directory of LFS objects. Returns an error if one cannot be had.
pub type LfsDownload<'a> = &'a dyn Fn(&Remote, &[Pointer], &Path) -> Result<(), SourceError>;

/// Where the contents of a repository's pointers are.
#[derive(Clone, Copy)]
pub struct LfsSource<'a> {
    /// Directories of LFS objects on this machine.
    pub directories: &'a [PathBuf],
    /// The directory of LFS objects into which others are downloaded.
    pub downloads: &'a Path,
    /// The repository to download from.
    pub remote: Option<&'a Remote>,
    /// Downloads from it.
    pub download: LfsDownload<'a>,
}

/// Replaces the pointers in `work_tree`, the working tree of `git_dir`, and returns the size of their content.
pub fn replace_pointers(git_dir: &Path, work_tree: &Path, source: LfsSource<'_>) -> Result<u64, SourceError> {
    let pointers = pointers(git_dir, work_tree)?;
    let bytes = pointers.iter().fold(0_u64, |sum, (_, pointer)| sum.saturating_add(pointer.size));
    let limit = OperationBounds::current().limits.checkout_bytes;
    if bytes > limit {
        let message = format!(
            "the files of Git LFS have {bytes} bytes, more than {limit}, the limit of this worker; raise \
             TIDEMILL_CHECKOUT_MAX_SIZE on the worker, or write `checkout: {{ lfs: false }}`"
        );
        return Err(SourceError::of(SourceErrorKind::TooLarge, message));
    }
    let find = |pointer: &Pointer| {
        let directories = source.directories.iter().map(PathBuf::as_path).chain([source.downloads]);
        directories
            .map(|directory| directory.join(pointer.object_path()))
            .find(|path| path.metadata().is_ok_and(|meta| meta.is_file() && meta.len() == pointer.size))
    };
    // The content of an empty file is known.
    let mut missing: Vec<&(String, Pointer)> =
        pointers.iter().filter(|(_, pointer)| pointer.size > 0 && find(pointer).is_none()).collect();
    if let Some((path, _)) = missing.first() {
        let named = match missing.len() {
            1 => format!("`{path}` is a pointer of Git LFS"),
            count => format!("`{path}` and {} other files are pointers of Git LFS", count - 1),
        };
        let help = "fetch it with `git lfs pull`, or write `checkout: { lfs: false }` to get pointers";
        let Some(remote) = source.remote else {
            return Err(SourceError::new(format!("{named}, and the content is not on this machine; {help}")));
        };
        let mut contents: Vec<Pointer> = missing.drain(..).map(|(_, pointer)| pointer.clone()).collect();
        contents.sort_unstable();
        contents.dedup();
        (source.download)(remote, &contents, source.downloads).map_err(|error| {
            let message =
                format!("{named}, and the content cannot be had from {}: {error}; {help}", remote.url());
            error.with_message(message)
        })?;
    }
    for (path, pointer) in &pointers {
        let content = find(pointer);
        place(&work_tree.join(path), pointer, content.as_deref()).map_err(|error| {
            SourceError::io(&format!("the content of `{path}` (Git LFS) cannot be written"), &error)
        })?;
    }
    Ok(bytes)
}

/// Adds settings to `command` with which git takes content for what its pointer stands for.
pub fn recognize_content(command: &mut Command) {
    command.args(["-c", &format!("filter.lfs.clean={CLEAN_FILTER}")]);
    // An empty `filter.lfs.process` would disable the filter.
    command.args(["-c", "filter.lfs.required=false"]);
}

/// Returns the files of the working tree that are pointers, and that the attributes assign to Git LFS.
fn pointers(git_dir: &Path, work_tree: &Path) -> Result<Vec<(String, Pointer)>, SourceError> {
    let paths = git::run(in_tree(git_dir, work_tree).args(["ls-files", "-z"]))?;
    let mut found = Vec::new();
    for path in lfs_files(in_tree(git_dir, work_tree), paths.as_bytes())? {
        if let Some(pointer) = read_pointer(&work_tree.join(&path)) {
            found.push((path, pointer));
        } else {
            set_time(&work_tree.join(&path));
        }
    }
    Ok(found)
}

fn in_tree(git_dir: &Path, work_tree: &Path) -> Command {
    let mut command = git::at(git_dir);
    command.arg("--work-tree").arg(work_tree).current_dir(work_tree);
    command
}

/// Gives a file an earlier time, so that git takes the state that it records for certain: it does not for files that are as new as
/// the index.
fn set_time(path: &Path) {
    if path.symlink_metadata().is_ok_and(|meta| meta.is_file())
        && let Ok(file) = File::options().append(true).open(path)
    {
        // Otherwise git only compares the content once more.
        let _ = file.set_modified(SystemTime::now() - INDEX_TIME);
    }
}

fn read_pointer(path: &Path) -> Option<Pointer> {
    let meta = path.symlink_metadata().ok()?;
    if !meta.is_file() || meta.len() > MAX_POINTER as u64 {
        return None;
    }
    Pointer::parse(&fs::read(path).ok()?)
}

/// Replaces the file at `path` by `content`, which is checked.
fn place(path: &Path, pointer: &Pointer, content: Option<&Path>) -> io::Result<()> {
    let mode = path.symlink_metadata()?.permissions().mode();
    let new = path.with_extension("tidemill-lfs");
    let written = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
        let (mut digest, mut size) = (Sha256::new(), 0);
        if let Some(content) = content {
            let mut from = File::open(content)?;
            let mut buffer = vec![0; 256 << 10];
            loop {
                match from.read(&mut buffer)? {
                    0 => break,
                    read => {
                        digest.update(&buffer[..read]);
                        file.write_all(&buffer[..read])?;
                        size += read as u64;
                    }
                }
            }
        }
        if size != pointer.size || HEXLOWER.encode(&digest.finalize()) != pointer.hash {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("it is corrupt: the bytes do not have the hash {}", pointer.hash),
            ));
        }
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        fs::rename(&new, path)?;
        set_time(path);
        Ok(())
    })();
    if written.is_err() {
        drop(fs::remove_file(&new));
    }
    written
}
