//! The pointers that a repository holds for files of Git LFS. Runs no process.

/// Maximum size of a pointer in bytes; larger files are content.
pub const MAX_POINTER: usize = 1024;

const VERSION: &str = "version https://git-lfs.github.com/spec/v1";

/// What a pointer stands for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pointer {
    /// SHA-256 of the content in hex.
    pub hash: String,
    /// Size of the content in bytes.
    pub size: u64,
}

impl Pointer {
    /// Parses a file's content; `None` if it is not a pointer.
    pub fn parse(content: &[u8]) -> Option<Self> {
        if content.len() > MAX_POINTER {
            return None;
        }
        let mut lines = std::str::from_utf8(content).ok()?.lines();
        if lines.next()? != VERSION {
            return None;
        }
        let (mut hash, mut size) = (None, None);
        for line in lines {
            match line.split_once(' ')? {
                ("oid", value) => hash = value.strip_prefix("sha256:").filter(|hash| is_hash(hash)),
                ("size", value) => size = value.parse().ok(),
                _ => {}
            }
        }
        Some(Self { hash: hash?.to_owned(), size: size? })
    }

    /// Returns the path of the content below a directory of LFS objects.
    pub fn object_path(&self) -> String {
        format!("{}/{}/{}", &self.hash[..2], &self.hash[2..4], self.hash)
    }
}

fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::Pointer;

    #[test]
    fn pointer_is_parsed_and_other_files_are_not() {
        let hash = "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393";
        let text = format!("version https://git-lfs.github.com/spec/v1\noid sha256:{hash}\nsize 12345\n");
        let pointer = Pointer::parse(text.as_bytes()).unwrap();
        assert_eq!((pointer.hash.as_str(), pointer.size), (hash, 12345));
        assert_eq!(pointer.object_path(), format!("4d/7a/{hash}"));
        for other in [
            "",
            "version https://git-lfs.github.com/spec/v1\n",
            "text\n",
            &text.replace(hash, "../../../etc/passwd"),
            &text.replace("12345", "many"),
            &format!("{text}{}", "x".repeat(2000)),
        ] {
            assert_eq!(Pointer::parse(other.as_bytes()), None, "{other}");
        }
    }
}
