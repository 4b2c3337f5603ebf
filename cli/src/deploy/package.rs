//! The zip of a function, as the `provided.al2023` runtime wants it: one executable file called `bootstrap`.

use flate2::{Compression, Crc, write::DeflateEncoder};
use std::io::{self, Write};

const ENTRY: &[u8] = b"bootstrap";
/// Deflate's number, and the version of the format that has it.
const DEFLATED: u16 = 8;
const VERSION: u16 = 20;
/// Made on Unix, so that the permissions are read.
const UNIX: u16 = 3 << 8;
/// 1 January 1980, the first date that the format knows: the same program always makes the same zip.
const DATE: u16 = (1 << 5) | 1;
/// A regular file that all may read and execute.
const MODE: u32 = 0o100_755;

/// The zip of `program`.
pub fn zip(program: &[u8]) -> io::Result<Vec<u8>> {
    let mut crc = Crc::new();
    crc.update(program);
    let mut deflater = DeflateEncoder::new(Vec::new(), Compression::best());
    deflater.write_all(program)?;
    let deflated = deflater.finish()?;
    let too_large = |_| io::Error::other("the program is larger than a function may be");
    let packed_size = u32::try_from(deflated.len()).map_err(too_large)?;
    let size = u32::try_from(program.len()).map_err(too_large)?;

    // What a file's header and the directory's entry have in common.
    let mut common = Fields::default();
    common.short(VERSION).short(0).short(DEFLATED).short(0).short(DATE);
    common.long(crc.sum()).long(packed_size).long(size);
    common.short(u16::try_from(ENTRY.len()).map_err(too_large)?).short(0);

    let mut zip = Fields::default();
    zip.long(0x0403_4b50).bytes(&common.0).bytes(ENTRY).bytes(&deflated);
    let directory = u32::try_from(zip.0.len()).map_err(too_large)?;
    zip.long(0x0201_4b50).short(UNIX | VERSION).bytes(&common.0);
    // No comment, disk 0, no internal attributes; then the mode, and where the file's header is.
    zip.short(0).short(0).short(0).long(MODE << 16).long(0).bytes(ENTRY);
    let directory_size = u32::try_from(zip.0.len()).map_err(too_large)? - directory;
    zip.long(0x0605_4b50).short(0).short(0).short(1).short(1).long(directory_size).long(directory).short(0);
    Ok(zip.0)
}

/// Whether these bytes are a zip.
pub fn is_zip(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04")
}

/// Numbers as the format writes them: the lowest byte first.
#[derive(Default)]
struct Fields(Vec<u8>);

impl Fields {
    fn short(&mut self, value: u16) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    fn long(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.0.extend_from_slice(value);
        self
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{is_zip, zip};
    use std::{fs, process::Command};

    /// Reads it as Lambda's emulators do, and prints what they see.
    const READER: &str = "
import sys, zipfile
archive = zipfile.ZipFile(sys.argv[1])
assert archive.testzip() is None
for entry in archive.infolist():
    print(entry.filename, oct(entry.external_attr >> 16), entry.date_time, len(archive.read(entry)))
";

    #[test]
    fn the_same_program_makes_the_same_zip_and_another_makes_another() {
        let program = b"a program ".repeat(1000);
        let packed = zip(&program).unwrap();
        assert!(is_zip(&packed) && packed.len() < program.len() / 10);
        assert_eq!(packed, zip(&program).unwrap());
        assert_ne!(packed, zip(b"another").unwrap());
    }

    #[test]
    fn others_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("api.zip");
        fs::write(&path, zip(&b"a program ".repeat(1000)).unwrap()).unwrap();
        let read = Command::new("python3").arg("-c").arg(READER).arg(&path).output();
        let Ok(read) = read else {
            eprintln!("skipped: there is no python3 to read the zip with");
            return;
        };
        assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
        let seen = String::from_utf8(read.stdout).unwrap();
        assert_eq!(seen, "bootstrap 0o100755 (1980, 1, 1, 0, 0, 0) 10000\n");
    }
}
