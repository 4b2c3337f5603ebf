//! Packs a job's declared files into a tar.

use super::{
    selection::{Matcher, compile_globs},
    tar_writer::{BUFFER_SIZE, SentTar, TarWriter},
};
use crate::workspace::{HostWorkspace, MODE_MASK};
use bytes::Bytes;
use rustix::fs::{FileType, Stat};
use std::{
    collections::BTreeSet,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
};
use tempfile::NamedTempFile;
use tidemill_core::api::ArtifactFile;
use tokio::sync::mpsc;

/// Packs files into a tar, each once even if it matches several patterns.
pub struct Packer {
    builder: tar::Builder<TarWriter>,
    /// The packed files and links.
    pub files: Vec<ArtifactFile>,
    packed_paths: BTreeSet<PathBuf>,
}

/// A finished tar.
pub struct Packed {
    /// The files and links in the tar.
    pub files: Vec<ArtifactFile>,
    /// What was sent.
    pub sent: SentTar,
}

impl Packer {
    /// Creates a packer that sends the tar to `sender` and copies it to `spool`. It blocks.
    pub fn new(sender: mpsc::Sender<io::Result<Bytes>>, spool: Option<NamedTempFile>) -> Self {
        let builder = tar::Builder::new(TarWriter::new(sender, spool));
        Self { builder, files: Vec::new(), packed_paths: BTreeSet::new() }
    }

    /// Limits the size of the tar to `max` bytes.
    #[must_use]
    pub fn with_max_size(mut self, max: u64) -> Self {
        self.builder.get_mut().set_max_size(max);
        self
    }

    /// Compresses the tar where that helps. To be called before anything is added.
    #[must_use]
    pub fn with_compression(mut self, compress: bool) -> Self {
        if compress {
            self.builder.get_mut().enable_compression();
        }
        self
    }

    /// Adds the matching files of the engine's tar of `prefix`.
    pub fn add_tar(&mut self, reader: impl Read, prefix: &str, matcher: &Matcher) -> io::Result<()> {
        let parent = Path::new(prefix).parent().unwrap_or(Path::new("")).to_owned();
        let mut archive = tar::Archive::new(reader);
        for entry in archive.entries()? {
            let mut entry = entry?;
            let inside = entry.path()?.into_owned();
            // The workspace itself has its directory name as first component.
            let path: PathBuf =
                if prefix.is_empty() { inside.components().skip(1).collect() } else { parent.join(&inside) };
            let kind = entry.header().entry_type();
            let Some(name) = self.matching_name(&path, matcher, kind.is_dir()) else { continue };
            let mut header = entry.header().clone();
            header.set_mode(header.mode()? & MODE_MASK);
            header.set_uid(0);
            header.set_gid(0);
            if kind.is_symlink() || kind.is_hard_link() {
                let target = entry.link_name()?.unwrap_or_default().into_owned();
                let target = if kind.is_hard_link() { parent.join(target) } else { target };
                self.builder.append_link(&mut header, &path, target)?;
            } else if kind.is_file() || kind.is_dir() {
                // A large file's size is in an extended header, which the entry takes into account.
                header.set_size(entry.size());
                self.builder.append_data(&mut header, &path, &mut entry)?;
            } else {
                continue;
            }
            let size = if kind.is_file() { entry.size() } else { 0 };
            self.record(&path, name, kind.is_dir(), size);
        }
        Ok(())
    }

