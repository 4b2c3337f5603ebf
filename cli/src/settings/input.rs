//! Reads text that users name or pipe in, within limits: it may be a device without an end, or a link to one.

use crate::failure::{Failure, Outcome};
use std::{fs::File, io::Read, path::Path};

/// Maximum size in bytes of a value that a user passes: a secret, a token, a credential. Servers accept less.
pub const MAX_VALUE_LEN: u64 = 1 << 20;

/// Reads a text file of at most `max` bytes.
pub fn read_file(path: &Path, max: u64) -> Outcome<String> {
    let name = path.display().to_string();
    let file = File::open(path).map_err(|error| Failure::usage(format!("{name} cannot be read: {error}")))?;
    read(file, &name, max)
}

/// Reads a value, such as a password, from a file, without the line breaks at its end.
pub fn read_value(path: &Path) -> Outcome<String> {
    Ok(read_file(path, MAX_VALUE_LEN)?.trim_end_matches(['\n', '\r']).to_owned())
}

/// Reads text of at most `max` bytes. `name` is that of the input in messages.
pub fn read(input: impl Read, name: &str, max: u64) -> Outcome<String> {
    let mut bytes = Vec::new();
    input
        .take(max + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::usage(format!("{name} cannot be read: {error}")))?;
    if bytes.len() as u64 > max {
        return Err(Failure::usage(format!("{name} has more than {max} bytes, the maximum")));
    }
    String::from_utf8(bytes)
        .map_err(|_| Failure::usage(format!("{name} is not UTF-8 text; save it with the encoding UTF-8")))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{read, read_file};
    use std::path::Path;

    #[test]
    fn endless_input_is_rejected_and_shorter_input_is_read() {
        let message = read_file(Path::new("/dev/zero"), 10).unwrap_err().message;
        assert_eq!(message, "/dev/zero has more than 10 bytes, the maximum");
        assert_eq!(read(&b"0123456789"[..], "text", 10).unwrap(), "0123456789");
        assert!(read(&b"0123456789a"[..], "text", 10).is_err());
        assert!(read(&b"\xff"[..], "text", 10).unwrap_err().message.contains("not UTF-8"));
        assert!(
            read_file(Path::new("/no/such"), 10).unwrap_err().message.starts_with("/no/such cannot be read")
        );
    }
}
