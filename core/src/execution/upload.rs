//! Ids of uploaded sources.

use crate::repository::canonical_name;
use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};
use std::{fmt, str::FromStr};

/// Number of hex digits for the repository.
const REPOSITORY_HASH_LEN: usize = 32;
/// Number of hex digits for the content.
const CONTENT_HASH_LEN: usize = 64;

/// The id of an upload: 32 hex digits that identify its repository, and 64 for its content. An upload thus serves only
/// executions of the repository that it was created for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UploadId(String);

/// The text is not a valid upload id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an upload id has {} lowercase hex digits", REPOSITORY_HASH_LEN + CONTENT_HASH_LEN)]
pub struct InvalidUploadId;

impl UploadId {
    /// Creates the id of an upload for the repository `repo` (an address or a name), whose content has this SHA-256 in
    /// hex.
    pub fn new(repo: &str, content: &str) -> Result<Self, InvalidUploadId> {
        format!("{}{content}", repository_digits(repo)).parse()
    }

    /// Whether it was created for this repository.
    #[must_use]
    pub fn belongs_to(&self, repo: &str) -> bool {
        self.0[..REPOSITORY_HASH_LEN] == repository_digits(repo)
    }

    /// Returns the SHA-256 of the content in hex.
    #[must_use]
    pub fn content(&self) -> &str {
        &self.0[REPOSITORY_HASH_LEN..]
    }

    /// Returns the id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UploadId {
    type Err = InvalidUploadId;
    fn from_str(text: &str) -> Result<Self, InvalidUploadId> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() == REPOSITORY_HASH_LEN + CONTENT_HASH_LEN && text.bytes().all(is_digit) {
            return Ok(Self(text.to_owned()));
        }
        Err(InvalidUploadId)
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn repository_digits(repo: &str) -> String {
    let hash = Sha256::digest(format!("upload\n{}", canonical_name(repo)));
    HEXLOWER.encode(&hash[..REPOSITORY_HASH_LEN / 2])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::UploadId;

    #[test]
    fn upload_belongs_to_one_repository() {
        let id = UploadId::new("https://git.example.org/team/app.git", &"a".repeat(64)).unwrap();
        assert!(
            id.belongs_to("git@git.example.org:team/app")
                && !id.belongs_to("https://git.example.org/team/other")
        );
        assert_eq!((id.content(), id.as_str().parse()), ("a".repeat(64).as_str(), Ok(id.clone())));
        for wrong in ["", &"a".repeat(64), &"A".repeat(96), &"a".repeat(97), "../x"] {
            assert!(wrong.parse::<UploadId>().is_err(), "{wrong}");
        }
    }
}
