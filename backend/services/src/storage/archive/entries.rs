//! The entries of a tar as a stream. Long names and extended headers, which a tar holds before an entry, are bounded: a job wrote them.

use std::io::{self, ErrorKind, Read};
use tar::{EntryType, Header, PaxExtensions};

/// Size of a header, and of what data is padded to.
const BLOCK_SIZE: usize = 512;
/// Position of the checksum in a header.
const CHECKSUM: std::ops::Range<usize> = 148..156;
/// Maximum size of a long name or an extended header, in bytes.
const MAX_EXTENSION_SIZE: u64 = 1 << 20;
/// Maximum number of headers of an archive.
const MAX_HEADERS: u32 = 2_000_000;

/// Reads the entries of a tar one after the other. As a reader, it has the data of the last one.
pub struct Entries<R> {
    reader: R,
    /// Bytes of the entry's data that were not read.
    data: u64,
    /// Zeros after them.
    padding: u64,
    headers: u32,
}

/// An entry without its data.
pub struct EntryHead {
    pub header: Header,
    /// Path, without `./` before it.
    pub path: Vec<u8>,
    /// Target of a link.
    pub target: Vec<u8>,
    /// Number of bytes of its data.
    pub size: u64,
}

/// What the headers before an entry say of it.
#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    size: Option<u64>,
}

impl<R: Read> Entries<R> {
    pub const fn new(reader: R) -> Self {
        Self { reader, data: 0, padding: 0, headers: 0 }
    }

    /// Skips what is left of the last entry, and returns the next one.
    pub fn next_entry(&mut self) -> io::Result<Option<EntryHead>> {
        let mut extensions = Extensions::default();
        loop {
            self.skip()?;
            let Some(header) = self.header()? else { return Ok(None) };
            let kind = header.entry_type();
            match kind {
                EntryType::GNULongName => extensions.path = Some(self.name(&header)?),
                EntryType::GNULongLink => extensions.target = Some(self.name(&header)?),
                EntryType::XHeader => extensions.add(&self.extension(&header)?)?,
                EntryType::XGlobalHeader => self.begin(header.entry_size()?)?,
                EntryType::GNUSparse => {
                    return Err(io::Error::new(ErrorKind::Unsupported, "the archive has sparse files"));
                }
                _ => {
                    let size = extensions.size.map_or_else(|| header.entry_size(), Ok)?;
                    self.begin(size)?;
                    let path = extensions.path.unwrap_or_else(|| header.path_bytes().into_owned());
                    let path = match path.strip_prefix(b"./") {
                        Some(rest) => rest.to_vec(),
                        None => path,
                    };
                    let own_target = || header.link_name_bytes().unwrap_or_default().into_owned();
                    let target = extensions.target.unwrap_or_else(own_target);
                    return Ok(Some(EntryHead { header, path, target, size }));
                }
            }
        }
    }

    /// Reads a header; `None` at the end of the archive.
    fn header(&mut self) -> io::Result<Option<Header>> {
        let mut block = Vec::with_capacity(BLOCK_SIZE);
        self.reader.by_ref().take(BLOCK_SIZE as u64).read_to_end(&mut block)?;
        if !block.is_empty() && block.len() < BLOCK_SIZE {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        self.headers += 1;
        if self.headers > MAX_HEADERS {
            return Err(invalid("the archive has too many entries"));
        }
        let byte = |(at, byte): (usize, &u8)| u32::from(if CHECKSUM.contains(&at) { b' ' } else { *byte });
        let sum: u32 = block.iter().enumerate().map(byte).sum();
        let header = Header::from_byte_slice(&block).clone();
        if header.cksum()? != sum {
            return Err(invalid("a header of the archive has a wrong checksum"));
        }
        Ok(Some(header))
    }

    fn begin(&mut self, size: u64) -> io::Result<()> {
        self.data = size;
        self.padding = (BLOCK_SIZE as u64 - size % BLOCK_SIZE as u64) % BLOCK_SIZE as u64;
        size.checked_add(self.padding).map(drop).ok_or_else(|| invalid("an entry is too large"))
    }

    fn skip(&mut self) -> io::Result<()> {
        let left = self.data + self.padding;
        let skipped = io::copy(&mut self.reader.by_ref().take(left), &mut io::sink())?;
        (self.data, self.padding) = (0, 0);
        if skipped == left { Ok(()) } else { Err(ErrorKind::UnexpectedEof.into()) }
    }

    /// Reads the data of a header that belongs to the next entry.
    fn extension(&mut self, header: &Header) -> io::Result<Vec<u8>> {
        let size = header.entry_size()?;
        if size > MAX_EXTENSION_SIZE {
            return Err(invalid("a name or an extended header of the archive is too long"));
        }
        self.begin(size)?;
        let mut data = Vec::new();
        self.read_to_end(&mut data)?;
        Ok(data)
    }

    fn name(&mut self, header: &Header) -> io::Result<Vec<u8>> {
        let mut name = self.extension(header)?;
        name.truncate(name.iter().position(|byte| *byte == 0).unwrap_or(name.len()));
        Ok(name)
    }
}

impl<R: Read> Read for Entries<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.data == 0 || buffer.is_empty() {
            return Ok(0);
        }
        let number = self.reader.by_ref().take(self.data).read(buffer)?;
        if number == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.data -= number as u64;
        Ok(number)
    }
}

