//! Bearer tokens: made here, shown once, and known to the deployment by their hashes only.

use crate::failure::{Failure, Outcome};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// A new token: 256 random bits.
pub fn make() -> Outcome<String> {
    let mut bits = [0_u8; 32];
    getrandom::fill(&mut bits)
        .map_err(|error| Failure::system(format!("no token can be made: no random bits: {error}")))?;
    Ok(URL_SAFE_NO_PAD.encode(bits))
}

/// SHA-256 in hex, as `sha256sum` prints it.
pub fn hash(bytes: impl AsRef<[u8]>) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The hashes that are valid once `token` is, too: it, and the newest of those before it.
pub fn rotated(token: &str, before: &str) -> String {
    let new = hash(token);
    match newest(before) {
        "" => new,
        old => format!("{new},{old}"),
    }
}

/// The newest of several hashes.
pub fn newest(hashes: &str) -> &str {
    hashes.split(',').next().unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{hash, make, newest, rotated};

    #[test]
    fn tokens_are_long_and_never_the_same() {
        let (one, two) = (make().unwrap(), make().unwrap());
        assert_ne!(one, two);
        assert_eq!(one.len(), 43, "{one}");
        assert!(one.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{one}");
    }

    #[test]
    fn a_hash_is_what_sha256sum_prints() {
        assert_eq!(hash("one"), "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed");
    }

    #[test]
    fn a_rotation_keeps_the_token_before_and_no_older_one() {
        let once = rotated("one", "first");
        assert_eq!(once, format!("{},first", hash("one")));
        let twice = rotated("two", &once);
        assert_eq!(twice, format!("{},{}", hash("two"), hash("one")));
        assert_eq!(newest(&twice), hash("two"));
        assert_eq!(rotated("one", ""), hash("one"));
    }
}
