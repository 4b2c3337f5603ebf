//! Files inside of artifacts: one of them, links to them for pages, and all artifacts of an execution in one archive.

use super::{
    archive::{FoundFile, ReadFailure, StoredArchive, joined},
    artifacts::{ArtifactService, MAX_LISTED_FILES, key, not_found},
};
use crate::{
    error::{Error, Result},
    ports::{ArtifactRecord, ByteStream, Objects},
};
use data_encoding::BASE64URL_NOPAD;
use std::{
    collections::{BTreeSet, VecDeque},
    io,
};
use tidemill_core::{
    api::{ArtifactLink, page::ARTIFACT_FILES},
    ids::{ArtifactId, ExecutionId},
    time::Timestamp,
};
use tokio::runtime::Handle;

/// What the ticket of a link is sealed for.
const TICKET_PLACE: &str = "artifact-link";
/// How long a link is valid.
const LINK_TTL_MS: i64 = 10 * 60_000;
/// Maximum length of a ticket.
const MAX_TICKET_LEN: usize = 1_000;
/// Maximum length of a file's path.
const MAX_PATH_LEN: usize = 4_096;
/// Maximum length of a directory's name in an archive of all artifacts.
const MAX_DIRECTORY_LEN: usize = 100;

impl ArtifactService {
    /// Returns one file of an artifact for `reader`, the name under which reads are counted. It has no spaces.
    pub async fn file(&self, id: ArtifactId, path: &str, reader: &str) -> Result<FoundFile> {
        let path = checked_path(path)?;
        let record = self.context.stores.records.artifact(id).await?.ok_or_else(|| not_found(id))?;
        let no_file = || Error::NotFound(format!("artifact {id} has no file `{path}`"));
        let is_listed = record.files.iter().any(|file| file.path.trim_start_matches("./") == path);
        if record.image.is_some() || (!is_listed && record.files.len() < MAX_LISTED_FILES) {
            return Err(no_file());
        }
        let max = self.context.settings.max_file_reply_bytes;
        let open = self.files.open(reader).await?;
        let archive = stored_archive(&*self.context.stores.objects, &record).await?;
        archive.find(path.to_owned(), max, open).await.map_err(|failure| match failure {
            ReadFailure::NoFile => no_file(),
            ReadFailure::TooLarge(size) => Error::TooLarge(format!(
                "`{path}` has {size} bytes, more than the {max} that the server sends of one file; download the whole artifact"
            )),
            ReadFailure::TimedOut => Error::TooLarge(format!(
                "the archive is too large to find `{path}` in it in time; download the whole artifact"
            )),
            ReadFailure::Io(error) => Error::storage(format!("reading artifact {id}"), error),
        })
    }

    /// Returns an address of the files of an artifact that needs no token for some minutes. What is read with it counts as reads of
    /// `reader`.
    pub async fn link(&self, id: ArtifactId, reader: &str) -> Result<ArtifactLink> {
        self.context.stores.records.artifact(id).await?.ok_or_else(|| not_found(id))?;
        let expires_at = self.context.now().plus_ms(LINK_TTL_MS);
        let ticket = format!("{id} {} {reader}", expires_at.0);
        let sealed = self.files.sealer.seal(TICKET_PLACE, ticket.as_bytes()).await?;
        let ticket = BASE64URL_NOPAD.encode(sealed.as_bytes());
        Ok(ArtifactLink { path: format!("/{ARTIFACT_FILES}/{ticket}/"), expires_at })
    }

    /// Returns the artifact that a link leads to, and its reader.
    pub async fn linked(&self, ticket: &str) -> Result<(ArtifactId, String)> {
        let invalid = || Error::NotFound("this link is not valid any more; open the artifact again".into());
        if ticket.len() > MAX_TICKET_LEN {
            return Err(invalid());
        }
        let sealed = BASE64URL_NOPAD.decode(ticket.as_bytes()).map_err(|_| invalid())?;
        let sealed = String::from_utf8(sealed).map_err(|_| invalid())?;
        let opened = match self.files.sealer.open(TICKET_PLACE, &sealed).await {
            Err(Error::CannotOpen(_)) => return Err(invalid()),
            opened => opened?,
        };
        let text = String::from_utf8(opened).map_err(|_| invalid())?;
        let mut parts = text.split(' ');
        let mut part = || parts.next().ok_or_else(invalid);
        let (id, expires_at, reader) = (part()?, part()?, part()?);
        let expires_at = expires_at.parse().map(Timestamp).map_err(|_| invalid())?;
        if self.context.now() >= expires_at {
            return Err(invalid());
        }
        Ok((id.parse().map_err(|_| invalid())?, reader.to_owned()))
    }

