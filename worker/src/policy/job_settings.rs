//! What every job of a worker gets.

use indexmap::IndexMap;
use std::{net::IpAddr, time::Duration};
use tidemill_core::execution::assignment::{Assignment, PullPolicy};

/// What every job gets: settings of its containers that its file does not name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobSettings {
    /// Environment variables; those of a job win.
    pub environment: IndexMap<String, String>,
    /// Proxies to the network beyond the machine.
    pub proxies: Proxies,
    /// Certificate authorities to trust, in PEM form.
    pub ca_certificates: Option<String>,
    /// Directories and files of the machine.
    pub mounts: Vec<HostMount>,
    /// Addresses of host names; those of a job win.
    pub extra_hosts: IndexMap<String, String>,
    /// DNS servers; those of a job win.
    pub dns: Vec<IpAddr>,
    /// The network of jobs that choose none; `None`: one of their own.
    pub network: Option<String>,
    /// How images are pulled.
    pub images: ImageSettings,
}

impl JobSettings {
    /// Sets the variables of a job with services so that they are reached without a proxy, unless the job sets them itself.
    pub fn bypass_proxies(&self, assignment: &mut Assignment) {
        let services = &assignment.extras.services;
        let variables = &mut assignment.variables;
        let is_set = ["no_proxy", "NO_PROXY"].into_iter().any(|name| variables.contains_key(name));
        if services.is_empty() || is_set {
            return;
        }
        let names = services.iter().flat_map(|service| &service.alias).map(String::as_str);
        let bypass = self.proxies.variables(names).into_iter();
        variables.extend(bypass.filter(|(name, _)| name.eq_ignore_ascii_case("no_proxy")));
    }
}

/// Proxies, as URLs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For `http://` addresses.
    pub http: Option<String>,
    /// For `https://` addresses.
    pub https: Option<String>,
    /// For `ftp://` addresses.
    pub ftp: Option<String>,
    /// For all others.
    pub all: Option<String>,
    /// Hosts that are reached without a proxy, separated by commas.
    pub none: Option<String>,
}

/// A directory or file of the machine in every job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostMount {
    /// Its path on the engine's machine.
    pub source: String,
    /// Its path in the container.
    pub target: String,
    /// Whether jobs can only read it.
    pub read_only: bool,
    /// Whether jobs of forks get it, too.
    pub forks: bool,
}

/// How images are pulled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageSettings {
    /// Registries to pull from first, by the registry in an image's name; `docker.io` for names without one.
    pub mirrors: IndexMap<String, Vec<String>>,
    /// When images are pulled whose job does not say it.
    pub pull_policy: PullPolicy,
    /// How long a pulled image is kept that no job uses; `None`: until the disk is nearly full.
    pub max_age: Option<Duration>,
}

impl Proxies {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the environment variables for programs, in both spellings. `services` are reached without a proxy.
    pub fn variables<'a>(&self, services: impl Iterator<Item = &'a str>) -> Vec<(String, String)> {
        let Self { http, https, ftp, all, none } = self;
        if [http, https, ftp, all].iter().all(|proxy| proxy.is_none()) {
            return Vec::new();
        }
        let local = ["localhost", "127.0.0.1", "::1"].into_iter().map(str::to_owned);
        let configured = none.iter().filter(|hosts| !hosts.is_empty()).cloned();
        let none: Vec<String> = configured.chain(local).chain(services.map(str::to_owned)).collect();
        let none = Some(none.join(","));
        let mut variables = Vec::new();
        for (name, value) in [
            ("http_proxy", http),
            ("https_proxy", https),
            ("ftp_proxy", ftp),
            ("all_proxy", all),
            ("no_proxy", &none),
        ] {
            if let Some(value) = value {
                variables.push((name.to_owned(), value.clone()));
                variables.push((name.to_ascii_uppercase(), value.clone()));
            }
        }
        variables
    }
}

impl ImageSettings {
    /// Returns other names under which `image` can be pulled, in the order in which to try them. An image of a digest is the same
    /// everywhere; one of a tag is what the mirror has.
    pub fn mirrored(&self, image: &str) -> Vec<String> {
        let first =
            image.split_once('/').filter(|(first, _)| first.contains(['.', ':']) || *first == "localhost");
        let (registry, path) = match first {
            Some(("docker.io" | "index.docker.io", path)) => ("docker.io", path),
            Some((registry, path)) => (registry, path),
            None => ("docker.io", image),
        };
        let is_official = registry == "docker.io" && !path.contains('/');
        let path = if is_official { format!("library/{path}") } else { path.to_owned() };
        self.mirrors.get(registry).into_iter().flatten().map(|mirror| format!("{mirror}/{path}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{ImageSettings, Proxies};

    #[test]
    fn proxies_are_set_in_both_spellings_and_bypassed_for_services() {
        assert!(
            Proxies { none: Some("x".into()), ..Proxies::default() }.variables(["db"].into_iter()).is_empty()
        );
        let proxies =
            Proxies { https: Some("http://p:1".into()), none: Some(".corp".into()), ..Proxies::default() };
        let expected = [
            ("https_proxy", "http://p:1"),
            ("HTTPS_PROXY", "http://p:1"),
            ("no_proxy", ".corp,localhost,127.0.0.1,::1,db"),
            ("NO_PROXY", ".corp,localhost,127.0.0.1,::1,db"),
        ];
        assert_eq!(
            proxies.variables(["db"].into_iter()),
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
    }

    #[test]
    fn mirror_replaces_the_registry_of_an_image() {
        let mut images = ImageSettings::default();
        images.mirrors.insert("docker.io".into(), vec!["mirror:5000".into(), "other/hub".into()]);
        images.mirrors.insert("ghcr.io".into(), vec!["mirror:5000/ghcr".into()]);
        for (image, expected) in [
            ("alpine:3", vec!["mirror:5000/library/alpine:3", "other/hub/library/alpine:3"]),
            (
                "docker.io/library/alpine:3",
                vec!["mirror:5000/library/alpine:3", "other/hub/library/alpine:3"],
            ),
            ("team/app", vec!["mirror:5000/team/app", "other/hub/team/app"]),
            ("ghcr.io/a/b@sha256:0", vec!["mirror:5000/ghcr/a/b@sha256:0"]),
            ("localhost/a", vec![]),
            ("quay.io/a/b", vec![]),
        ] {
            assert_eq!(images.mirrored(image), expected, "{image}");
        }
    }
}