    /// Adds the matching files below `prefix` of `workspace`. Returns false if only the engine can follow a link in `prefix`.
    pub fn add_directory(
        &mut self,
        workspace: &HostWorkspace,
        prefix: &str,
        matcher: &Matcher,
    ) -> io::Result<bool> {
        match workspace.stat(Path::new(prefix)) {
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
                return Ok(false);
            }
            Err(error) if is_absent(&error) => return Ok(true),
            other => other.map(drop)?,
        }
        let mut pending = vec![PathBuf::from(prefix)];
        while let Some(path) = pending.pop() {
            let stat = match workspace.stat(&path) {
                // The file was removed meanwhile.
                Err(error) if is_absent(&error) => continue,
                other => other?,
            };
            let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
            if is_directory && matcher.skips(&path) {
                continue;
            }
            if is_directory {
                let mut names = workspace.list(&path)?;
                names.sort_unstable_by(|a, b| b.cmp(a));
                pending.extend(names.into_iter().map(|name| path.join(name)));
            }
            if let Some(name) = self.matching_name(&path, matcher, is_directory) {
                self.add_one(workspace, &path, name, &stat)?;
            }
        }
        Ok(true)
    }

    fn add_one(
        &mut self,
        workspace: &HostWorkspace,
        path: &Path,
        name: String,
        stat: &Stat,
    ) -> io::Result<()> {
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let mut header = header(stat, tar::EntryType::Directory);
                self.builder.append_data(&mut header, path, io::empty())?;
                self.record(path, name, true, 0);
            }
            FileType::Symlink => {
                let mut header = header(stat, tar::EntryType::Symlink);
                self.builder.append_link(&mut header, path, workspace.read_link(path)?)?;
                self.record(path, name, false, 0);
            }
            FileType::RegularFile => {
                let (file, stat) = workspace.read(path)?;
                let mut header = header(&stat, tar::EntryType::Regular);
                let size = u64::try_from(stat.st_size).unwrap_or(0);
                header.set_size(size);
                // Pads with zeros if the file is truncated meanwhile, so that the tar stays valid.
                let bytes = BufReader::with_capacity(BUFFER_SIZE, file).chain(io::repeat(0)).take(size);
                self.builder.append_data(&mut header, path, bytes)?;
                self.record(path, name, false, size);
            }
            _ => {}
        }
        Ok(())
    }

    /// Returns the name of `path` if it matches and is not packed yet.
    fn matching_name(&self, path: &Path, matcher: &Matcher, is_directory: bool) -> Option<String> {
        let is_match = !self.packed_paths.contains(path) && matcher.matches(path, is_directory);
        is_match.then(|| path.to_string_lossy().into_owned())
    }

    fn record(&mut self, path: &Path, name: String, is_directory: bool, size: u64) {
        if !is_directory {
            self.files.push(ArtifactFile { path: name, size });
        }
        // Compares raw bytes: different names that are not UTF-8 may have the same listed name.
        self.packed_paths.insert(path.to_owned());
    }

    /// Returns whether nothing is packed.
    pub fn is_empty(&self) -> bool {
        self.packed_paths.is_empty()
    }

    /// Returns whether a packed file matches `pattern`.
    pub fn has_match(&self, pattern: &str) -> bool {
        compile_globs(std::slice::from_ref(&pattern.to_owned())).is_ok_and(|set| {
            self.packed_paths.iter().any(|path| path.ancestors().any(|part| set.is_match(part)))
        })
    }

    /// Ends the tar and sends the rest of it.
    pub fn finish(self) -> io::Result<Packed> {
        Ok(Packed { files: self.files, sent: self.builder.into_inner()?.finish()? })
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Returns the header of an entry, without a size.
pub(crate) fn header(stat: &Stat, kind: tar::EntryType) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(stat.st_mode & MODE_MASK);
    // The owner is that of the job that gets the files: without it, equal files have equal hashes.
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or(0));
    header.set_size(0);
    header
}

