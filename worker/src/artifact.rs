//! Artifacts: laid into a workspace, and collected from one.

use crate::{
    client::{ApiClient, ApiError},
    engine::DockerManager,
    store::hex,
};
use futures_util::{StreamExt, TryStreamExt};
use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs::File,
    io::{self, Read, Seek, Write},
    path::Path,
    pin::Pin,
    sync::{Arc, Mutex},
};
use tidemill_core::{
    api::{ArtifactComplete, ArtifactFile, ArtifactUploadRequest},
    assignment::{ArtifactSource, Artifacts},
    failure::{FailureKind, FailureReason},
    ids::{JobId, LeaseToken},
};
use tokio_util::io::{ReaderStream, StreamReader, SyncIoBridge};

/// Files that a listing names at most.
const MOST_LISTED: usize = 10_000;

/// Lays `artifact` into the workspace of `container`, straight from the server.
pub async fn lay_in(
    api: &ApiClient,
    engine: &DockerManager,
    container: &str,
    artifact: &ArtifactSource,
) -> Result<(), FailureReason> {
    let failed = |words: String| {
        FailureReason::new(
            FailureKind::ArtifactFailed,
            format!("the artifact of `{}` could not be laid in: {words}", artifact.from_job),
        )
    };
    let hash = Arc::new(Mutex::new(Sha256::new()));
    let seen = hash.clone();
    let bytes = api.get(&artifact.url).await.map_err(|error| failed(error.to_string()))?;
    let tar = bytes.inspect_ok(move |chunk| {
        if let Ok(mut hash) = seen.lock() {
            hash.update(chunk);
        }
    });
    engine.upload(container, tar).await.map_err(|error| failed(error.to_string()))?;
    let got = hash.lock().map(|hash| hex(&hash.clone().finalize())).unwrap_or_default();
    if got == artifact.sha256 {
        return Ok(());
    }
    Err(failed(format!(
        "its bytes have the hash {got}, not {}; run the job that left it again",
        artifact.sha256
    )))
}

/// Collects what `declared` names from the workspace and stores it. What a person should know comes back as log lines.
pub async fn collect(
    api: &ApiClient,
    engine: &DockerManager,
    container: &str,
    declared: &Artifacts,
    job_id: JobId,
    lease: LeaseToken,
) -> Result<String, FailureReason> {
    let failed = |words: String| {
        FailureReason::new(FailureKind::ArtifactFailed, format!("artifacts could not be stored: {words}"))
    };
    let refused = |error: ApiError| failed(error.to_string());
    let mut warnings = String::new();
    let set = Arc::new(globs(&declared.paths).map_err(|error| failed(error.to_string()))?);
    let spool = tempfile::tempfile().map_err(|error| failed(error.to_string()))?;
    let mut packer = Packer { builder: tar::Builder::new(spool), files: Vec::new(), seen: BTreeSet::new() };
    for pattern in &declared.paths {
        let prefix = literal_prefix(pattern);
        let before = packer.files.len();
        let stream = engine.download(container, &prefix);
        let mut stream = Box::pin(stream.map_err(io::Error::other)).peekable();
        match Pin::new(&mut stream).peek().await {
            Some(Ok(_)) => {
                let reader = SyncIoBridge::new(StreamReader::new(stream));
                let set = set.clone();
                let packed =
                    tokio::task::spawn_blocking(move || packer.add(reader, &prefix, &set).map(|()| packer))
                        .await;
                packer = packed
                    .map_err(|error| failed(error.to_string()))?
                    .map_err(|error| failed(error.to_string()))?;
            }
            Some(Err(error)) if error.to_string().contains("404") || error.to_string().contains("o such") => {
            }
            Some(Err(error)) => return Err(failed(error.to_string())),
            None => {}
        }
        if packer.files.len() == before && !packer.covers(pattern) {
            let _ = writeln!(warnings, "warning: artifacts: no file matches `{pattern}`");
        }
    }
    if packer.seen.is_empty() {
        return Ok(warnings);
    }
    let files = std::mem::take(&mut packer.files);
    let finished = tokio::task::spawn_blocking(move || packer.finish()).await;
    let (spool, size, sha256) =
        finished.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))?;
    let mut request = ArtifactUploadRequest {
        job_id,
        lease,
        file_path: declared.paths.join(", "),
        files: files.into_iter().take(MOST_LISTED).collect(),
        expire_in_s: declared.expire_in_s,
        complete: None,
    };
    let place = api.upload(&request).await.map_err(refused)?;
    let bytes = ReaderStream::with_capacity(tokio::fs::File::from_std(spool), 1 << 18);
    api.put(&place.url, bytes).await.map_err(refused)?;
    request.complete = Some(ArtifactComplete { artifact_id: place.artifact_id, size, sha256 });
    api.upload(&request).await.map_err(refused)?;
    Ok(warnings)
}

