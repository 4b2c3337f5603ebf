//! Digests of values.

use data_encoding::HEXLOWER;
use serde::Serialize;
use sha2::{Digest, Sha256};

/// Returns the SHA-256 of bytes, as 64 lowercase hex digits.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(bytes))
}

/// Returns the SHA-256 of a value's JSON, as 64 lowercase hex digits.
///
/// # Errors
/// Returns an error if the value cannot be serialized.
pub fn json_digest(value: &impl Serialize) -> Result<String, serde_json::Error> {
    serde_json::to_vec(value).map(|json| sha256_hex(&json))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::json_digest;
    use serde::{Serialize, Serializer, ser::Error as _};

    struct Broken;

    impl Serialize for Broken {
        fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(S::Error::custom("it cannot be written"))
        }
    }

    #[test]
    fn value_that_cannot_be_serialized_has_no_digest() {
        assert!(json_digest(&Broken).is_err());
        assert!(json_digest(&("repository", Broken)).is_err());
    }

    #[test]
    fn different_values_have_different_digests() {
        let one = json_digest(&("a", "bc")).unwrap();
        assert_ne!(one, json_digest(&("ab", "c")).unwrap());
        assert_eq!((one.len(), one), (64, json_digest(&("a", "bc")).unwrap()));
    }
}
