//! The limit of open files, and the number of connections that it allows.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors reserved for the stores, the engine, git and other files.
const RESERVED_DESCRIPTORS: u64 = 256;
/// Descriptors per connection: its socket, a file for an upload or download, and a share of the local workers' connections.
const DESCRIPTORS_PER_CONNECTION: u64 = 3;
/// Minimum number of connections that the server needs to work.
const MIN_CONNECTIONS: u64 = 16;

/// Raises the process's limit of open files to the hard limit, and returns it.
pub fn raise_open_file_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return limit.current.unwrap_or(u64::MAX);
    }
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum.unwrap_or(u64::MAX),
        Err(error) => {
            tracing::warn!(%error, "cannot raise the limit of open files");
            limit.current.unwrap_or(u64::MAX)
        }
    }
}

/// Returns the number of connections, at most `requested`, that a limit of `open_files` allows.
#[must_use]
pub fn allowed_connections(open_files: u64, requested: usize) -> usize {
    let allowed =
        (open_files.saturating_sub(RESERVED_DESCRIPTORS) / DESCRIPTORS_PER_CONNECTION).max(MIN_CONNECTIONS);
    usize::try_from(allowed).map_or(requested, |allowed| requested.min(allowed))
}

#[cfg(test)]
mod tests {
    use super::allowed_connections;

    #[test]
    fn connection_limit_reserves_descriptors() {
        assert_eq!(allowed_connections(1_024, 2_048), 256);
        assert_eq!(allowed_connections(1 << 20, 2_048), 2_048);
        assert_eq!(allowed_connections(10, 2_048), 16);
        assert_eq!(allowed_connections(u64::MAX, 4), 4);
    }
}
