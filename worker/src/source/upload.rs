//! What workers cannot fetch by themselves of a snapshot: the difference to what its `origin` has, or all of it.
//!
//! An upload is a header of text lines, an empty line, and a git pack. The header's first line names the format, each
//! other line a commit whose parents are left out.

use super::{
    git::{self, HISTORY_DEPTH, SourceError},
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
const SHALLOW_PREFIX: &str = "shallow ";
/// Where the names of packs are remembered, in the directory of a snapshot's objects.
const PACK_NAMES_DIR: &str = "uploads";
/// The longest header: more commits at the same depth than any history has.
const MAX_HEADER: usize = 1 << 20;

/// How many names of packs are remembered.
const MAX_PACK_NAMES: usize = 50;

/// Gives the bytes of an upload by its name.
pub type Download<'a> = &'a dyn Fn(&str) -> Result<File, SourceError>;

/// How workers elsewhere get a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadPlan {
    /// They fetch all from its `origin`.
    Nothing(Source),
    /// The server must have this first.
    Pack(SourcePack),
}

/// A pack that can be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourcePack {
    /// The repository that it is for.
    repo: String,
    /// What workers are told, once the pack has a name.
    source: Source,
    objects: PathBuf,
    base: Option<String>,
    commit: String,
    tree: String,
}

/// A pack that was written.
#[derive(Debug)]
pub struct WrittenPack {
    /// Its name ([`UploadId`]).
    pub name: String,
    /// Its bytes, in a file without a name.
    pub file: File,
}

/// How workers elsewhere get `snapshot`. They fetch what its `origin` has, unless `all` is to be uploaded, or there is
/// no `origin` on a network.
pub fn upload(snapshot: &Snapshot, all: bool) -> Result<UploadPlan, SourceError> {
    let url = snapshot.origin.clone().filter(|_| !all);
    let base = if url.is_some() { base(snapshot)? } else { None };
    let url = url.filter(|_| base.is_some());
    if let Some(url) = url.clone()
        && base.as_ref() == Some(&snapshot.commit)
        && !snapshot.dirty
    {
        let (branch, commit) = (snapshot.branch.clone(), snapshot.commit.clone());
        return Ok(UploadPlan::Nothing(Source::Git { url, branch, commit, private_host: false }));
    }
    let source = Source::Uploaded {
        upload: String::new(),
        url,
        private_host: false,
        base: base.clone(),
        branch: snapshot.branch.clone(),
        commit: snapshot.commit.clone(),
        tree: snapshot.dirty.then(|| snapshot.tree.clone()),
    };
    Ok(UploadPlan::Pack(SourcePack {
        repo: snapshot.repo.clone(),
        source,
        objects: snapshot.objects.clone(),
        base,
        commit: snapshot.commit.clone(),
        tree: snapshot.tree.clone(),
    }))
}

/// The newest commit of HEAD's history that a remote-tracking branch of `origin` has.
fn base(snapshot: &Snapshot) -> Result<Option<String>, SourceError> {
    let list = |words: &[&str]| local::git(&snapshot.top, &[&["rev-list"], words].concat());
    let ours = list(&["--boundary", &snapshot.commit, "--not", "--remotes=origin"])?;
    if ours.is_empty() {
        return Ok(Some(snapshot.commit.clone()));
    }
    let known: Vec<&str> = ours.lines().filter_map(|line| line.strip_prefix('-')).collect();
    if known.is_empty() {
        return Ok(None);
    }
    // Sorted by their time, newest first.
    let newest = list(&[&["--no-walk=sorted"], &known[..]].concat())?;
    Ok(newest.lines().next().map(str::to_owned))
}

