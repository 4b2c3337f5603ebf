//! How many files this process may have open, and how many of them connections get.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that are kept for the stores, the engine, git and what else a server opens.
const RESERVED_DESCRIPTORS: u64 = 256;
/// Files that one connection may need: its socket, and an upload or a download; and a part of a connection of the server's own workers.
const DESCRIPTORS_PER_CONNECTION: u64 = 3;
/// The fewest connections: below this nothing works anyhow.
const MIN_CONNECTIONS: u64 = 16;

/// Raises this process's limit of open files as far as it may, and gives it.
pub fn raise_open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return limit.current.unwrap_or(u64::MAX);
    }
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum.unwrap_or(u64::MAX),
        Err(error) => {
            tracing::warn!(%error, "the limit of open files stays as it is");
            limit.current.unwrap_or(u64::MAX)
        }
    }
}

/// How many of the `wanted` connections there can be where so many files may be open.
#[must_use]
pub fn connections_within(open_files: u64, wanted: usize) -> usize {
    let room =
        (open_files.saturating_sub(RESERVED_DESCRIPTORS) / DESCRIPTORS_PER_CONNECTION).max(MIN_CONNECTIONS);
    usize::try_from(room).map_or(wanted, |room| wanted.min(room))
}

#[cfg(test)]
mod tests {
    use super::connections_within;

    #[test]
    fn connection_limit_reserves_descriptors() {
        assert_eq!(connections_within(1_024, 2_048), 256);
        assert_eq!(connections_within(1 << 20, 2_048), 2_048);
        assert_eq!(connections_within(10, 2_048), 16);
        assert_eq!(connections_within(u64::MAX, 4), 4);
    }
}