    /// Returns all artifacts of an execution as one tar; `None` if the store serves them itself, or replies are limited.
    pub async fn archive(&self, execution: ExecutionId, reader: &str) -> Result<Option<ByteStream>> {
        let records: Vec<ArtifactRecord> =
            self.records(execution).await?.into_iter().map(|(_, record)| record).collect();
        let objects = self.context.stores.objects.clone();
        if self.context.settings.max_wait_ms == 0 {
            return Ok(None);
        }
        if let Some(first) = records.first()
            && objects.download_url(&key(first.job, first.id)).await?.is_some()
        {
            return Ok(None);
        }
        let directories = directories(&records);
        let mut archives: VecDeque<_> = directories.into_iter().zip(records).collect();
        let runtime = Handle::current();
        let open = self.files.open(reader).await?;
        let next = move || {
            let (directory, record) = archives.pop_front()?;
            let archive = runtime.block_on(stored_archive(&*objects, &record));
            Some(archive.map(|archive| (directory, archive)).map_err(io::Error::other))
        };
        Ok(Some(joined(next, open)))
    }
}

async fn stored_archive(objects: &dyn Objects, record: &ArtifactRecord) -> Result<StoredArchive> {
    let bytes = match objects.get(&key(record.job, record.id)).await {
        Err(Error::NotFound(_)) => return Err(not_found(record.id)),
        bytes => bytes?,
    };
    Ok(StoredArchive { bytes, encoding: record.encoding, unpacked_size: record.unpacked_size })
}

/// Returns a path as it is in archives, or an error if it leads out of one.
fn checked_path(path: &str) -> Result<&str> {
    let is_valid = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('\0');
    if path.len() <= MAX_PATH_LEN && path.split('/').all(is_valid) {
        return Ok(path);
    }
    Err(Error::Invalid(format!(
        "the path of a file in an artifact is relative, without `.` and `..`, and has at most {MAX_PATH_LEN} bytes"
    )))
}

/// Returns a directory for each artifact, named after its job and itself.
fn directories(records: &[ArtifactRecord]) -> Vec<String> {
    let mut taken = BTreeSet::new();
    let name = |record: &ArtifactRecord| {
        let name = record.name.as_ref().map(|name| format!("-{name}")).unwrap_or_default();
        let name = format!("{}{name}", record.job_name);
        let is_plain = |char: &char| char.is_alphanumeric() || "._- ".contains(*char);
        let plain = name.chars().map(|char| if is_plain(&char) { char } else { '_' });
        let plain: String = plain.take(MAX_DIRECTORY_LEN).collect();
        // No hidden directory, and not the one above.
        let plain = plain.trim_start_matches('.').trim().to_owned();
        let plain = if plain.is_empty() { "artifact".to_owned() } else { plain };
        let unique = |number: usize| if number == 1 { plain.clone() } else { format!("{plain}-{number}") };
        let unique = (1..=records.len()).map(unique).find(|name| !taken.contains(name)).unwrap_or_default();
        taken.insert(unique.clone());
        unique
    };
    records.iter().map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::checked_path;

    #[test]
    fn paths_out_of_the_archive_are_invalid() {
        for path in ["a", "a/b.html", "a b/..c", "ä/…"] {
            assert!(matches!(checked_path(path), Ok(same) if same == path), "{path}");
        }
        let long = "a/".repeat(3_000);
        for path in ["", "/a", "a/", "a//b", ".", "..", "a/../b", "./a", "a/..", "a\0b", &long] {
            assert!(checked_path(path).is_err(), "{path}");
        }
    }
}
