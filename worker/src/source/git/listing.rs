//! Parses git's listings of trees and objects incrementally and with limits. Runs no process.

use std::ops::ControlFlow;

/// Maximum path length in bytes: more than file systems allow.
pub const MAX_PATH_LEN: usize = 4096;
/// Maximum length of a tree record without its path.
const MAX_ENTRY_OVERHEAD: usize = 160;

/// Splits chunks of bytes into NUL-terminated records.
#[derive(Debug, Default)]
pub struct Records {
    partial: Vec<u8>,
}

impl Records {
    /// Passes each record that `bytes` complete to `sink`. Breaks if `sink` does, or if a record is longer than any
    /// that git prints.
    pub fn push(&mut self, bytes: &[u8], sink: &mut dyn FnMut(&[u8]) -> ControlFlow<()>) -> ControlFlow<()> {
        let mut rest = bytes;
        while let Some(end) = memchr::memchr(0, rest) {
            if self.partial.len() + end > MAX_PATH_LEN + MAX_ENTRY_OVERHEAD {
                return ControlFlow::Break(());
            }
            if self.partial.is_empty() {
                sink(&rest[..end])?;
            } else {
                self.partial.extend_from_slice(&rest[..end]);
                let record = std::mem::take(&mut self.partial);
                sink(&record)?;
            }
            rest = &rest[end + 1..];
        }
        if self.partial.len() + rest.len() > MAX_PATH_LEN + MAX_ENTRY_OVERHEAD {
            return ControlFlow::Break(());
        }
        self.partial.extend_from_slice(rest);
        ControlFlow::Continue(())
    }
}

/// A tree entry, as `git ls-tree -z` prints it, with or without `-l`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeEntry<'a> {
    /// Whether it is a regular file.
    pub is_file: bool,
    /// Size in bytes, if requested and the entry has one.
    pub size: Option<u64>,
    /// Its path.
    pub path: &'a [u8],
}

/// Parses a record; `None` if git does not print such a record.
pub fn parse_entry(record: &[u8]) -> Option<TreeEntry<'_>> {
    let tab = memchr::memchr(b'\t', record)?;
    let path = record.get(tab + 1..).filter(|path| !path.is_empty() && path.len() <= MAX_PATH_LEN)?;
    let head = std::str::from_utf8(&record[..tab]).ok()?;
    let mut fields = head.split_ascii_whitespace();
    let (mode, kind, _object) = (fields.next()?, fields.next()?, fields.next()?);
    let size = fields.next().and_then(|size| size.parse().ok());
    Some(TreeEntry { is_file: kind == "blob" && matches!(mode, "100644" | "100755" | "100664"), size, path })
}

/// A list of paths with limits.
#[derive(Debug)]
pub struct Paths {
    records: Records,
    collected: Option<Vec<String>>,
    bytes: usize,
    max_count: usize,
    max_bytes: usize,
}

impl Paths {
    /// Creates an empty list of at most `max_count` paths with `max_bytes` in total.
    pub const fn new(max_count: usize, max_bytes: usize) -> Self {
        Self {
            records: Records { partial: Vec::new() },
            collected: Some(Vec::new()),
            bytes: 0,
            max_count,
            max_bytes,
        }
    }

    /// Adds a chunk of git's output; breaks once a limit is exceeded.
    pub fn push(&mut self, bytes: &[u8]) -> ControlFlow<()> {
        let Self { records, collected, bytes: total, max_count, max_bytes } = self;
        let flow = records.push(bytes, &mut |path| {
            let Some(list) = collected.as_mut() else { return ControlFlow::Break(()) };
            let path = String::from_utf8_lossy(path);
            *total += path.len();
            if list.len() >= *max_count || *total > *max_bytes || path.len() > MAX_PATH_LEN {
                *collected = None;
                return ControlFlow::Break(());
            }
            list.push(path.into_owned());
            ControlFlow::Continue(())
        });
        if flow.is_break() {
            self.collected = None;
        }
        flow
    }

