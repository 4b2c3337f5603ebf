//! The connection to a container engine: its address, and why it fails.

use bollard::{Docker, errors::Error as EngineError};
use std::{error::Error, fmt, io::ErrorKind, path::PathBuf};

/// Docker's socket.
pub(super) const DOCKER_SOCKET: &str = "unix:///var/run/docker.sock";

/// The reason why no container engine can be reached at an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineFailure {
    /// The address is not one of an engine; the text says what to write instead.
    Address(String),
    /// The user may not open the socket.
    PermissionDenied,
    /// There is no such socket.
    NoSocket,
    /// No process listens.
    Refused,
    /// Another failure, as text.
    Other(String),
}

impl fmt::Display for EngineFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(advice) => write!(f, "this is not the address of an engine: {advice}"),
            Self::PermissionDenied => f.write_str(
                "permission denied: add your user to the group of the socket, usually `docker`, with \
                 `sudo usermod -aG docker $USER`, and log in again; members of that group have all rights on this machine",
            ),
            Self::NoSocket => f.write_str(
                "the socket does not exist: start Docker or Podman, or set DOCKER_HOST to the engine's address",
            ),
            Self::Refused => f.write_str(
                "no process listens there: start Docker or Podman, or set DOCKER_HOST to the engine's address",
            ),
            Self::Other(text) => {
                write!(f, "{text}; start Docker or Podman, or set DOCKER_HOST to the engine's address")
            }
        }
    }
}

impl From<&EngineError> for EngineFailure {
    fn from(error: &EngineError) -> Self {
        let mut next: Option<&(dyn Error + 'static)> = Some(error);
        while let Some(cause) = next {
            match cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind) {
                Some(ErrorKind::PermissionDenied) => return Self::PermissionDenied,
                Some(ErrorKind::NotFound) => return Self::NoSocket,
                Some(ErrorKind::ConnectionRefused) => return Self::Refused,
                _ => {}
            }
            next = cause.source();
        }
        match error {
            EngineError::SocketNotFoundError(_) => Self::NoSocket,
            error => Self::Other(describe(error)),
        }
    }
}

/// Connects to the engine at `host`, in the form of `DOCKER_HOST`.
pub(super) async fn connect(host: &str) -> Result<Docker, EngineFailure> {
    check_address(host)?;
    let connected = async { Docker::connect_with_host(host)?.negotiate_version().await };
    connected.await.map_err(|error| EngineFailure::from(&error))
}

/// Returns an error unless `host` is an address of a kind that is supported.
fn check_address(host: &str) -> Result<(), EngineFailure> {
    let invalid = |advice: String| Err(EngineFailure::Address(advice));
    let Some((scheme, rest)) = host.split_once("://") else {
        return invalid(if host.starts_with('/') {
            format!("write unix://{host}")
        } else {
            "write unix:///PATH for a socket, or tcp://HOST:PORT".to_owned()
        });
    };
    match scheme {
        "unix" if rest.starts_with('/') => Ok(()),
        "unix" => invalid("the path after unix:// must be absolute, as in unix:///var/run/docker.sock".into()),
        "tcp" | "http" if has_port(rest) => Ok(()),
        "tcp" | "http" => invalid(format!("add a port, as in {scheme}://HOST:2375")),
        "ssh" => invalid(
            "ssh:// is not supported; forward the engine's socket with `ssh -nNT -L /tmp/engine.sock:/var/run/docker.sock \
             HOST`, and set DOCKER_HOST=unix:///tmp/engine.sock"
                .into(),
        ),
        _ => invalid(format!("{scheme}:// is not supported; write unix:///PATH for a socket, or tcp://HOST:PORT")),
    }
}

/// Returns whether a host with an optional path has a port.
fn has_port(rest: &str) -> bool {
    let authority = rest.split('/').next().unwrap_or_default();
    let Some((host, port)) = authority.rsplit_once(':') else { return false };
    !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// Describes an error of the engine's client: by its causes, without the layers of the HTTP client around them.
pub(in crate::engine) fn describe(error: &EngineError) -> String {
    let EngineError::HyperLegacyError { err } = error else { return crate::client::format_causes(error) };
    err.source().map_or_else(|| err.to_string(), crate::client::format_causes)
}

/// Returns the sockets of Docker, rootless Docker and Podman (Docker-compatible), if they exist; Docker's always.
pub(super) fn default_sockets() -> Vec<String> {
    let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR").filter(|path| !path.is_empty()).map(PathBuf::from);
    let names = ["docker.sock", "podman/podman.sock"];
    let of_user = runtime_dir.iter().flat_map(|directory| names.map(|name| directory.join(name)));
    let existing = of_user.chain([PathBuf::from("/run/podman/podman.sock")]).filter(|path| path.exists());
    let existing = existing.map(|path| format!("unix://{}", path.display()));
    std::iter::once(DOCKER_SOCKET.to_owned()).chain(existing).collect()
}

#[cfg(test)]
mod tests {
    use super::{EngineFailure, check_address};

    #[test]
    fn addresses_of_engines_are_accepted_and_others_say_what_to_write() {
        for valid in
            ["unix:///var/run/docker.sock", "tcp://127.0.0.1:2375", "http://[::1]:2375", "tcp://a:1/b"]
        {
            assert_eq!(check_address(valid), Ok(()), "{valid}");
        }
        for (invalid, advice) in [
            ("/var/run/docker.sock", "write unix:///var/run/docker.sock"),
            ("docker.sock", "unix:///PATH"),
            ("localhost:2375", "tcp://HOST:PORT"),
            ("unix://docker.sock", "must be absolute"),
            ("tcp://localhost", "add a port"),
            ("tcp://localhost:port", "add a port"),
            ("tcp://:2375", "add a port"),
            ("tcp://localhost:0", "add a port"),
            ("ssh://host", "ssh -nNT -L"),
            ("https://host:2376", "https:// is not supported"),
            ("npipe:////./pipe/docker_engine", "npipe:// is not supported"),
            ("", "unix:///PATH"),
        ] {
            let failure = check_address(invalid);
            assert!(
                matches!(&failure, Err(EngineFailure::Address(text)) if text.contains(advice)),
                "{invalid}: {failure:?}"
            );
        }
    }
}