/// Returns the components of `pattern` before the first wildcard: only this directory is searched.
pub fn literal_prefix(pattern: &str) -> String {
    let is_literal = |part: &&str| !part.contains(['*', '?', '[', '{', '\\']);
    let parts: Vec<&str> =
        pattern.trim_start_matches("./").trim_end_matches('/').split('/').take_while(is_literal).collect();
    parts.join("/")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::{BUFFER_SIZE, Matcher, Packer, literal_prefix};
    use crate::artifact::Selection;
    use crate::workspace::HostWorkspace;
    use sha2::{Digest, Sha256};
    use std::{
        ffi::OsStr,
        fs,
        io::Read,
        os::unix::{ffi::OsStrExt, fs::symlink},
    };
    use tidemill_core::api::ArtifactEncoding;
    use tokio::sync::mpsc;

    #[test]
    fn search_starts_below_the_literal_parts_of_a_pattern() {
        assert_eq!(literal_prefix("out/mill.txt"), "out/mill.txt");
        assert_eq!(literal_prefix("./target/*/app"), "target");
        assert_eq!(literal_prefix("**/*.xml"), "");
    }

    fn matcher(paths: &[String]) -> Matcher {
        Matcher::of_paths(&Selection::from(paths)).unwrap()
    }

    fn names(packer: &Packer) -> Vec<String> {
        packer.files.iter().map(|file| file.path.clone()).collect()
    }

    #[test]
    fn directory_pattern_packs_all_below_it_and_nothing_else() {
        let mut builder = tar::Builder::new(Vec::new());
        let workspace = tempfile::tempdir().unwrap();
        fs::create_dir_all(workspace.path().join("out/deep")).unwrap();
        for name in ["out/a.txt", "out/deep/b.txt"] {
            let mut header = tar::Header::new_gnu();
            header.set_size(1);
            header.set_mode(0o644);
            header.set_cksum();
            builder.append_data(&mut header, name, &b"x"[..]).unwrap();
            fs::write(workspace.path().join(name), "x").unwrap();
        }
        let bytes = builder.into_inner().unwrap();
        let host = HostWorkspace::open(workspace.path(), false).unwrap();
        let pack = |pattern: &str| {
            let set = matcher(&[pattern.to_owned()]);
            let mut through_engine = Packer::new(mpsc::channel(100).0, None);
            through_engine.add_tar(&bytes[..], "out", &set).unwrap();
            let mut direct = Packer::new(mpsc::channel(100).0, None);
            assert!(direct.add_directory(&host, &literal_prefix(pattern), &set).unwrap());
            assert_eq!(names(&direct), names(&through_engine));
            names(&direct)
        };
        assert_eq!(pack("out/"), ["out/a.txt", "out/deep/b.txt"]);
        assert_eq!(pack("out/*.txt"), ["out/a.txt"]);
        assert_eq!(pack("**/b.txt"), ["out/deep/b.txt"]);
    }

    #[test]
    fn files_whose_lossy_names_are_equal_are_all_packed() {
        let workspace = tempfile::tempdir().unwrap();
        for name in [b"out\xfe", b"out\xff"] {
            fs::write(workspace.path().join(OsStr::from_bytes(name)), "x").unwrap();
        }
        let host = HostWorkspace::open(workspace.path(), false).unwrap();
        let mut packer = Packer::new(mpsc::channel(100).0, None);
        assert!(packer.add_directory(&host, "", &matcher(&["out*".to_owned()])).unwrap());
        assert_eq!(names(&packer), ["out\u{fffd}", "out\u{fffd}"]);
    }

    #[test]
    fn size_in_a_pax_header_takes_precedence() {
        let mut builder = tar::Builder::new(Vec::new());
        builder.append_pax_extensions([("size", &b"3"[..])]).unwrap();
        let mut header = tar::Header::new_ustar();
        header.set_path("out/a").unwrap();
        header.set_mode(0o644);
        header.set_size(0);
        header.set_cksum();
        builder.append(&header, &b"new"[..]).unwrap();
        let (sender, mut chunks) = mpsc::channel(100);
        let mut packer = Packer::new(sender, None);
        packer.add_tar(&builder.into_inner().unwrap()[..], "out", &matcher(&["out".to_owned()])).unwrap();
        packer.finish().unwrap();
        let bytes = chunks.blocking_recv().unwrap().unwrap();
        let mut archive = tar::Archive::new(&bytes[..]);
        let mut text = String::new();
        archive.entries().unwrap().next().unwrap().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "new");
    }

    #[test]
    fn links_are_packed_and_never_followed() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "x").unwrap();
        let workspace = tempfile::tempdir().unwrap();
        symlink(outside.path(), workspace.path().join("out")).unwrap();
        let host = HostWorkspace::open(workspace.path(), false).unwrap();
        let (sender, mut chunks) = mpsc::channel(100);
        let mut packer = Packer::new(sender, Some(tempfile::NamedTempFile::new().unwrap()));
        let set = matcher(&["out".to_owned(), "out/*".to_owned()]);
        assert!(packer.add_directory(&host, "out", &set).unwrap());
        assert!(
            !packer.add_directory(&host, "out/secret", &set).unwrap(),
            "only the engine can follow the link"
        );
        assert!(packer.add_directory(&host, "none", &set).unwrap());
        assert_eq!(names(&packer), ["out"]);
        let packed = packer.finish().unwrap();
        let bytes = chunks.blocking_recv().unwrap().unwrap();
        assert_eq!(fs::read(packed.sent.spool.unwrap().path()).unwrap(), bytes);
        assert_eq!(packed.sent.size, bytes.len() as u64);
        let mut archive = tar::Archive::new(&bytes[..]);
        let entry = archive.entries().unwrap().next().unwrap().unwrap();
        assert_eq!(entry.link_name().unwrap().unwrap(), outside.path());
    }

    /// Packs one file of these bytes, and returns what was sent, with its encoding and the tar's size.
    fn packed(bytes: &[u8]) -> (Vec<u8>, ArtifactEncoding, u64) {
        let workspace = tempfile::tempdir().unwrap();
        fs::write(workspace.path().join("out"), bytes).unwrap();
        let host = HostWorkspace::open(workspace.path(), false).unwrap();
        let (sender, mut chunks) = mpsc::channel(100);
        let mut packer = Packer::new(sender, None).with_compression(true);
        packer.add_directory(&host, "out", &matcher(&["out".to_owned()])).unwrap();
        let packed = packer.finish().unwrap();
        let mut sent = Vec::new();
        while let Some(chunk) = chunks.blocking_recv() {
            sent.extend(chunk.unwrap());
        }
        assert_eq!(packed.sent.size, sent.len() as u64);
        (sent, packed.sent.encoding, packed.sent.unpacked_size)
    }

    #[test]
    fn tar_is_compressed_where_that_helps() {
        let text = b"a line of a log\n".repeat(BUFFER_SIZE / 4);
        let (sent, encoding, size) = packed(&text);
        assert_eq!(encoding, ArtifactEncoding::Zstd);
        assert!(sent.len() < text.len() / 10, "{} bytes", sent.len());
        let tar = zstd::decode_all(&sent[..]).unwrap();
        assert_eq!((tar.len() as u64, &tar[512..512 + text.len()]), (size, &text[..]));
        let noise = (0_u64..).flat_map(|n| Sha256::digest(n.to_be_bytes()));
        let noise: Vec<u8> = noise.take(2 * BUFFER_SIZE).collect();
        for bytes in [&noise[..], b"short"] {
            let (sent, encoding, size) = packed(bytes);
            assert_eq!((encoding, sent.len() as u64), (ArtifactEncoding::Identity, size));
        }
    }

    #[test]
    fn excluded_files_are_left_out_and_untracked_ones_are_packed() {
        let (workspace, sources) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let root = workspace.path();
        for path in
            ["dist/app", "dist/a.key", "dist/deep/b.key", "dist/deep/c.map", "src/a.rs", ".git/x", "new"]
        {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        fs::create_dir_all(sources.path().join("src")).unwrap();
        fs::write(sources.path().join("src/a.rs"), "x").unwrap();
        // A link of the sources leads to a directory that has such a file.
        symlink(root, sources.path().join("dist")).unwrap();
        fs::write(root.join("app"), "x").unwrap();
        let host = HostWorkspace::open(root, false).unwrap();
        let pack = |matcher: &Matcher, prefix: &str| {
            let mut packer = Packer::new(mpsc::channel(100).0, None);
            assert!(packer.add_directory(&host, prefix, matcher).unwrap());
            let mut names = names(&packer);
            names.sort();
            names
        };
        let excluding = |exclude: &[&str]| {
            let exclude = exclude.iter().map(|glob| (*glob).to_owned()).collect();
            Selection { paths: vec!["dist".to_owned()], exclude, ..Selection::default() }
        };
        let paths = |exclude: &[&str]| pack(&Matcher::of_paths(&excluding(exclude)).unwrap(), "dist");
        assert_eq!(paths(&["dist/*.key", "dist/**/*.map"]), ["dist/app", "dist/deep/b.key"]);
        assert_eq!(paths(&["**/*.key"]), ["dist/app", "dist/deep/c.map"]);
        assert_eq!(paths(&["./dist/deep/"]), ["dist/a.key", "dist/app"]);
        let untracked = Selection {
            paths: Vec::new(),
            untracked: true,
            sources: Some(sources.path().to_owned()),
            ..excluding(&["dist/deep"])
        };
        let all = pack(&Matcher::of_untracked(&untracked).unwrap(), "");
        assert_eq!(all, ["app", "dist/a.key", "dist/app", "new"]);
    }
}
