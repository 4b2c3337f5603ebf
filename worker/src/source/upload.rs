//! Uploads of snapshots: the objects that workers cannot fetch from `origin`, or all objects.
//!
//! An upload consists of a text header, an empty line, and a git pack. The header's first line names the format; each
//! other line names a commit whose parents are omitted (a shallow boundary).

use super::{
    git::{self, SourceError},
    local,
    snapshot::Snapshot,
};
use crate::store::short_hash;
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    process::Stdio,
};
use tidemill_core::execution::{assignment::Source, upload::UploadId};

const HEADER_LINE: &str = "tidemill source 1";
/// How many commits of history a complete upload has.
const HISTORY_DEPTH: &str = "--depth=50";
const SHALLOW_PREFIX: &str = "shallow ";
/// The directory of recorded pack names, below the snapshot's git directory.
const PACK_NAMES_DIR: &str = "uploads";
/// Maximum header size in bytes: more shallow commits than any history has.
const MAX_HEADER: usize = 1 << 20;

/// Maximum number of recorded pack names.
const MAX_PACK_NAMES: usize = 50;

/// Downloads an upload by its name.
pub type Download<'a> = &'a dyn Fn(&str) -> Result<File, SourceError>;

/// How remote workers get a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadPlan {
    /// They fetch everything from its `origin`.
    Fetch(Source),
    /// The client must upload this pack first.
    Upload(SourcePack),
}

/// A pack to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourcePack {
    /// The repository of the snapshot.
    repo: String,
    /// The source for workers, without the pack's name.
    source: Source,
    objects: PathBuf,
    base: Option<String>,
    commit: String,
    tree: String,
}

/// A written pack.
#[derive(Debug)]
pub struct WrittenPack {
    /// Its name ([`UploadId`]).
    pub name: String,
    /// Its content, in an unnamed file.
    pub file: File,
}

/// Plans how remote workers get `snapshot`. They fetch the objects that its `origin` has, unless `all` objects are to
/// be uploaded or there is no `origin` on a network.
pub fn plan_upload(snapshot: &Snapshot, all: bool) -> Result<UploadPlan, SourceError> {
    let url = snapshot.origin.clone().filter(|_| !all);
    let base = if url.is_some() { base(snapshot)? } else { None };
    let url = url.filter(|_| base.is_some());
    if let Some(url) = url.clone()
        && base.as_ref() == Some(&snapshot.commit)
        && !snapshot.dirty
        && snapshot.has_commit
    {
        let (branch, commit) = (snapshot.branch.clone(), snapshot.commit.clone());
        let (private_host, has_credential) = (false, false);
        return Ok(UploadPlan::Fetch(Source::Git { url, branch, commit, private_host, has_credential }));
    }
    let source = Source::Uploaded {
        upload: String::new(),
        url,
        private_host: false,
        has_credential: false,
        base: base.clone(),
        branch: snapshot.branch.clone(),
        commit: snapshot.commit.clone(),
        tree: snapshot.other_tree.clone(),
    };
    Ok(UploadPlan::Upload(SourcePack {
        repo: snapshot.repo.clone(),
        source,
        objects: snapshot.objects.clone(),
        base,
        commit: snapshot.commit.clone(),
        tree: snapshot.tree.clone(),
    }))
}

/// Returns the newest commit of HEAD's history that is in a remote-tracking branch of `origin`.
fn base(snapshot: &Snapshot) -> Result<Option<String>, SourceError> {
    let rev_list = |args: &[&str]| local::git(&snapshot.top, &[&["rev-list"], args].concat());
    let unpushed = rev_list(&["--boundary", &snapshot.commit, "--not", "--remotes=origin"])?;
    if unpushed.is_empty() {
        return Ok(Some(snapshot.commit.clone()));
    }
    let boundary: Vec<&str> = unpushed.lines().filter_map(|line| line.strip_prefix('-')).collect();
    if boundary.is_empty() {
        return Ok(None);
    }
    // Sorted by commit time, newest first.
    let sorted = rev_list(&[&["--no-walk=sorted"], &boundary[..]].concat())?;
    Ok(sorted.lines().next().map(str::to_owned))
}

impl SourcePack {
    /// Returns the source for workers if the pack has this name.
    #[must_use]
    pub fn source_for(&self, name: &str) -> Source {
        let mut source = self.source.clone();
        if let Source::Uploaded { upload, .. } = &mut source {
            name.clone_into(upload);
        }
        source
    }

    /// Returns the name of an earlier pack of the same objects. If the server still has that pack, no new one is
    /// needed. Git's packs are not reproducible, so that a new pack would have another name.
    #[must_use]
    pub fn previous_name(&self) -> Option<String> {
        fs::read_to_string(self.name_path()).ok().filter(|name| name.parse::<UploadId>().is_ok())
    }

    /// Returns the path of the recorded name.
    fn name_path(&self) -> PathBuf {
        let parts = [HEADER_LINE, &self.repo, self.base.as_deref().unwrap_or("-"), &self.commit, &self.tree];
        self.objects.join(PACK_NAMES_DIR).join(short_hash(&parts))
    }

