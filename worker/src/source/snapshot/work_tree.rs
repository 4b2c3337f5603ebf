//! The files of a working tree as they are on disk, as a git tree in Tidemill's own repository: the tracked files, whether
//! ignored or not, and the untracked ones that are not ignored. No attribute or filter changes a byte.

use super::super::{
    git::{self, SourceError, listing::Records, process::ProcessLimits},
    local,
    registry::HiddenFiles,
};
use std::{
    collections::HashSet,
    fs,
    io::{self, Seek, SeekFrom, Write},
    ops::ControlFlow,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process::Stdio,
};

/// Attributes with which git stores and writes files unchanged. They override those of the repository.
const RAW_ATTRIBUTES: &str = "* -text !eol !filter !ident !working-tree-encoding\n";
/// The list of the paths in the index, as of the last snapshot.
const PATHS_FILE: &str = "tidemill-paths";
/// Maximum length of all paths of hidden files.
const MAX_HIDDEN_BYTES: usize = 256 << 10;
/// Maximum depth of repositories in repositories.
const MAX_NESTING: usize = 20;

/// The files of a working tree.
#[derive(Debug, Default)]
pub struct WorkTreeFiles {
    /// Paths relative to the top, each followed by a NUL byte.
    paths: Vec<u8>,
    /// Repositories in it: submodules, and others that are not ignored.
    pub nested: Vec<NestedRepository>,
    /// Submodules that are not checked out, with the commit that the index records.
    missing: Vec<(Vec<u8>, String)>,
    /// Files of the repository itself in which git does not look for changes.
    pub hidden: HiddenFiles,
}

/// A repository inside of the working tree of another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NestedRepository {
    /// Its path, relative to the top.
    pub path: PathBuf,
    /// The commit that the index of its parent records; `None`: it is untracked.
    pub recorded: Option<String>,
}

/// Lists the files below `top`, the top directory of a repository.
pub fn list(top: &Path) -> Result<WorkTreeFiles, SourceError> {
    let mut files = WorkTreeFiles::default();
    list_repository(top, Path::new(""), 0, &mut files)?;
    Ok(files)
}

fn list_repository(
    top: &Path,
    prefix: &Path,
    depth: usize,
    files: &mut WorkTreeFiles,
) -> Result<(), SourceError> {
    let directory = top.join(prefix);
    let mut command = local::command(&directory);
    command.args(["ls-files", "-z", "-v", "--stage", "--cached", "--others", "--exclude-standard"]);
    let mut start = prefix.as_os_str().as_bytes().to_vec();
    if !start.is_empty() {
        start.push(b'/');
    }
    let mut nested = Vec::new();
    let mut hidden_bytes = 0;
    let mut last = Vec::new();
    let mut records = Records::default();
    let complete = git::stream(&mut command, ProcessLimits::default(), &mut |bytes| {
        records.push(bytes, &mut |record| {
            let (tag, rest) = record.split_at(record.len().min(2));
            let (recorded, path) = if tag == b"? " {
                (None, rest)
            } else {
                let Some(tab) = memchr::memchr(b'\t', rest) else { return ControlFlow::Break(()) };
                let head = String::from_utf8_lossy(&rest[..tab]);
                let mut fields = head.split(' ');
                let is_link = fields.next() == Some("160000");
                (fields.next().filter(|_| is_link).map(str::to_owned), &rest[tab + 1..])
            };
            // A path with conflicts has several entries.
            if path == last {
                return ControlFlow::Continue(());
            }
            last.clear();
            last.extend_from_slice(path);
            if recorded.is_some() || path.ends_with(b"/") {
                nested.push((path.strip_suffix(b"/").unwrap_or(path).to_vec(), recorded));
            } else {
                files.paths.extend_from_slice(&start);
                files.paths.extend_from_slice(path);
                files.paths.push(0);
                if depth == 0
                    && let Ok(path) = std::str::from_utf8(path)
                {
                    hide(&mut files.hidden, tag, path, &mut hidden_bytes);
                }
            }
            ControlFlow::Continue(())
        })
    })?;
    if hidden_bytes > MAX_HIDDEN_BYTES {
        files.hidden = HiddenFiles::default();
    }
    if !complete {
        return Err(SourceError::new(format!("git listed an unreadable path in {}", directory.display())));
    }
    for (path, recorded) in nested {
        let path = prefix.join(std::ffi::OsStr::from_bytes(&path));
        if top.join(&path).join(".git").symlink_metadata().is_err() {
            files.missing.extend(recorded.map(|commit| (path.as_os_str().as_bytes().to_vec(), commit)));
            continue;
        }
        if depth >= MAX_NESTING {
            return Err(SourceError::new(format!(
                "{} is a repository in more than {MAX_NESTING} others",
                path.display()
            )));
        }
        files.nested.push(NestedRepository { path: path.clone(), recorded });
        list_repository(top, &path, depth + 1, files)?;
    }
    Ok(())
}

