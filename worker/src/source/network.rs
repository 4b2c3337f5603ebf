//! Restricts the hosts that git may contact, whatever their names resolve to.
//!
//! Users who may start jobs choose hosts, and servers that redirect. So the address is checked when git connects: HTTP goes
//! through a proxy in this process, which checks each redirect as well; SSH and git's own protocol, which have no
//! redirects, get the checked IP address.

mod credential;
mod proxy;
mod resolver;
mod set_up;

pub use credential::ssh_options;
pub use resolver::Resolver;
pub use set_up::GitSetUp;

use super::git::{self, SourceError, process::ProcessLimits};
use credential::JobCredential;
use proxy::{GitProxy, ProxyCredential};
use resolver::{ConnectError, SystemResolver, permitted_addresses};
use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    process::Command,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};
use tidemill_core::repository::{
    AddressPolicy, AddressPolicyError, Credentials, HostName, RepositoryAddress, Scheme,
    credential::SourceCredential,
};

/// Environment variables of the operator's own HTTP proxy, which then decides which hosts git may contact.
const PROXY_VARIABLES: [&str; 5] = ["http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];

/// The hosts that git may contact, and the credentials for them; cheap to clone.
#[derive(Debug, Clone)]
pub struct HostPolicy {
    shared: Arc<HostPolicyState>,
    /// The credential of the job that git runs for.
    credential: Option<Arc<JobCredential>>,
    /// Whether no credential is used at all.
    is_anonymous: bool,
}

#[derive(Debug)]
struct HostPolicyState {
    policy: AddressPolicy,
    resolver: Arc<dyn Resolver>,
    proxy: OnceLock<GitProxy>,
    /// Credentials by origin: `https://host:port`.
    credentials: Mutex<HashMap<String, Credentials>>,
}

impl Default for HostPolicy {
    fn default() -> Self {
        Self::new(AddressPolicy::default())
    }
}

impl HostPolicy {
    /// Creates a host policy with the system's resolver.
    #[must_use]
    pub fn new(policy: AddressPolicy) -> Self {
        Self::with_resolver(policy, Arc::new(SystemResolver))
    }

    /// Creates a host policy that resolves names with `resolver`.
    #[must_use]
    pub fn with_resolver(policy: AddressPolicy, resolver: Arc<dyn Resolver>) -> Self {
        let (gate, credentials) = (OnceLock::new(), Mutex::default());
        let shared = Arc::new(HostPolicyState { policy, resolver, proxy: gate, credentials });
        Self { shared, credential: None, is_anonymous: false }
    }

    /// Returns the policy for a job that came with `credential`.
    #[must_use]
    pub fn with_credential(&self, credential: Option<Arc<SourceCredential>>) -> Self {
        let credential = credential.map(|credential| Arc::new(JobCredential::new(credential)));
        Self { shared: self.shared.clone(), credential, is_anonymous: self.is_anonymous }
    }

    /// Returns the policy for what everyone can read: neither the credential of a job nor that of a host is used.
    #[must_use]
    pub fn without_credentials(&self) -> Self {
        Self { shared: self.shared.clone(), credential: None, is_anonymous: true }
    }

    /// Returns the name of the repository whose credential is used. What is fetched with it is cached for its jobs only.
    pub(super) fn credential_scope(&self) -> Option<&str> {
        self.credential.as_ref().map(|credential| credential.scope.as_str())
    }

    /// Returns the user and password for the host of `address`.
    fn credentials(&self, address: &RepositoryAddress) -> Option<Credentials> {
        if self.is_anonymous {
            return None;
        }
        let of_job = self.credential.as_ref().and_then(|credential| credential.http_credentials(address));
        of_job.or_else(|| {
            let by_origin = self.shared.credentials.lock().unwrap_or_else(PoisonError::into_inner);
            by_origin.get(&address.origin()).cloned()
        })
    }

    /// Sets the credentials for the host of `address`. They stay in memory only.
    pub fn set_credentials(&self, address: &RepositoryAddress, credentials: Credentials) {
        let mut credentials_by_origin =
            self.shared.credentials.lock().unwrap_or_else(PoisonError::into_inner);
        credentials_by_origin.insert(address.origin(), credentials);
    }

    /// Returns the repository at `url`, if its host may be contacted. With `private`, the host may have a private address.
    pub fn remote(&self, url: &str, private: bool) -> Result<Remote, SourceError> {
        let address = RepositoryAddress::parse(url).map_err(|error| SourceError::new(error.to_string()))?;
        let allowed = private || self.shared.policy.allows(address.host(), address.port());
        if !allowed && address.host().is_private_ip() {
            return Err(SourceError::new(AddressPolicyError::Private.to_string()));
        }
        Ok(Remote {
            url: address.to_git_url(),
            route: Some(AllowedRoute { address, allows_private: allowed, policy: self.clone() }),
            set_up: GitSetUp::Operator,
            offline: false,
        })
    }

    /// Returns how to send HTTP requests to public hosts, without credentials.
    pub(super) fn web_access(&self, url: &str) -> Result<HttpAccess, SourceError> {
        let mut access = HttpAccess { url: url.to_owned(), credentials: None, proxy: None };
        if !self.shared.policy.any_host {
            access.proxy = Some(self.proxy()?.issue_credential(None));
        }
        Ok(access)
    }

    fn proxy(&self) -> Result<&GitProxy, SourceError> {
        if let Some(gate) = self.shared.proxy.get() {
            return Ok(gate);
        }
        let gate =
            GitProxy::start(self.shared.policy.clone(), self.shared.resolver.clone()).map_err(|error| {
                SourceError::new(format!("the proxy that keeps git from private hosts cannot start: {error}"))
            })?;
        Ok(self.shared.proxy.get_or_init(|| gate))
    }

    /// Adds the credentials for this host to the environment of `command`.
    fn add_credentials(&self, address: &RepositoryAddress, command: &mut Command) {
        let Some(Credentials { user, password }) = self.credentials(address) else { return };
        let helper = format!("credential.{}.helper", address.origin());
        // The empty helper removes the configured helpers, which could store the credentials. Only this user's
        // processes can read the environment with the values.
        configure(command, &helper, "");
        configure(
            command,
            &helper,
            "!f() { test \"$1\" != get || printf 'username=%s\\npassword=%s\\n' \"$TIDEMILL_GIT_USER\" \"$TIDEMILL_GIT_PASSWORD\"; }; f",
        );
        command.env("TIDEMILL_GIT_USER", user).env("TIDEMILL_GIT_PASSWORD", password);
    }
}

/// A repository that git fetches from.
#[derive(Debug, Clone)]
pub struct Remote {
    url: String,
    /// Whose git settings and credentials apply, besides the credential of the job.
    set_up: GitSetUp,
    /// Whether the server must not be contacted.
    offline: bool,
    /// The checked address; `None` for a repository on disk.
    route: Option<AllowedRoute>,
}

#[derive(Debug, Clone)]
struct AllowedRoute {
    address: RepositoryAddress,
    /// Whether its host may have a private address.
    allows_private: bool,
    policy: HostPolicy,
}

impl Remote {
    /// Returns the address, which contains no password.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the repository, fetched for an include with other git settings and credentials than those of the operator. It has a
    /// cache of its own: what was fetched with the operator's credentials is not in it.
    #[must_use]
    pub(super) fn for_include(self, set_up: GitSetUp, offline: bool) -> Self {
        Self { set_up, offline, ..self }
    }

    /// Creates a git command that may contact it.
    pub(super) fn network_command(&self) -> Result<Command, SourceError> {
        if self.offline {
            return Err(SourceError::new("nothing may be fetched"));
        }
        let mut command = git::network_command(&self.url)?;
        self.set_up.apply(&mut command);
        Ok(command)
    }

    /// Returns the name under which it is cached: jobs that may not read the repository find nothing that was fetched with its
    /// credential.
    pub(super) fn cache_name(&self) -> String {
        let credential = self.route.as_ref().and_then(|route| {
            let credential = route.policy.credential.as_ref()?;
            credential.applies_to(&route.address).then_some(credential)
        });
        let name = match credential {
            Some(credential) => format!("{} with the credential of {}", self.url, credential.scope),
            None => self.url.clone(),
        };
        let is_anonymous = self.route.as_ref().is_some_and(|route| route.policy.is_anonymous);
        match self.set_up {
            GitSetUp::Operator => name,
            // What was fetched with the credential of a host is not in it.
            GitSetUp::None if is_anonymous => format!("{name} for includes of everyone"),
            GitSetUp::None => format!("{name} for includes"),
            GitSetUp::User => format!("{name} for includes of the user"),
        }
    }

    /// Whether it is a directory of this machine.
    pub(super) const fn is_on_disk(&self) -> bool {
        self.route.is_none()
    }

    /// Returns how to send HTTP requests about this repository, as git would.
    pub(super) fn http_access(&self) -> Result<HttpAccess, SourceError> {
        let mut access = HttpAccess { url: self.url.clone(), credentials: None, proxy: None };
        let Some(AllowedRoute { address, allows_private, policy: reach }) = &self.route else {
            return Ok(access);
        };
        access.credentials = reach.credentials(address);
        if !reach.shared.policy.any_host {
            let private = allows_private.then(|| (address.host().clone(), address.port()));
            access.proxy = Some(reach.proxy()?.issue_credential(private));
        }
        Ok(access)
    }

    /// Returns the lines of `git ls-remote` for the refs that match `patterns`, or for all refs.
    pub fn list_refs(&self, options: &[&str], patterns: &[&str]) -> Result<String, SourceError> {
        let mut command = self.network_command()?;
        let connection = self.connect(&mut command)?;
        command.arg("ls-remote").args(options).args(["--", &connection.url]).args(patterns);
        git::run_limited(&mut command, ProcessLimits { network: true, ..ProcessLimits::default() })
            .map_err(|error| connection.explain(error))
    }

    /// Changes the environment of `command` so that it can contact this repository, and only permitted hosts.
    pub fn connect(&self, command: &mut Command) -> Result<Connection, SourceError> {
        let mut connection = Connection { url: self.url.clone(), credential: None };
        let Some(AllowedRoute { address, allows_private: allowed, policy: reach }) = &self.route else {
            return Ok(connection);
        };
        let is_http = matches!(address.scheme(), Scheme::Https | Scheme::Http);
        if is_http {
            reach.add_credentials(address, command);
        } else if let Some(credential) = &reach.credential {
            credential.configure_ssh(address, command)?;
        }
        if reach.shared.policy.any_host {
            return Ok(connection);
        }
        if is_http {
            if PROXY_VARIABLES
                .iter()
                .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
            {
                return Ok(connection);
            }
            let private = allowed.then(|| (address.host().clone(), address.port()));
            let credential = reach.proxy()?.issue_credential(private);
            let proxy = credential.url();
            for name in PROXY_VARIABLES {
                command.env(name, &proxy);
            }
            command.env("no_proxy", "").env("NO_PROXY", "").env("GIT_HTTP_PROXY_AUTHMETHOD", "basic");
            connection.credential = Some(credential);
        } else if !allowed {
            let checked = permitted_addresses(&*reach.shared.resolver, address.host(), address.port(), false)
                .map_err(|error| SourceError::new(error.to_string()))?;
            let ip = checked.first().map(SocketAddr::ip);
            match (address.scheme(), ip) {
                (Scheme::Git, Some(ip)) => {
                    connection.url = address.git_url_at_host(&HostName::from_ip(ip));
                }
                (_, Some(ip)) => pin_ssh(command, address, ip),
                (_, None) => return Err(SourceError::new(ConnectError::Unknown.to_string())),
            }
        }
        Ok(connection)
    }

    /// Returns the repository in a directory of this machine.
    pub(super) fn on_disk(path: &std::path::Path) -> Self {
        Self {
            url: format!("file://{}", path.display()),
            route: None,
            set_up: GitSetUp::Operator,
            offline: false,
        }
    }
}

/// How to send HTTP requests about a repository.
#[derive(Debug)]
pub struct HttpAccess {
    /// The repository's address.
    pub url: String,
    /// The credentials for its host.
    pub credentials: Option<Credentials>,
    proxy: Option<ProxyCredential>,
}

impl HttpAccess {
    /// Returns the proxy that permits only hosts that may be contacted; `None`: any host may be.
    pub fn proxy(&self) -> Option<String> {
        self.proxy.as_ref().map(ProxyCredential::url)
    }

    /// Returns why the proxy rejected a host, if it did.
    pub fn refusal(&self) -> Option<AddressPolicyError> {
        self.proxy.as_ref().and_then(ProxyCredential::refusal)
    }
}

/// The permission of a git command to connect; it is kept while the command runs.
#[derive(Debug)]
pub struct Connection {
    /// The address to pass to git.
    pub url: String,
    credential: Option<ProxyCredential>,
}

impl Connection {
    /// Returns `error`, or the refusal if the proxy rejected a host: git's message would reveal details of the host.
    #[must_use]
    pub fn explain(&self, error: SourceError) -> SourceError {
        match self.credential.as_ref().and_then(ProxyCredential::refusal) {
            Some(refusal) => SourceError::new(refusal.to_string()),
            None => error,
        }
    }
}

/// Adds a git setting to the environment of `command`.
fn configure(command: &mut Command, key: &str, value: &str) {
    let count = variable(command, "GIT_CONFIG_COUNT").and_then(|count| count.parse().ok()).unwrap_or(0_usize);
    command
        .env(format!("GIT_CONFIG_KEY_{count}"), key)
        .env(format!("GIT_CONFIG_VALUE_{count}"), value)
        .env("GIT_CONFIG_COUNT", (count + 1).to_string());
}

fn variable(command: &Command, name: &str) -> Option<String> {
    let (_, value) = command.get_envs().find(|(variable, _)| *variable == name)?;
    Some(value?.to_string_lossy().into_owned())
}

/// Makes SSH connect to `ip` but check the key of the host in `address`.
fn pin_ssh(command: &mut Command, address: &RepositoryAddress, ip: IpAddr) {
    let ssh = variable(command, "GIT_SSH_COMMAND")
        .or_else(|| std::env::var("GIT_SSH_COMMAND").ok().filter(|ssh| !ssh.is_empty()))
        .unwrap_or_else(|| "ssh -oBatchMode=yes".to_owned());
    // The host's name in `known_hosts`.
    let host = match address.port() {
        22 => address.host().to_string(),
        port => format!("[{}]:{port}", address.host()),
    };
    command.env("GIT_SSH_COMMAND", format!("{ssh} -oHostName={ip} '-oHostKeyAlias={host}' -oCheckHostIP=no"));
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{HostPolicy, Resolver, variable};
    use std::{
        io,
        net::SocketAddr,
        process::Command,
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
    };
    use tidemill_core::repository::{AddressPolicy, Credentials, RepositoryAddress};

    /// Returns the next address of a list at each call.
    #[derive(Debug)]
    struct RoundRobin(AtomicUsize, Vec<&'static str>);

    impl Resolver for RoundRobin {
        fn resolve(&self, _name: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
            let call = self.0.fetch_add(1, Ordering::Relaxed);
            Ok(vec![SocketAddr::new(self.1[call % self.1.len()].parse().unwrap(), port)])
        }
    }

    fn reach(answers: Vec<&'static str>) -> HostPolicy {
        HostPolicy::with_resolver(
            AddressPolicy::default(),
            Arc::new(RoundRobin(AtomicUsize::new(0), answers)),
        )
    }

    #[test]
    fn ssh_and_git_connect_to_checked_address() {
        // A name that is public when it is checked and private later changes nothing.
        let reach = reach(vec!["140.82.121.4", "127.0.0.1"]);
        let mut command = Command::new("git");
        let ssh = reach.remote("ssh://git@git.example.org:2222/a.git", false).unwrap();
        let connection = ssh.connect(&mut command).unwrap();
        assert_eq!(connection.url, "ssh://git@git.example.org:2222/a.git");
        let ssh_command = variable(&command, "GIT_SSH_COMMAND").unwrap();
        assert!(
            ssh_command.contains("-oHostName=140.82.121.4") && ssh_command.contains("[git.example.org]:2222"),
            "{ssh_command}"
        );
        let error = ssh.connect(&mut Command::new("git")).unwrap_err().to_string();
        assert!(error.contains("--allow-host"), "{error}");
        let git = reach.remote("git://git.example.org/a.git", false).unwrap();
        assert_eq!(git.connect(&mut Command::new("git")).unwrap().url, "git://140.82.121.4/a.git");
        assert!(git.connect(&mut Command::new("git")).is_err(), "it is private now");
    }

    #[test]
    fn local_paths_and_private_addresses_are_rejected() {
        let reach = reach(vec!["127.0.0.1"]);
        for url in [
            "/srv/a.git",
            "file:///srv/a.git",
            "ext::sh -c id",
            "fd::1",
            "git://127.0.0.1/a",
            "https://[::1]/a",
            "../a",
        ] {
            assert!(reach.remote(url, false).is_err(), "{url}");
        }
        assert!(reach.remote("git://127.0.0.1/a", true).is_ok());
        assert!(reach.remote("/srv/a.git", true).is_err());
    }

    #[test]
    fn credentials_are_in_environment_only() {
        let reach = HostPolicy::new(AddressPolicy::unrestricted());
        let url = "https://git.example.org/a.git";
        let credentials = Credentials { user: "jo".into(), password: "it's secret".into() };
        reach.set_credentials(&RepositoryAddress::parse(url).unwrap(), credentials);
        let mut command = Command::new("git");
        command.arg("credential").arg("fill");
        let connection = reach.remote(url, false).unwrap().connect(&mut command).unwrap();
        assert!(!connection.url.contains("secret"));
        assert!(!command.get_args().any(|arg| arg.to_string_lossy().contains("secret")));
        let mut other = Command::new("git");
        reach.remote("https://other.example.org/a.git", false).unwrap().connect(&mut other).unwrap();
        assert_eq!(other.get_envs().count(), 0, "another host gets none");
        let mut anonymous = Command::new("git");
        let everyone = reach.without_credentials().remote(url, false).unwrap();
        everyone.connect(&mut anonymous).unwrap();
        assert_eq!(anonymous.get_envs().count(), 0, "what everyone reads gets none");
        // Git itself gets them from the helper.
        let dir = tempfile::tempdir().unwrap();
        let request = dir.path().join("request");
        std::fs::write(&request, "protocol=https\nhost=git.example.org\n\n").unwrap();
        command.stdin(std::fs::File::open(&request).unwrap()).env("GIT_TERMINAL_PROMPT", "0");
        let filled = command.output().unwrap();
        let text = String::from_utf8_lossy(&filled.stdout).into_owned();
        assert!(text.contains("username=jo\n") && text.contains("password=it's secret\n"), "{filled:?}");
    }
}