impl Extensions {
    fn add(&mut self, data: &[u8]) -> io::Result<()> {
        for extension in PaxExtensions::new(data) {
            let extension = extension?;
            let value = extension.value_bytes();
            match extension.key_bytes() {
                b"path" => self.path = Some(value.to_vec()),
                b"linkpath" => self.target = Some(value.to_vec()),
                b"size" => {
                    let size = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                    self.size = Some(size.ok_or_else(|| invalid("an extended header has no valid size"))?);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn invalid(message: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, message)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Entries, EntryHead, MAX_EXTENSION_SIZE};
    use std::io::{self, ErrorKind, Read};
    use tar::{Builder, EntryType, Header};

    fn header(kind: EntryType, size: u64) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_cksum();
        header
    }

    fn all(tar: &[u8]) -> io::Result<Vec<(EntryHead, Vec<u8>)>> {
        let mut entries = Entries::new(tar);
        let mut all = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            let mut data = Vec::new();
            // The next entry begins after the rest of the data.
            if all.len() % 2 == 0 {
                entries.read_to_end(&mut data)?;
            }
            all.push((entry, data));
        }
        Ok(all)
    }

    #[test]
    fn long_names_links_and_extended_headers_are_read() {
        let mut builder = Builder::new(Vec::new());
        let long = "directory/".repeat(40);
        let file = |path: &str| format!("{long}{path}");
        builder.append_data(&mut header(EntryType::Regular, 3), file("a"), &b"abc"[..]).unwrap();
        builder.append_data(&mut header(EntryType::Regular, 4), "./b", &b"skip"[..]).unwrap();
        builder.append_link(&mut header(EntryType::Symlink, 0), "c", file("target")).unwrap();
        builder.append_pax_extensions([("path", &b"ext"[..]), ("size", &b"2"[..])]).unwrap();
        builder.append(&header(EntryType::Regular, 0), &b""[..]).unwrap();
        let mut tar = builder.into_inner().unwrap();
        // The data of the last entry, before the end.
        let end = tar.len() - 1024;
        drop(tar.splice(end..end, *b"xy"));
        let padding = end + 2;
        drop(tar.splice(padding..padding, [0; 510]));
        let all = all(&tar).unwrap();
        let names: Vec<_> = all.iter().map(|(entry, _)| String::from_utf8_lossy(&entry.path)).collect();
        assert_eq!(names, [file("a").as_str(), "b", "c", "ext"]);
        assert_eq!((&all[0].1[..], all[1].0.size, all[3].0.size), (&b"abc"[..], 4, 2));
        assert_eq!(all[2].0.target, file("target").as_bytes());
    }

    #[test]
    fn endless_names_are_not_read_to_memory() {
        for kind in [EntryType::GNULongName, EntryType::GNULongLink, EntryType::XHeader] {
            let head = header(kind, MAX_EXTENSION_SIZE + 1);
            // A reader that would go on for longer than a test.
            let mut entries = Entries::new((&head.as_bytes()[..]).chain(io::repeat(b'a')));
            let error = entries.next_entry().err().unwrap();
            assert_eq!(error.kind(), ErrorKind::InvalidData, "{kind:?}");
            assert!(error.to_string().contains("too long"), "{kind:?}: {error}");
        }
    }

    #[test]
    fn damaged_archives_are_errors() {
        let mut wrong = header(EntryType::Regular, 0).as_bytes().to_vec();
        wrong[0] = b'x';
        assert_eq!(all(&wrong).err().unwrap().kind(), ErrorKind::InvalidData);
        let short = header(EntryType::Regular, 600);
        let cut: Vec<u8> = short.as_bytes().iter().copied().chain([1; 512]).collect();
        assert_eq!(all(&cut).err().unwrap().kind(), ErrorKind::UnexpectedEof);
        assert_eq!(all(&cut[..100]).err().unwrap().kind(), ErrorKind::UnexpectedEof);
        let huge = header(EntryType::Regular, u64::MAX);
        assert_eq!(all(huge.as_bytes()).err().unwrap().kind(), ErrorKind::InvalidData);
        assert!(all(&[0; 1024]).unwrap().is_empty());
    }
}
