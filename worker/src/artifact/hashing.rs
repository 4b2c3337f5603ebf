//! Hashes bytes as they are read.

use sha2::{Digest, Sha256};
use std::io::{self, Read};

/// A reader that hashes the bytes read.
pub(super) struct HashingReader<R> {
    pub bytes: R,
    pub hash: Sha256,
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.bytes.read(buffer)?;
        self.hash.update(&buffer[..count]);
        Ok(count)
    }
}
