//! The context of a build: the files of a workspace that it gets, as a tar.

use super::ignore::IgnoredFiles;
use crate::{artifact::pack::header, workspace::HostWorkspace};
use bytes::Bytes;
use rustix::fs::{FileType, Stat};
use std::{
    collections::BTreeSet,
    ffi::OsString,
    io::{self, BufReader, Read, Write},
    path::{Path, PathBuf},
    sync::Arc,
};
use tidemill_core::execution::failure::{FailureKind, FailureReason};
use tokio::sync::mpsc;

/// Maximum size of a Dockerfile and of a `.dockerignore` in bytes.
const MAX_FILE_SIZE: u64 = 1 << 20;
/// Size of the chunks of a tar in bytes.
const CHUNK_SIZE: usize = 256 << 10;

/// A directory of a workspace that is packed for a build.
#[derive(Debug, Clone)]
pub struct BuildContext {
    /// The directories that the workspace consists of; a file in an earlier one hides that of a later one.
    layers: Vec<Arc<HostWorkspace>>,
    /// The Dockerfile's path in it.
    dockerfile_path: PathBuf,
    /// The text of its Dockerfile.
    pub dockerfile: String,
    ignored: Arc<IgnoredFiles>,
}

impl BuildContext {
    /// Opens the directory `context` of the workspace that consists of `layers`.
    pub fn open(
        layers: &[Arc<HostWorkspace>],
        context: &str,
        dockerfile: &str,
    ) -> Result<Self, FailureReason> {
        let invalid = |message: String| FailureReason::new(FailureKind::ScriptFailed, message);
        let directory = clean(context)
            .ok_or_else(|| invalid(format!("the context `{context}` leads out of the workspace")))?;
        let file = clean(dockerfile)
            .ok_or_else(|| invalid(format!("the Dockerfile `{dockerfile}` is not in the context")))?;
        let layers: Vec<_> =
            layers.iter().filter_map(|layer| layer.subdirectory(&directory).ok().map(Arc::new)).collect();
        if layers.is_empty() {
            return Err(invalid(format!(
                "the context `{context}` is not a directory of the workspace; `build: {{ context: .. }}` is relative to the sources, and \
                 is not a link"
            )));
        }
        let mut context = Self {
            layers,
            dockerfile_path: file.clone(),
            dockerfile: String::new(),
            ignored: Arc::default(),
        };
        context.dockerfile = context.text(&file)?.ok_or_else(|| {
            invalid(format!("the context has no file `{dockerfile}`; `build: {{ dockerfile: .. }}` is relative to the context"))
        })?;
        let mut own = file.into_os_string();
        own.push(".dockerignore");
        let ignore = match context.text(Path::new(&own))? {
            Some(text) => Some(text),
            None => context.text(Path::new(".dockerignore"))?,
        };
        if let Some(text) = ignore {
            let parsed = IgnoredFiles::parse(&text);
            context.ignored = Arc::new(
                parsed.map_err(|error| invalid(format!("the .dockerignore is not valid: {error}")))?,
            );
        }
        Ok(context)
    }

    /// Returns the text of a file, if it exists.
    fn text(&self, path: &Path) -> Result<Option<String>, FailureReason> {
        let Some((layer, _)) = self.find(path) else { return Ok(None) };
        let invalid = |why: String| {
            let message = format!("`{}` of the context cannot be read: {why}", path.display());
            FailureReason::new(FailureKind::ScriptFailed, message)
        };
        let (file, _) = layer.read(path).map_err(|error| invalid(error.to_string()))?;
        let mut text = Vec::new();
        file.take(MAX_FILE_SIZE + 1).read_to_end(&mut text).map_err(|error| invalid(error.to_string()))?;
        if text.len() as u64 > MAX_FILE_SIZE {
            return Err(invalid("it is larger than 1 MiB".to_owned()));
        }
        Ok(Some(String::from_utf8_lossy(&text).into_owned()))
    }

