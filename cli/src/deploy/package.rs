//! The zip of a function, as the `provided.al2023` runtime expects it: one executable file named `bootstrap`.

use std::io::{Cursor, Write};
use zip::{CompressionMethod, DateTime, ZipWriter, result::ZipResult, write::SimpleFileOptions};

const FILE_NAME: &str = "bootstrap";
/// Permissions of the file: everyone may read and execute it.
const MODE: u32 = 0o755;

/// Creates the zip of `program`. The output is reproducible.
pub fn zip(program: &[u8]) -> ZipResult<Vec<u8>> {
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(9))
        .unix_permissions(MODE)
        // The current time would make the output irreproducible.
        .last_modified_time(DateTime::default());
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    archive.start_file(FILE_NAME, options)?;
    archive.write_all(program)?;
    Ok(archive.finish()?.into_inner())
}

/// Returns whether these bytes are a zip.
pub fn is_zip(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{is_zip, zip};
    use std::{fs, process::Command};

    /// Python program that reads the zip like Lambda emulators do, and prints its entries.
    const READER: &str = "
import sys, zipfile
archive = zipfile.ZipFile(sys.argv[1])
assert archive.testzip() is None
for entry in archive.infolist():
    print(entry.filename, oct(entry.external_attr >> 16), entry.date_time, len(archive.read(entry)))
";

    #[test]
    fn zip_depends_only_on_the_program() {
        let program = b"a program ".repeat(1000);
        let packed = zip(&program).unwrap();
        assert!(is_zip(&packed) && packed.len() < program.len() / 10);
        assert_eq!(packed, zip(&program).unwrap());
        assert_ne!(packed, zip(b"another").unwrap());
    }

    #[test]
    fn zip_is_readable_by_python() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("api.zip");
        fs::write(&path, zip(&b"a program ".repeat(1000)).unwrap()).unwrap();
        let read = Command::new("python3").arg("-c").arg(READER).arg(&path).output();
        let Ok(read) = read else {
            eprintln!("skipped: python3 is not installed");
            return;
        };
        assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
        let entries = String::from_utf8(read.stdout).unwrap();
        assert_eq!(entries, "bootstrap 0o100755 (1980, 1, 1, 0, 0, 0) 10000\n");
    }
}