/// Records a file that git lists with `tag` if git does not look for changes in it. Too many are not recorded; they then show as
/// changed in a job.
fn hide(hidden: &mut HiddenFiles, tag: &[u8], path: &str, bytes: &mut usize) {
    let all = match tag.first() {
        Some(b'S') => &mut hidden.skipped,
        Some(b'a'..=b'z') => &mut hidden.assumed,
        _ => return,
    };
    *bytes += path.len() + 1;
    if *bytes <= MAX_HIDDEN_BYTES {
        all.push(path.to_owned());
    }
}

/// Lists the files below `top`, which is not in a repository, with the help of Tidemill's own one.
pub fn list_directory(repository: &Path, top: &Path) -> Result<WorkTreeFiles, SourceError> {
    let mut files = WorkTreeFiles::default();
    let mut command = in_work_tree(repository, top);
    // Without an index, all files are listed as untracked.
    command.env("GIT_INDEX_FILE", repository.join("no-index"));
    command.args(["ls-files", "-z", "--others", "--exclude-standard"]);
    git::stream(&mut command, ProcessLimits::default(), &mut |bytes| {
        files.paths.extend_from_slice(bytes);
        ControlFlow::Continue(())
    })?;
    let nested: Vec<Vec<u8>> = files
        .paths
        .split(|byte| *byte == 0)
        .filter_map(|path| path.strip_suffix(b"/").map(<[u8]>::to_vec))
        .collect();
    if !nested.is_empty() {
        let kept =
            files.paths.split(|byte| *byte == 0).filter(|path| !path.is_empty() && !path.ends_with(b"/"));
        files.paths = kept.flat_map(|path| path.iter().copied().chain([0])).collect();
        for path in nested {
            let path = PathBuf::from(std::ffi::OsStr::from_bytes(&path));
            files.nested.push(NestedRepository { path: path.clone(), recorded: None });
            list_repository(top, &path, 1, &mut files)?;
        }
    }
    Ok(files)
}

/// Writes `files` of `top` as a tree into the repository and returns its hash. Only files that changed since the last call
/// are read.
pub fn write_tree(repository: &Path, top: &Path, files: &WorkTreeFiles) -> Result<String, SourceError> {
    let failed = |error: io::Error| SourceError::io("the snapshot cache cannot be written", &error);
    fs::create_dir_all(repository.join("info")).map_err(failed)?;
    if !is_raw(repository) {
        // An index of other attributes would count unconverted files as unchanged.
        drop(fs::remove_file(repository.join("index")));
        drop(fs::remove_file(repository.join(PATHS_FILE)));
        fs::write(repository.join("info/attributes"), RAW_ATTRIBUTES).map_err(failed)?;
    }
    let listed = repository.join(PATHS_FILE);
    let previous = fs::read(&listed).unwrap_or_default();
    let update = |options: &[&str], input: &[u8]| {
        let mut file = tempfile::tempfile().map_err(failed)?;
        file.write_all(input).and_then(|()| file.seek(SeekFrom::Start(0))).map_err(failed)?;
        let mut command = in_work_tree(repository, top);
        command.arg("update-index").args(options).stdin(Stdio::from(file));
        git::run(&mut command).map(drop)
    };
    if previous != files.paths {
        let current: HashSet<&[u8]> = files.paths.split(|byte| *byte == 0).collect();
        let stale = previous.split(|byte| *byte == 0).filter(|path| !current.contains(path));
        let stale: Vec<u8> = stale.flat_map(|path| path.iter().copied().chain([0])).collect();
        if !stale.is_empty() {
            update(&["-z", "--force-remove", "--stdin"], &stale)?;
        }
    }
    update(&["-z", "--add", "--remove", "--replace", "--stdin"], &files.paths)?;
    if previous != files.paths {
        fs::write(&listed, &files.paths).map_err(failed)?;
    }
    if !files.missing.is_empty() {
        let mut lines = Vec::new();
        for (path, commit) in &files.missing {
            lines.extend_from_slice(format!("160000 {commit} 0\t").as_bytes());
            lines.extend_from_slice(path);
            lines.push(0);
        }
        update(&["-z", "--add", "--replace", "--index-info"], &lines)?;
    }
    Ok(git::run(in_work_tree(repository, top).arg("write-tree"))?.trim_end().to_owned())
}

/// Whether git stores files in this repository without any conversion.
fn is_raw(repository: &Path) -> bool {
    fs::read(repository.join("info/attributes")).is_ok_and(|text| text == RAW_ATTRIBUTES.as_bytes())
}

/// Makes git write files from this repository without any conversion.
pub fn make_raw(repository: &Path) -> io::Result<()> {
    fs::create_dir_all(repository.join("info"))?;
    fs::write(repository.join("info/attributes"), RAW_ATTRIBUTES)
}

fn in_work_tree(repository: &Path, top: &Path) -> std::process::Command {
    let mut command = git::at(repository);
    command.arg("--work-tree").arg(top).current_dir(top);
    command.args(["-c", "core.bare=false", "-c", "core.untrackedCache=false"]);
    command
}
