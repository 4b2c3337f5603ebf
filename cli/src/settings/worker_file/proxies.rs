//! The proxies of a user, for `tidemill run`.

use serde::Deserialize;
use std::{collections::HashMap, fs, path::Path};
use tidemill_core::api::page::is_loopback;
use tidemill_worker::policy::Proxies;

/// Maximum size of the engine's config file that is read.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The part of the config file of the engine's client that is read.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct DockerConfig {
    proxies: HashMap<String, ProxyEntry>,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[allow(clippy::struct_field_names)] // Docker's names.
struct ProxyEntry {
    http_proxy: Option<String>,
    https_proxy: Option<String>,
    ftp_proxy: Option<String>,
    all_proxy: Option<String>,
    no_proxy: Option<String>,
}

/// Returns the proxies that the engine's client gives to containers (`proxies` in its config file, for the engine at
/// `docker_host` or by default), otherwise those of this process's environment that containers can reach.
pub fn user_proxies(
    config_file: Option<&Path>,
    docker_host: Option<&str>,
    variable: impl Fn(&str) -> Option<String>,
) -> Proxies {
    let configured = config_file.and_then(|path| of_docker_config(path, docker_host)).unwrap_or_default();
    if !configured.is_empty() {
        return configured;
    }
    let of = |name: &str| {
        let value = variable(name).or_else(|| variable(&name.to_ascii_uppercase()));
        value.filter(|value| !value.is_empty())
    };
    // In a container, a loopback address is the container itself.
    let reachable = |name: &str| of(name).filter(|url| !is_loopback(url));
    Proxies {
        http: reachable("http_proxy"),
        https: reachable("https_proxy"),
        ftp: reachable("ftp_proxy"),
        all: reachable("all_proxy"),
        none: of("no_proxy"),
    }
}

fn of_docker_config(path: &Path, docker_host: Option<&str>) -> Option<Proxies> {
    if fs::metadata(path).ok()?.len() > MAX_FILE_BYTES {
        return None;
    }
    // An invalid file is reported where logins are read from it.
    let config: DockerConfig = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    let entry =
        docker_host.and_then(|host| config.proxies.get(host)).or_else(|| config.proxies.get("default"))?;
    let ProxyEntry { http_proxy, https_proxy, ftp_proxy, all_proxy, no_proxy } = entry.clone();
    Some(Proxies { http: http_proxy, https: https_proxy, ftp: ftp_proxy, all: all_proxy, none: no_proxy })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::user_proxies;

    #[test]
    fn docker_configuration_wins_over_the_environment() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.json");
        let text = r#"{ "auths": {}, "proxies": { "default": { "httpsProxy": "http://p:1", "noProxy": ".corp" },
            "tcp://other:2375": { "httpProxy": "http://q:1" } } }"#;
        std::fs::write(&file, text).unwrap();
        let environment = |name: &str| (name == "HTTPS_PROXY").then(|| "http://e:1".to_owned());
        let proxies = user_proxies(Some(&file), None, environment);
        assert_eq!((proxies.https.as_deref(), proxies.none.as_deref()), (Some("http://p:1"), Some(".corp")));
        let proxies = user_proxies(Some(&file), Some("tcp://other:2375"), environment);
        assert_eq!((proxies.https, proxies.http.as_deref()), (None, Some("http://q:1")));
        std::fs::write(&file, "not JSON").unwrap();
        assert_eq!(user_proxies(Some(&file), None, environment).https.as_deref(), Some("http://e:1"));
    }

    #[test]
    fn proxy_on_the_loopback_interface_is_not_passed_on() {
        for url in ["http://127.0.0.1:3128", "localhost:3128", "http://user:pw@localhost", "http://[::1]:1/"]
        {
            let proxies = user_proxies(None, None, |name| (name == "http_proxy").then(|| url.to_owned()));
            assert!(proxies.is_empty(), "{url}");
        }
    }
}