impl SourcePack {
    /// What workers are told when the pack has this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Source {
        let mut source = self.source.clone();
        if let Source::Uploaded { upload, .. } = &mut source {
            name.clone_into(upload);
        }
        source
    }

    /// The name that a pack of the same had which was written here before, so that a server can be asked for it before another one is
    /// made: git does not make the same bytes each time.
    #[must_use]
    pub fn name_before(&self) -> Option<String> {
        fs::read_to_string(self.remembered()).ok().filter(|name| name.parse::<UploadId>().is_ok())
    }

    /// Where the name is remembered.
    fn remembered(&self) -> PathBuf {
        let parts = [HEADER_LINE, &self.repo, self.base.as_deref().unwrap_or("-"), &self.commit, &self.tree];
        self.objects.join(PACK_NAMES_DIR).join(short_hash(&parts))
    }

    /// Remembers the name of a pack. One that is not remembered is only made and sent again.
    fn remember(&self, name: &str) -> io::Result<()> {
        let path = self.remembered();
        let directory = self.objects.join(PACK_NAMES_DIR);
        fs::create_dir_all(&directory)?;
        fs::write(&path, name)?;
        let mut all = Vec::new();
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            all.push((entry.metadata()?.modified()?, entry.path()));
        }
        all.sort();
        for (_, path) in all.iter().take(all.len().saturating_sub(MAX_PACK_NAMES)) {
            fs::remove_file(path)?;
        }
        Ok(())
    }

    /// Writes the pack, and gives it its name.
    pub fn write(&self) -> Result<WrittenPack, SourceError> {
        let failed = |error: io::Error| SourceError::new(format!("the sources cannot be packed: {error}"));
        let mut file = self.write_bytes()?;
        let content = sha256_of(&mut file).map_err(failed)?;
        let name =
            UploadId::new(&self.repo, &content).map_err(|error| SourceError::new(error.to_string()))?;
        let name = name.to_string();
        // The next one is made and sent again.
        let _ = self.remember(&name);
        Ok(WrittenPack { name, file })
    }

    /// The upload's bytes, in a file without a name.
    fn write_bytes(&self) -> Result<File, SourceError> {
        let failed = |error: io::Error| SourceError::new(format!("the sources cannot be packed: {error}"));
        let mut file = tempfile::tempfile().map_err(failed)?;
        if let Some(base) = &self.base {
            writeln!(file, "{HEADER_LINE}\n").map_err(failed)?;
            let lacking = [format!("^{base}"), format!("^{base}^{{tree}}")];
            let wanted = [&self.commit, &self.tree, &lacking[0], &lacking[1]];
            pack(&self.objects, &wanted.map(String::as_str), &["--thin"], &file)?;
        } else {
            // Git itself says where a history of that depth ends.
            let cut = tempfile::tempdir().map_err(failed)?;
            let repo = cut.path().join("cut.git");
            git::run(git::command().args(["init", "--quiet", "--bare"]).arg(&repo))?;
            let from = format!("file://{}", self.objects.display());
            let fetch = |words: &[&str]| {
                git::run(git::from_disk(&repo).args(["fetch", "--quiet", "--no-tags"]).args(words))
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

/// The SHA-256 of all that `file` holds, hex; afterwards it stands at its beginning.
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

/// Appends to `into` a pack of what is `wanted` of `repo`.
fn pack(repo: &Path, wanted: &[&str], how: &[&str], into: &File) -> Result<(), SourceError> {
    let failed = |error: io::Error| SourceError::new(format!("the sources cannot be packed: {error}"));
    let mut list = tempfile::tempfile().map_err(failed)?;
    list.write_all((wanted.join("\n") + "\n").as_bytes()).map_err(failed)?;
    list.rewind().map_err(failed)?;
    let output = into.try_clone().map_err(failed)?;
    let mut command = git::at(repo);
    command.args(["pack-objects", "--quiet", "--revs", "--stdout", "--delta-base-offset"]).args(how);
    git::run(command.stdin(Stdio::from(list)).stdout(Stdio::from(output))).map(drop)
}

/// Puts the objects of an upload into the bare repository `repo`; with `is_whole` its history ends where the upload's
/// does.
pub fn unpack(mut upload: File, repo: &Path, is_whole: bool) -> Result<(), SourceError> {
    let failed =
        |error: io::Error| SourceError::new(format!("the uploaded sources cannot be unpacked: {error}"));
    let shallow = header(&mut upload).map_err(failed)?;
    if is_whole && !shallow.is_empty() {
        fs::write(repo.join("shallow"), shallow).map_err(failed)?;
    }
    let mut command = git::at(repo);
    git::run(command.args(["index-pack", "--fix-thin", "--stdin"]).stdin(Stdio::from(upload))).map(drop)
}

/// Reads the header, so that the pack is next; the commits it names, one a line.
fn header(upload: &mut File) -> io::Result<String> {
    let bad = |words: &str| io::Error::new(io::ErrorKind::InvalidData, words.to_owned());
    upload.rewind()?;
    let mut bytes = Vec::new();
    Read::by_ref(upload).take(MAX_HEADER as u64).read_to_end(&mut bytes)?;
    let end = bytes.windows(2).position(|two| two == b"\n\n").ok_or_else(|| bad("they have no header"))?;
    upload.seek(SeekFrom::Start(end as u64 + 2))?;
    let text = std::str::from_utf8(&bytes[..end]).map_err(|_| bad("their header is not text"))?;
    let mut lines = text.lines();
    match lines.next() {
        Some(HEADER_LINE) => {}
        other => return Err(bad(&format!("their format is `{}`; update this worker", other.unwrap_or("")))),
    }
    let mut shallow = String::new();
    for line in lines {
        let commit = line.strip_prefix(SHALLOW_PREFIX).filter(|commit| git::is_full_hash(commit));
        shallow.push_str(commit.ok_or_else(|| bad("their header is damaged"))?);
        shallow.push('\n');
    }
    Ok(shallow)
}