    /// Returns the layer that has `path`, and its metadata.
    fn find(&self, path: &Path) -> Option<(&HostWorkspace, Stat)> {
        self.layers.iter().find_map(|layer| Some((&**layer, layer.stat(path).ok()?)))
    }

    /// Sends the tar to `sender`; an error ends it. Blocks.
    pub fn pack(&self, sender: &mpsc::Sender<io::Result<Bytes>>, max: u64) -> Result<(), FailureReason> {
        let writer = ChunkWriter { chunk: Vec::new(), sender: sender.clone(), left: max, is_over: false };
        let mut builder = tar::Builder::new(writer);
        let packed = self.add_all(&mut builder).and_then(|()| {
            builder.finish()?;
            builder.get_mut().send()
        });
        let error = match packed {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => error,
            // Without a receiver, the build has ended, which is reported.
            _ => return Ok(()),
        };
        let is_over = builder.get_ref().is_over;
        // What would be written on drop must not look like a complete tar.
        let _ = sender.blocking_send(Err(io::ErrorKind::Interrupted.into()));
        Err(if is_over {
            let message = format!(
                "the context of the build is larger than {} MiB, the worker's limit for artifacts; leave files out with a \
                 .dockerignore",
                max >> 20
            );
            FailureReason::new(FailureKind::ArtifactLimit, message)
        } else {
            FailureReason::new(
                FailureKind::ScriptFailed,
                format!("the context of the build could not be read: {error}"),
            )
        })
    }

    fn add_all(&self, builder: &mut tar::Builder<ChunkWriter>) -> io::Result<()> {
        let mut pending = vec![PathBuf::new()];
        while let Some(path) = pending.pop() {
            // A build that has ended is not packed for: without a file to send, nothing else would notice.
            if builder.get_ref().sender.is_closed() {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            let is_root = path.as_os_str().is_empty();
            let Some((layer, stat)) = self.find(&path) else { continue };
            let kind = FileType::from_raw_mode(stat.st_mode);
            // BuildKit reads the Dockerfile from the tar.
            let is_ignored = !is_root && path != self.dockerfile_path && self.ignored.is_ignored(&path);
            if kind == FileType::Directory {
                let leads_to_dockerfile = self.dockerfile_path.starts_with(&path);
                if is_ignored && !self.ignored.has_exceptions() && !leads_to_dockerfile {
                    continue;
                }
                let mut names = BTreeSet::<OsString>::new();
                for layer in &self.layers {
                    if layer
                        .stat(&path)
                        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
                    {
                        names.extend(layer.list(&path)?);
                    }
                }
                pending.extend(names.into_iter().rev().map(|name| path.join(name)));
            }
            if !is_root && !is_ignored {
                add_one(builder, layer, &path, kind, &stat)?;
            }
        }
        Ok(())
    }
}

fn add_one(
    builder: &mut tar::Builder<ChunkWriter>,
    layer: &HostWorkspace,
    path: &Path,
    kind: FileType,
    stat: &Stat,
) -> io::Result<()> {
    match kind {
        // As with Docker's client, files belong to root.
        FileType::Directory => {
            builder.append_data(&mut header(stat, tar::EntryType::Directory), path, io::empty())
        }
        FileType::Symlink => {
            builder.append_link(&mut header(stat, tar::EntryType::Symlink), path, layer.read_link(path)?)
        }
        FileType::RegularFile => {
            let (file, stat) = layer.read(path)?;
            let mut header = header(&stat, tar::EntryType::Regular);
            let size = u64::try_from(stat.st_size).unwrap_or(0);
            header.set_size(size);
            // A file that becomes shorter meanwhile is padded, so that the tar stays valid.
            let bytes = BufReader::with_capacity(CHUNK_SIZE, file).chain(io::repeat(0)).take(size);
            builder.append_data(&mut header, path, bytes)
        }
        _ => Ok(()),
    }
}

/// Returns a relative path without `.`; `None` if it leads out.
fn clean(path: &str) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for part in Path::new(path).components() {
        match part {
            std::path::Component::Normal(part) => clean.push(part),
            std::path::Component::CurDir => {}
            _ => return None,
        }
    }
    Some(clean)
}