    /// Records the name of a pack. Without a recorded name, the pack is only created and uploaded again.
    fn record_name(&self, name: &str) -> io::Result<()> {
        let path = self.name_path();
        let directory = self.objects.join(PACK_NAMES_DIR);
        fs::create_dir_all(&directory)?;
        fs::write(&path, name)?;
        let mut names = Vec::new();
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            names.push((entry.metadata()?.modified()?, entry.path()));
        }
        names.sort();
        for (_, path) in names.iter().take(names.len().saturating_sub(MAX_PACK_NAMES)) {
            fs::remove_file(path)?;
        }
        Ok(())
    }

    /// Writes the pack and returns it with its name.
    pub fn write(&self) -> Result<WrittenPack, SourceError> {
        let failed = |error: io::Error| SourceError::new(format!("the sources cannot be packed: {error}"));
        let mut file = self.write_bytes()?;
        let content = sha256_of(&mut file).map_err(failed)?;
        let name =
            UploadId::new(&self.repo, &content).map_err(|error| SourceError::new(error.to_string()))?;
        let name = name.to_string();
        // On failure, the next run creates and uploads the pack again.
        let _ = self.record_name(&name);
        Ok(WrittenPack { name, file })
    }

    /// Writes the upload to an unnamed file.
    fn write_bytes(&self) -> Result<File, SourceError> {
        let failed = |error: io::Error| SourceError::new(format!("the sources cannot be packed: {error}"));
        let mut file = tempfile::tempfile().map_err(failed)?;
        if let Some(base) = &self.base {
            writeln!(file, "{HEADER_LINE}\n").map_err(failed)?;
            let excluded = [format!("^{base}"), format!("^{base}^{{tree}}")];
            let revisions = [&self.commit, &self.tree, &excluded[0], &excluded[1]];
            pack(&self.objects, &revisions.map(String::as_str), &["--thin"], &file)?;
        } else {
            // A shallow fetch lets git compute the boundary of the history.
            let directory = tempfile::tempdir().map_err(failed)?;
            let repo = directory.path().join("shallow.git");
            git::run(git::command().args(["init", "--quiet", "--bare"]).arg(&repo))?;
            let from = format!("file://{}", self.objects.display());
            let fetch = |args: &[&str]| {
                git::run(git::local_fetch_command(&repo).args(["fetch", "--quiet", "--no-tags"]).args(args))
            };
            fetch(&[HISTORY_DEPTH, &from, &self.commit])?;
            fetch(&[&from, &self.tree])?;
            let shallow = fs::read_to_string(repo.join("shallow")).unwrap_or_default();
            writeln!(file, "{HEADER_LINE}").map_err(failed)?;
            for commit in shallow.lines() {
                writeln!(file, "{SHALLOW_PREFIX}{commit}").map_err(failed)?;
            }
            writeln!(file).map_err(failed)?;
            pack(&repo, &[&self.commit, &self.tree], &[], &file)?;
        }
        file.rewind().map_err(failed)?;
        Ok(file)
    }
}

/// Returns the SHA-256 of `file` in hex, and rewinds it.
fn sha256_of(file: &mut File) -> io::Result<String> {
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 256 << 10]);
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => hash.update(&buffer[..read]),
        }
    }
    file.rewind()?;
    Ok(HEXLOWER.encode(&hash.finalize()))
}

/// Appends a pack of the objects of `revisions` in `repo` to `output`.
fn pack(repo: &Path, revisions: &[&str], options: &[&str], output: &File) -> Result<(), SourceError> {
    let failed = |error: io::Error| SourceError::new(format!("the sources cannot be packed: {error}"));
    let mut list = tempfile::tempfile().map_err(failed)?;
    list.write_all((revisions.join("\n") + "\n").as_bytes()).map_err(failed)?;
    list.rewind().map_err(failed)?;
    let output = output.try_clone().map_err(failed)?;
    let mut command = git::at(repo);
    command.args(["pack-objects", "--quiet", "--revs", "--stdout", "--delta-base-offset"]).args(options);
    git::run(command.stdin(Stdio::from(list)).stdout(Stdio::from(output))).map(drop)
}

/// Adds the objects of an upload to the bare repository `repo`. With `is_complete`, the repository gets the upload's shallow
/// boundary.
pub fn unpack(mut upload: File, repo: &Path, is_complete: bool) -> Result<(), SourceError> {
    let failed =
        |error: io::Error| SourceError::new(format!("the uploaded sources cannot be unpacked: {error}"));
    let shallow = header(&mut upload).map_err(failed)?;
    if is_complete && !shallow.is_empty() {
        fs::write(repo.join("shallow"), shallow).map_err(failed)?;
    }
    let mut command = git::at(repo);
    git::run(command.args(["index-pack", "--fix-thin", "--stdin"]).stdin(Stdio::from(upload))).map(drop)
}

/// Reads the header, seeks to the pack, and returns the commits of the header, one per line.
fn header(upload: &mut File) -> io::Result<String> {
    let invalid = |message: &str| io::Error::new(io::ErrorKind::InvalidData, message.to_owned());
    upload.rewind()?;
    let mut bytes = Vec::new();
    Read::by_ref(upload).take(MAX_HEADER as u64).read_to_end(&mut bytes)?;
    let end =
        bytes.windows(2).position(|two| two == b"\n\n").ok_or_else(|| invalid("the header is missing"))?;
    upload.seek(SeekFrom::Start(end as u64 + 2))?;
    let text = std::str::from_utf8(&bytes[..end]).map_err(|_| invalid("the header is not text"))?;
    let mut lines = text.lines();
    match lines.next() {
        Some(HEADER_LINE) => {}
        other => {
            return Err(invalid(&format!("the format is `{}`; update this worker", other.unwrap_or(""))));
        }
    }
    let mut shallow = String::new();
    for line in lines {
        let commit = line.strip_prefix(SHALLOW_PREFIX).filter(|commit| git::is_full_hash(commit));
        shallow.push_str(commit.ok_or_else(|| invalid("the header is damaged"))?);
        shallow.push('\n');
    }
    Ok(shallow)
}