    /// Returns all paths, or `None` if a limit was exceeded.
    pub fn into_paths(self) -> Option<Vec<String>> {
        self.collected
    }
}

/// The line that `git cat-file --batch-check` or `--batch` prints for an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectHeader<'a> {
    /// Its hash.
    pub hash: &'a str,
    /// Whether it is a blob: the content of a file.
    pub is_blob: bool,
    /// Size in bytes.
    pub size: u64,
}

/// Parses a line of `cat-file`; `None` if there is no such object.
pub fn parse_object_header(line: &str) -> Option<ObjectHeader<'_>> {
    let mut fields = line.split(' ');
    let (hash, kind, size) = (fields.next()?, fields.next()?, fields.next()?);
    let is_hash = matches!(hash.len(), 40 | 64) && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_kind = matches!(kind, "blob" | "tree" | "commit" | "tag");
    if !is_hash || !is_kind || fields.next().is_some() {
        return None;
    }
    Some(ObjectHeader { hash, is_blob: kind == "blob", size: size.parse().ok()? })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{MAX_PATH_LEN, Paths, Records, parse_entry, parse_object_header};
    use std::ops::ControlFlow;

    const HASH: &str = "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391";

    #[test]
    fn records_are_the_same_for_any_chunking() {
        let bytes = b"one\0\0three and more\0rest";
        for size in 1..bytes.len() {
            let (mut records, mut parsed) = (Records::default(), Vec::new());
            for chunk in bytes.chunks(size) {
                let flow = records.push(chunk, &mut |record| {
                    parsed.push(record.to_vec());
                    ControlFlow::Continue(())
                });
                assert!(flow.is_continue());
            }
            assert_eq!(parsed, [&b"one"[..], b"", b"three and more"]);
        }
    }

    #[test]
    fn endless_record_is_rejected() {
        let mut records = Records::default();
        let mut chunks = 0;
        while records.push(&[b'x'; 1000], &mut |_| ControlFlow::Continue(())).is_continue() {
            chunks += 1;
        }
        assert!(chunks <= MAX_PATH_LEN / 1000 + 1, "{chunks}");
    }

    #[test]
    fn tree_entries_are_parsed_with_sizes() {
        let record = format!("100644 blob {HASH}      12\tsrc/a\tb c.rs");
        let parsed = parse_entry(record.as_bytes()).unwrap();
        assert_eq!((parsed.is_file, parsed.size, parsed.path), (true, Some(12), &b"src/a\tb c.rs"[..]));
        for (head, is_file) in
            [("120000 blob", false), ("160000 commit", false), ("040000 tree", false), ("100755 blob", true)]
        {
            let record = format!("{head} {HASH}       -\tx");
            let parsed = parse_entry(record.as_bytes()).unwrap();
            assert_eq!((parsed.is_file, parsed.size), (is_file, None), "{head}");
        }
        for record in ["", "\t", "100644 blob\tx", "100644 blob e\t"] {
            assert_eq!(parse_entry(record.as_bytes()), None, "{record}");
        }
    }

    #[test]
    fn too_many_paths_give_none() {
        let list = |count: usize, bytes: usize| {
            let mut paths = Paths::new(count, bytes);
            let _ = paths.push(b"a\0bb\0ccc\0");
            paths.into_paths()
        };
        assert_eq!(list(3, 6).unwrap(), ["a", "bb", "ccc"]);
        assert_eq!((list(2, 6), list(3, 5)), (None, None));
    }

    #[test]
    fn missing_objects_are_recognized() {
        let line = format!("{HASH} blob 12");
        let header = parse_object_header(&line).unwrap();
        assert_eq!((header.hash, header.is_blob, header.size), (HASH, true, 12));
        assert!(!parse_object_header(&format!("{HASH} tree 12")).unwrap().is_blob);
        for line in
            ["x missing", "main:a b missing", &format!("{HASH} blob"), &format!("{HASH} blob 1 2"), ""]
        {
            assert_eq!(parse_object_header(line), None, "{line}");
        }
    }
}