struct Packer {
    builder: tar::Builder<File>,
    files: Vec<ArtifactFile>,
    seen: BTreeSet<String>,
}

impl Packer {
    /// Adds what matches from the engine's tar of `prefix`.
    fn add(&mut self, reader: impl Read, prefix: &str, set: &GlobSet) -> io::Result<()> {
        let parent = Path::new(prefix).parent().unwrap_or(Path::new("")).to_owned();
        let mut archive = tar::Archive::new(reader);
        for entry in archive.entries()? {
            let mut entry = entry?;
            let inside = entry.path()?.into_owned();
            // The workspace itself comes under its own name.
            let path =
                if prefix.is_empty() { inside.components().skip(1).collect() } else { parent.join(&inside) };
            let name = path.to_string_lossy().into_owned();
            let wanted = path.ancestors().any(|part| part != Path::new("") && set.is_match(part));
            if name.is_empty() || !wanted || self.seen.contains(&name) {
                continue;
            }
            let mut header = entry.header().clone();
            let kind = header.entry_type();
            if kind.is_symlink() || kind.is_hard_link() {
                let target = entry.link_name()?.unwrap_or_default().into_owned();
                let target = if kind.is_hard_link() { parent.join(target) } else { target };
                self.builder.append_link(&mut header, &path, target)?;
            } else if kind.is_file() || kind.is_dir() {
                self.builder.append_data(&mut header, &path, &mut entry)?;
            } else {
                continue;
            }
            if !kind.is_dir() {
                self.files.push(ArtifactFile { path: name.clone(), size: header.size().unwrap_or(0) });
            }
            self.seen.insert(name);
        }
        Ok(())
    }

    /// Whether something that is packed already matches `pattern`.
    fn covers(&self, pattern: &str) -> bool {
        globs(std::slice::from_ref(&pattern.to_owned())).is_ok_and(|set| {
            self.seen.iter().any(|name| Path::new(name).ancestors().any(|part| set.is_match(part)))
        })
    }

    /// The finished tar, its size and hash.
    fn finish(self) -> io::Result<(File, u64, String)> {
        let mut file = self.builder.into_inner()?;
        file.flush()?;
        file.rewind()?;
        let mut hash = Sha256::new();
        let mut size = 0;
        let mut buffer = vec![0; 1 << 18];
        loop {
            let count = file.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            hash.update(&buffer[..count]);
            size += count as u64;
        }
        file.rewind()?;
        Ok((file, size, hex(&hash.finalize())))
    }
}

fn globs(patterns: &[String]) -> Result<GlobSet, globset::Error> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let pattern = pattern.trim_start_matches("./").trim_end_matches('/');
        set.add(GlobBuilder::new(pattern).literal_separator(true).build()?);
    }
    set.build()
}

/// The parts of `pattern` before the first one with a wildcard: only what lies there needs to be looked at.
fn literal_prefix(pattern: &str) -> String {
    let plain = |part: &&str| !part.contains(['*', '?', '[', '{', '\\']);
    let parts: Vec<&str> =
        pattern.trim_start_matches("./").trim_end_matches('/').split('/').take_while(plain).collect();
    parts.join("/")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::{Packer, globs, literal_prefix};
    use std::collections::BTreeSet;

    #[test]
    fn only_what_lies_below_the_literal_parts_is_looked_at() {
        assert_eq!(literal_prefix("out/mill.txt"), "out/mill.txt");
        assert_eq!(literal_prefix("./target/*/app"), "target");
        assert_eq!(literal_prefix("**/*.xml"), "");
    }

    #[test]
    fn a_directory_takes_all_below_it_and_nothing_else() {
        let mut made = tar::Builder::new(Vec::new());
        for name in ["out/a.txt", "out/deep/b.txt"] {
            let mut header = tar::Header::new_gnu();
            header.set_size(1);
            header.set_mode(0o644);
            header.set_cksum();
            made.append_data(&mut header, name, &b"x"[..]).unwrap();
        }
        let bytes = made.into_inner().unwrap();
        let pack = |pattern: &str| {
            let set = globs(&[pattern.to_owned()]).unwrap();
            let builder = tar::Builder::new(tempfile::tempfile().unwrap());
            let mut packer = Packer { builder, files: Vec::new(), seen: BTreeSet::new() };
            packer.add(&bytes[..], "out", &set).unwrap();
            packer.files.iter().map(|file| file.path.clone()).collect::<Vec<_>>()
        };
        assert_eq!(pack("out/"), ["out/a.txt", "out/deep/b.txt"]);
        assert_eq!(pack("out/*.txt"), ["out/a.txt"]);
        assert_eq!(pack("**/b.txt"), ["out/deep/b.txt"]);
    }
}
