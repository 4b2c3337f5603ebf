//! Bearer tokens: generated here and shown once. The deployment stores only their hashes.

use crate::failure::{Failure, Outcome};
use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use sha2::{Digest, Sha256};

/// Generates a token of 256 random bits.
pub fn generate() -> Outcome<String> {
    let mut bits = [0_u8; 32];
    getrandom::fill(&mut bits)
        .map_err(|error| Failure::system(format!("cannot create a token: no random bytes: {error}")))?;
    Ok(BASE64URL_NOPAD.encode(&bits))
}

/// Returns the SHA-256 in lowercase hex.
pub fn hash(bytes: impl AsRef<[u8]>) -> String {
    HEXLOWER.encode(&Sha256::digest(bytes))
}

/// Returns the valid hashes after a rotation: that of `token`, and the newest of `before`.
pub fn rotated_hashes(token: &str, before: &str) -> String {
    let new = hash(token);
    match newest_hash(before) {
        "" => new,
        old => format!("{new},{old}"),
    }
}

/// Returns the newest hash of a comma-separated list.
pub fn newest_hash(hashes: &str) -> &str {
    hashes.split(',').next().unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{generate, hash, newest_hash, rotated_hashes};

    #[test]
    fn new_tokens_are_long_and_distinct() {
        let (one, two) = (generate().unwrap(), generate().unwrap());
        assert_ne!(one, two);
        assert_eq!(one.len(), 43, "{one}");
        assert!(one.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{one}");
    }

    #[test]
    fn hash_is_lowercase_hex() {
        assert_eq!(hash("one"), "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed");
    }

    #[test]
    fn rotation_keeps_only_the_previous_token() {
        let once = rotated_hashes("one", "first");
        assert_eq!(once, format!("{},first", hash("one")));
        let twice = rotated_hashes("two", &once);
        assert_eq!(twice, format!("{},{}", hash("two"), hash("one")));
        assert_eq!(newest_hash(&twice), hash("two"));
        assert_eq!(rotated_hashes("one", ""), hash("one"));
    }
}
