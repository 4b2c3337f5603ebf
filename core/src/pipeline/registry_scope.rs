//! Registries of images, and which of them a login applies to.

use std::fmt;

/// Docker Hub, the registry of images that name none.
pub const DOCKER_HUB: &str = "docker.io";
/// The address under which clients of Docker store their login for Docker Hub.
pub const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";
/// Other names of Docker Hub.
const DOCKER_HUB_ALIASES: [&str; 4] =
    ["index.docker.io", "registry-1.docker.io", "registry.hub.docker.com", "hub.docker.com"];
const MAX_LEN: usize = 300;

/// A registry, or the images under a path of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegistryScope {
    /// Host and port, in lower case; [`DOCKER_HUB`] for each of its names.
    pub host: String,
    /// The path, without slashes at its ends; empty: all images of the registry.
    pub path: String,
}

impl RegistryScope {
    /// Parses `HOST`, `HOST:PORT` or `HOST/PATH`. A scheme before it is ignored, and so is `/v1` or `/v2` after it, as in the
    /// files of Docker's clients. Returns `None` if it is none of these.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.len() > MAX_LEN {
            return None;
        }
        let text = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or(text);
        let (host, path) = text.split_once('/').unwrap_or((text, ""));
        let path = path.trim_end_matches('/');
        let path = if matches!(path, "v1" | "v2") { "" } else { path };
        let is_part = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        };
        (is_host(host) && (path.is_empty() || path.split('/').all(is_part)))
            .then(|| Self { host: canonical_host(host), path: path.to_owned() })
    }

    /// Returns the scope of one image: its registry, and its repository there.
    #[must_use]
    pub fn of_image(image: &str) -> Self {
        let name = image.split_once('@').map_or(image, |(name, _)| name);
        let last = name.rfind('/').map_or(0, |at| at + 1);
        let name = name[last..].find(':').map_or(name, |colon| &name[..last + colon]);
        let first = name.split_once('/');
        // As clients of Docker decide: a first part with a dot, a port or an upper-case letter is a registry.
        let names_registry = |part: &str| {
            part.contains(['.', ':']) || part == "localhost" || part.bytes().any(|b| b.is_ascii_uppercase())
        };
        let (host, repository) = match first.filter(|(host, _)| names_registry(host)) {
            Some((host, repository)) => (canonical_host(host), repository),
            None => (DOCKER_HUB.to_owned(), name),
        };
        let official = host == DOCKER_HUB && !repository.contains('/');
        let path = if official { format!("library/{repository}") } else { repository.to_owned() };
        Self { host, path }
    }

    /// Whether a login for `self` applies to `image`, a scope of one image.
    #[must_use]
    pub fn covers(&self, image: &Self) -> bool {
        let rest = image.path.strip_prefix(&self.path);
        self.host == image.host
            && (self.path.is_empty() || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    }

    /// Returns the address of the registry as clients of Docker and their credential helpers know it.
    #[must_use]
    pub fn server_address(&self) -> &str {
        if self.host == DOCKER_HUB { DOCKER_HUB_KEY } else { &self.host }
    }
}

impl fmt::Display for RegistryScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slash = if self.path.is_empty() { "" } else { "/" };
        write!(f, "{}{slash}{}", self.host, self.path)
    }
}

/// Whether `text` is a host name or an address, with or without a port.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, "")) => (address, None),
        Some((address, port)) => match port.strip_prefix(':') {
            Some(port) => (address, Some(port)),
            None => return false,
        },
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let inner = if text.starts_with('[') { ":." } else { ".-_" };
    !host.is_empty()
        && host.chars().all(|c| c.is_ascii_alphanumeric() || inner.contains(c))
        && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

fn canonical_host(host: &str) -> String {
    let host = host.to_ascii_lowercase();
    if DOCKER_HUB_ALIASES.contains(&host.as_str()) { DOCKER_HUB.to_owned() } else { host }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::RegistryScope;

    fn scope(host: &str, path: &str) -> RegistryScope {
        RegistryScope { host: host.into(), path: path.into() }
    }

    #[test]
    fn image_without_registry_is_on_docker_hub() {
        for (image, host, path) in [
            ("alpine", "docker.io", "library/alpine"),
            ("alpine:3", "docker.io", "library/alpine"),
            ("team/app:1", "docker.io", "team/app"),
            ("docker.io/alpine", "docker.io", "library/alpine"),
            ("index.docker.io/team/app", "docker.io", "team/app"),
            ("localhost/app", "localhost", "app"),
            ("localhost:5000/app:1", "localhost:5000", "app"),
            ("127.0.0.1:5000/a/b/c@sha256:00", "127.0.0.1:5000", "a/b/c"),
            ("Registry.example.com/app:1@sha256:00", "registry.example.com", "app"),
        ] {
            assert_eq!(RegistryScope::of_image(image), scope(host, path), "{image}");
        }
    }

    #[test]
    fn keys_of_docker_config_files_are_scopes() {
        for (text, host, path) in [
            ("https://index.docker.io/v1/", "docker.io", ""),
            ("docker.io", "docker.io", ""),
            ("https://registry.example.com:5000/v2/", "registry.example.com:5000", ""),
            ("http://127.0.0.1:5000", "127.0.0.1:5000", ""),
            ("ghcr.io/Team/", "ghcr.io", "Team"),
            ("[::1]:5000", "[::1]:5000", ""),
        ] {
            assert_eq!(RegistryScope::parse(text), Some(scope(host, path)), "{text}");
        }
        for text in [
            "",
            "/",
            "a b",
            "host:port",
            "host:99999",
            "host//x",
            "user@host",
            "host/../x y",
            "[::1",
            "ho\nst",
        ] {
            assert_eq!(RegistryScope::parse(text), None, "{text}");
        }
        assert_eq!(RegistryScope::parse(&"a".repeat(301)), None);
    }

    #[test]
    fn scope_covers_images_under_its_path_only() {
        let image = RegistryScope::of_image("ghcr.io/team/app:1");
        for (text, covers) in [
            ("ghcr.io", true),
            ("ghcr.io/team", true),
            ("ghcr.io/team/app", true),
            ("ghcr.io/tea", false),
            ("ghcr.io/team/app/x", false),
            ("ghcr.io:443", false),
            ("docker.io", false),
        ] {
            assert_eq!(RegistryScope::parse(text).unwrap().covers(&image), covers, "{text}");
        }
    }
}