/// Sends what is written in chunks, up to a number of bytes.
struct ChunkWriter {
    chunk: Vec<u8>,
    sender: mpsc::Sender<io::Result<Bytes>>,
    left: u64,
    is_over: bool,
}

impl ChunkWriter {
    fn send(&mut self) -> io::Result<()> {
        let chunk = std::mem::take(&mut self.chunk);
        let Some(left) = self.left.checked_sub(chunk.len() as u64) else {
            self.is_over = true;
            return Err(io::ErrorKind::FileTooLarge.into());
        };
        self.left = left;
        self.sender.blocking_send(Ok(chunk.into())).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for ChunkWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_over {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.chunk.extend_from_slice(bytes);
        if self.chunk.len() >= CHUNK_SIZE {
            self.send()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::BuildContext;
    use crate::workspace::HostWorkspace;
    use std::{fs, io::Read, os::unix::fs::symlink, path::Path, sync::Arc};
    use tokio::sync::mpsc;

    fn layer(files: &[(&str, &str)]) -> (tempfile::TempDir, Arc<HostWorkspace>) {
        let directory = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let opened = HostWorkspace::open(directory.path(), false).unwrap();
        (directory, Arc::new(opened))
    }

    /// Returns the files of the context with their contents.
    fn packed(context: &BuildContext) -> Vec<String> {
        let (sender, mut chunks) = mpsc::channel(100);
        context.pack(&sender, 1 << 20).unwrap();
        drop(sender);
        let mut tar = Vec::new();
        while let Some(chunk) = chunks.blocking_recv() {
            tar.extend_from_slice(&chunk.unwrap());
        }
        let mut archive = tar::Archive::new(&tar[..]);
        let files = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            format!("{}={text}", entry.path().unwrap().display())
        });
        files.collect()
    }

    #[test]
    fn first_layer_wins_and_ignored_files_are_left_out_except_the_dockerfile() {
        let ignore = "*.log\nsecret\nDockerfile\n!keep.log\n";
        let (first, upper) = layer(&[("app/a", "new"), ("app/out/b", "built")]);
        let (_second, lower) = layer(&[
            ("app/a", "old"),
            ("app/Dockerfile", "FROM x"),
            ("app/.dockerignore", ignore),
            ("app/x.log", ""),
            ("app/keep.log", "k"),
            ("app/secret/s", ""),
            ("other", ""),
        ]);
        symlink("/etc", first.path().join("app/link")).unwrap();
        let context = BuildContext::open(&[upper, lower], "./app/", "Dockerfile").unwrap();
        assert_eq!(context.dockerfile, "FROM x");
        let ignored = format!(".dockerignore={ignore}");
        assert_eq!(
            packed(&context),
            [ignored.as_str(), "Dockerfile=FROM x", "a=new", "keep.log=k", "link=", "out=", "out/b=built"]
        );
    }

    #[test]
    fn context_outside_of_the_workspace_and_over_its_limit_is_an_error() {
        let (directory, only) = layer(&[("Dockerfile", "FROM x"), ("big", &"x".repeat(1 << 20))]);
        symlink("/etc", directory.path().join("etc")).unwrap();
        let open = |context: &str, file: &str| BuildContext::open(std::slice::from_ref(&only), context, file);
        for (context, file) in [
            ("..", "Dockerfile"),
            ("etc", "passwd"),
            ("none", "Dockerfile"),
            (".", "../x"),
            (".", "etc/passwd"),
        ] {
            assert!(open(context, file).is_err(), "{context} {file}");
        }
        let (sender, _chunks) = mpsc::channel(100);
        let reason = open(".", "Dockerfile").unwrap().pack(&sender, 1 << 19).unwrap_err();
        assert!(reason.message.contains(".dockerignore"), "{}", reason.message);
        assert!(Path::new("/etc/passwd").exists());
    }
}
