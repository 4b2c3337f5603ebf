//! The settings of all commands, merged from flags, environment variables and config files.

pub mod data_dir;
pub mod input;
pub mod profiles;
pub mod worker_file;

use crate::{
    args::{Cli, Command, ConnectionArgs, ServerArgs},
    env_vars,
    failure::{Failure, Outcome, Rejection},
    output::Printable,
    view::hint::quoted,
};
use profiles::{LOCAL_PROFILE, Profiles};
use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};
use tidemill_core::text::check_line;
use tidemill_worker::{
    RegistrySettings,
    client::{CertificateAuthorities, check_server_address},
    source::SourceSettings,
};
use worker_file::{WorkerConfigArg, WorkerFile, user_proxies};

/// Maximum length of a user name in bytes that servers accept.
const MAX_USER_LEN: usize = 200;
/// Duration of a lease in milliseconds, unless it is set.
const DEFAULT_LEASE_TTL_MS: u64 = 30_000;

/// Where a command runs: on this machine or on a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// This machine.
    Local,
    /// A remote deployment.
    Deployment {
        /// Its URL.
        url: String,
        /// Its token.
        token: String,
        /// The profile, if it was selected only because it is the default.
        default_profile: Option<String>,
        /// Whether the token may be sent to another machine without TLS.
        insecure_http: bool,
        /// PEM text of the profile with additional trusted certificate authorities.
        ca_cert: Option<String>,
        /// Where the token comes from, for messages.
        token_origin: String,
    },
}

impl Target {
    /// Allows insecure HTTP if `is_allowed`, or if the profile does.
    fn with_insecure_http(mut self, is_allowed: bool) -> Self {
        if let Self::Deployment { insecure_http, .. } = &mut self {
            *insecure_http |= is_allowed;
        }
        self
    }
}

/// The settings of all commands.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The data directory. `None`: neither set nor derivable.
    data_dir: Option<PathBuf>,
    /// The config file. `None`: neither set nor derivable.
    config_file: Option<PathBuf>,
    /// The file with the limits of jobs. `None`: neither set nor derivable.
    worker_file: Option<PathBuf>,
    /// Arguments that change it.
    worker_args: Vec<WorkerConfigArg>,
    /// Duration of a lease of the embedded server, in milliseconds.
    pub lease_ttl_ms: u64,
    /// Certificate authorities to trust in addition to the system's: of flag or environment, otherwise of the profile.
    pub ca_cert: Option<CertificateAuthorities>,
    /// Whether flag or environment allow sending a token to another machine without TLS.
    pub insecure_http: bool,
    /// Where commands run.
    pub target: Target,
    /// Flags that select the same deployment, for commands in messages.
    pub deployment_flags: String,
    /// The token from flag or environment, for `login`.
    pub token: Option<String>,
    /// The profile from flag or environment, for `login` and `logout`.
    pub profile: Option<String>,
    /// Address of the container engine; `None`: the default.
    pub docker_host: Option<String>,
    /// Where workers find logins at registries.
    pub registries: RegistrySettings,
    /// How sources are fetched and cached.
    pub sources: SourceSettings,
    /// Requester of executions, if the environment has a valid user name.
    pub requested_by: Option<String>,
}

/// Deployment settings from one source: flags or environment.
#[derive(Debug, Clone, Default)]
struct DeploymentSettings {
    server: Option<String>,
    token: Option<String>,
    profile: Option<String>,
}

impl Settings {
    /// Merges all sources of settings. Flags override environment variables, which override the config file.
    pub fn resolve(cli: &Cli) -> Outcome<Self> {
        let ConnectionArgs { data, remote } = cli.command.connection();
        let ServerArgs { server, profile, access } = remote;
        let flags =
            DeploymentSettings { server, token: access.token.clone(), profile: profile.profile.clone() };
        let environment = DeploymentSettings {
            server: text_variable(env_vars::SERVER)?,
            token: text_variable(env_vars::TOKEN)?,
            profile: text_variable(env_vars::PROFILE)?,
        };
        let config_dir = xdg(env_vars::XDG_CONFIG_HOME, ".config").map(|base| base.join("tidemill"));
        let in_config_dir = |name: &str| config_dir.as_ref().map(|directory| directory.join(name));
        let config_file =
            variable(env_vars::CONFIG).map(PathBuf::from).or_else(|| in_config_dir("config.toml"));
        let worker_file = match variable(env_vars::WORKER_CONFIG).map(PathBuf::from) {
            // Falling back to defaults would run jobs with other limits than the operator expects.
            Some(path) if !path.exists() => {
                let (path, name) = (path.display(), env_vars::WORKER_CONFIG);
                return Err(Failure::usage(format!("file {path} of {name} does not exist")));
            }
            Some(path) => Some(path),
            None => in_config_dir("worker.toml"),
        };
        let load = || config_file.as_deref().map_or_else(|| Ok(Profiles::default()), Profiles::load);
        let target = match cli.command {
            // These commands run on this machine only.
            Command::Server(_) | Command::CleanUp(_) | Command::Login(_) | Command::Logout(_) => {
                Target::Local
            }
            _ => target(&flags, &environment, load)?.with_insecure_http(access.insecure_http),
        };
        let ca_cert = match (access.ca_cert, &target) {
            (Some(path), _) => Some(CertificateAuthorities::File(path)),
            (None, Target::Deployment { ca_cert, .. }) => ca_cert.clone().map(CertificateAuthorities::Pem),
            (None, Target::Local) => None,
        };
        let data_dir = match &data.data_dir {
            Some(path) => Some(std::path::absolute(path)?),
            None => xdg(env_vars::XDG_DATA_HOME, ".local/share").map(|base| base.join("tidemill")),
        };
        let mut deployment_flags = match (&flags.server, &flags.profile) {
            (Some(url), _) => format!(" --server {}", quoted(url)),
            (None, Some(name)) => format!(" --profile {}", quoted(name)),
            (None, None) => String::new(),
        };
        // What the environment sets holds for pasted commands, too.
        let is_flag = |path: &Path, name: &str| Some(path.as_os_str()) != variable(name).as_deref();
        let mut add_path = |option: &str, path: &Path| {
            let path = quoted(&path.display().to_string());
            deployment_flags.extend([" ", option, " ", path.as_str()]);
        };
        match (&target, &data_dir, &ca_cert) {
            (Target::Local, Some(path), _)
                if data.data_dir.is_some() && is_flag(path, env_vars::DATA_DIR) =>
            {
                add_path("--data-dir", path);
            }
            (Target::Deployment { .. }, _, Some(CertificateAuthorities::File(path)))
                if is_flag(path, env_vars::CA_CERT) =>
            {
                add_path("--ca-cert", path);
            }
            _ => {}
        }
        let valid_user = |name: &String| check_line(env_vars::USER, name, MAX_USER_LEN).is_ok();
        let sources = SourceSettings::from_variables(|name| std::env::var(name).ok());
        Ok(Self {
            data_dir,
            config_file,
            worker_file,
            worker_args: cli.command.worker_args(),
            lease_ttl_ms: data.lease_ttl_ms.unwrap_or(DEFAULT_LEASE_TTL_MS),
            ca_cert,
            insecure_http: access.insecure_http,
            target,
            deployment_flags,
            token: flags.token.or(environment.token),
            profile: flags.profile.or(environment.profile),
            docker_host: docker_host()?,
            registries: registries(),
            sources: sources.map_err(Failure::usage)?,
            requested_by: text_variable(env_vars::USER).ok().flatten().filter(valid_user),
        })
    }

    /// Completes the message about a rejected request: which token it was and how to get another, or which disk is full.
    pub fn explain(&self, mut failure: Failure) -> Failure {
        let message = &failure.message;
        failure.message = match (failure.rejection, &self.target) {
            (Some(Rejection::UnknownToken), Target::Deployment { url, token_origin, .. }) => {
                let (login, url) = (quoted(url), Printable(url));
                format!(
                    "{url} does not accept the token of {token_origin}: it is unknown, expired or revoked; an administrator creates \
                     one with `tidemill token create`, and `tidemill login {login}` saves it (the file `token` in the server's data \
                     directory has the administrator's)"
                )
            }
            (Some(Rejection::InsufficientToken), Target::Deployment { url, token_origin, .. }) => {
                let (login, url) = (quoted(url), Printable(url));
                format!(
                    "{url} rejects the token of {token_origin}: {message}; an administrator creates one with `tidemill token create \
                     --name NAME --scope SCOPE`, and `tidemill login {login}` saves it"
                )
            }
            (Some(Rejection::NoSpace), Target::Local) => {
                let directory = self.data_dir.as_deref().unwrap_or(Path::new("")).display();
                format!(
                    "no space is left on the disk of the data directory {directory}: free some, or choose another with --data-dir or {}",
                    env_vars::DATA_DIR
                )
            }
            _ => return failure,
        };
        failure
    }

    /// Returns the data directory: as set, or in the user's data directory (XDG Base Directory Specification).
    pub fn data_dir(&self) -> Outcome<&Path> {
        self.data_dir.as_deref().ok_or_else(|| {
            Failure::usage(format!("no data directory: set {} or {}", env_vars::DATA_DIR, env_vars::HOME))
        })
    }

    /// Reads the profiles of the config file.
    pub fn profiles(&self) -> Outcome<Profiles> {
        let path = self.config_file.as_deref().ok_or_else(|| {
            Failure::usage(format!("no config file: set {} or {}", env_vars::CONFIG, env_vars::HOME))
        })?;
        Profiles::load(path)
    }

    /// Reads `worker.toml`, and applies the arguments that change it.
    pub fn worker_file(&self) -> Outcome<WorkerFile> {
        WorkerFile::load(self.worker_file.as_deref(), &self.worker_args)
    }

    /// Reads `worker.toml` for the user's own jobs: messages name the file, and the user's proxies apply if it has none.
    pub fn own_worker_file(&self) -> Outcome<WorkerFile> {
        let mut file = self.worker_file()?;
        file.permissions.file = self.worker_file.as_ref().map(|path| path.display().to_string());
        if file.jobs.proxies.is_empty() {
            let environment = |name: &str| std::env::var(name).ok();
            file.jobs.proxies = user_proxies(
                self.registries.config_file.as_deref(),
                self.docker_host.as_deref(),
                environment,
            );
        }
        Ok(file)
    }

    /// Returns whether jobs run on a remote deployment.
    pub const fn is_remote(&self) -> bool {
        matches!(self.target, Target::Deployment { .. })
    }
}

/// Returns where Docker's clients find logins at registries.
fn registries() -> RegistrySettings {
    let in_home = || variable(env_vars::HOME).map(|home| PathBuf::from(home).join(".docker"));
    let directory = variable(env_vars::DOCKER_CONFIG).map(PathBuf::from).or_else(in_home);
    RegistrySettings {
        auth_config: variable(env_vars::DOCKER_AUTH_CONFIG).and_then(|text| text.into_string().ok()),
        config_file: directory.map(|directory| directory.join("config.json")),
        #[cfg(feature = "aws")]
        aws: None,
    }
}

/// Resolves the target of a command. Reads the config file only if needed.
fn target(
    flags: &DeploymentSettings,
    environment: &DeploymentSettings,
    load: impl FnOnce() -> Outcome<Profiles>,
) -> Outcome<Target> {
    if flags.server.is_some() && flags.profile.is_some() {
        return Err(Failure::usage("--server and --profile cannot be used together"));
    }
    let explicit = flags.token.clone().or_else(|| environment.token.clone());
    let server =
        flags.server.clone().or_else(|| environment.server.clone().filter(|_| flags.profile.is_none()));
    let explicit_origin = if flags.token.is_some() { "--token" } else { env_vars::TOKEN };
    if let Some(url) = server {
        check_server_address(&url)?;
        let (token, insecure_http, ca_cert, token_origin) = match explicit {
            Some(token) => (Some(token), false, None, explicit_origin.to_owned()),
            None => match load()?.by_url(&url)? {
                Some((name, profile)) => {
                    let origin = format!("profile `{name}`");
                    (Some(profile.token), profile.insecure_http, profile.ca_cert, origin)
                }
                None => (None, false, None, String::new()),
            },
        };
        let token = token.ok_or_else(|| {
            Failure::usage(format!(
                "{url} requires a token: use --token, set {}, or save it with `tidemill login {}`",
                env_vars::TOKEN,
                quoted(&url)
            ))
        })?;
        return Ok(Target::Deployment {
            url,
            token,
            default_profile: None,
            insecure_http,
            ca_cert,
            token_origin,
        });
    }
    // A profile selected by a flag has its own token: the environment's belongs to the environment's deployment.
    let (name, explicit) = match (&flags.profile, &environment.profile) {
        (Some(name), _) => (Some(name.clone()), flags.token.clone()),
        (None, name) => (name.clone(), explicit),
    };
    if name.as_deref() == Some(LOCAL_PROFILE) {
        return Ok(Target::Local);
    }
    let profiles = load()?;
    let default_profile = if name.is_none() { profiles.default.clone() } else { None };
    let Some(name) = name.or_else(|| default_profile.clone()) else { return Ok(Target::Local) };
    let profile = profiles.get(&name)?;
    let (token, token_origin) = match explicit {
        Some(token) => (token, explicit_origin.to_owned()),
        None => (profile.token.clone(), format!("profile `{name}`")),
    };
    let (url, insecure_http) = (profile.server.clone(), profile.insecure_http);
    let ca_cert = profile.ca_cert.clone();
    Ok(Target::Deployment { url, token, default_profile, insecure_http, ca_cert, token_origin })
}

/// Returns the value of an environment variable; an empty one counts as unset.
fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// Returns the data directory that the environment sets, or the default one.
pub fn default_data_dir() -> Option<PathBuf> {
    let named = variable(env_vars::DATA_DIR).and_then(|path| std::path::absolute(path).ok());
    named.or_else(|| xdg(env_vars::XDG_DATA_HOME, ".local/share").map(|base| base.join("tidemill")))
}

/// Returns the path of `worker.toml` that the environment sets, or the default one.
pub fn default_worker_file() -> Option<PathBuf> {
    let named = variable(env_vars::WORKER_CONFIG).map(PathBuf::from);
    named.or_else(|| xdg(env_vars::XDG_CONFIG_HOME, ".config").map(|base| base.join("tidemill/worker.toml")))
}

/// Returns the address of the container engine that the environment sets.
pub fn docker_host() -> Outcome<Option<String>> {
    text_variable(env_vars::DOCKER_HOST)
}

fn text_variable(name: &str) -> Outcome<Option<String>> {
    let value = variable(name).map(OsString::into_string).transpose();
    value.map_err(|_| Failure::usage(format!("{name} is not UTF-8 text")))
}

/// Returns an XDG base directory: the variable's value, or `default` below HOME.
fn xdg(name: &str, default: &str) -> Option<PathBuf> {
    let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute(name).or_else(|| absolute(env_vars::HOME).map(|home| home.join(default)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{DeploymentSettings, Target, target};
    use crate::settings::profiles::{Profile, Profiles};

    fn from_source(server: &str, token: &str, profile: &str) -> DeploymentSettings {
        let value = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        DeploymentSettings { server: value(server), token: value(token), profile: value(profile) }
    }

    fn profiles(default: Option<&str>) -> Profiles {
        let mut profiles = Profiles::default();
        profiles.default = default.map(str::to_owned);
        for name in ["ci", "other"] {
            let (server, token) = (format!("https://{name}"), format!("{name}-token"));
            let profile = Profile { server, token, insecure_http: false, ca_cert: None };
            profiles.put(name, profile);
        }
        profiles
    }

    /// Returns the target as text, or the error message.
    fn resolved(
        flags: &DeploymentSettings,
        environment: &DeploymentSettings,
        default: Option<&str>,
    ) -> String {
        match target(flags, environment, || Ok(profiles(default))) {
            Ok(Target::Local) => "local".into(),
            Ok(Target::Deployment { url, token, default_profile, .. }) => {
                format!("{url} {token}{}", default_profile.map(|_| " by default").unwrap_or_default())
            }
            Err(failure) => failure.message,
        }
    }

    #[test]
    fn target_without_a_selection_is_local_or_the_default_profile() {
        let none = DeploymentSettings::default();
        assert_eq!(resolved(&none, &none, None), "local");
        assert_eq!(resolved(&none, &from_source("", "lonely", ""), None), "local");
        assert_eq!(resolved(&none, &none, Some("ci")), "https://ci ci-token by default");
        assert_eq!(resolved(&from_source("", "", "local"), &none, Some("ci")), "local");
        assert_eq!(resolved(&none, &from_source("", "", "local"), Some("ci")), "local");
    }

    #[test]
    fn flags_override_the_environment_and_it_overrides_the_file() {
        let none = DeploymentSettings::default();
        let environment = from_source("https://env", "env-token", "other");
        assert_eq!(resolved(&none, &environment, Some("ci")), "https://env env-token");
        assert_eq!(
            resolved(&from_source("https://flag", "", ""), &environment, None),
            "https://flag env-token"
        );
        assert_eq!(
            resolved(&from_source("", "flag-token", ""), &environment, None),
            "https://env flag-token"
        );
        assert_eq!(resolved(&from_source("", "", "ci"), &environment, None), "https://ci ci-token");
        assert_eq!(resolved(&from_source("", "t", "ci"), &environment, None), "https://ci t");
        assert_eq!(resolved(&none, &from_source("", "", "other"), Some("ci")), "https://other other-token");
        assert_eq!(resolved(&none, &from_source("", "t", "other"), None), "https://other t");
    }

    #[test]
    fn server_url_of_a_profile_uses_its_token() {
        let none = DeploymentSettings::default();
        assert_eq!(resolved(&from_source("https://ci/", "", ""), &none, None), "https://ci/ ci-token");
        assert_eq!(resolved(&none, &from_source("https://ci", "", ""), None), "https://ci ci-token");
        let message = resolved(&from_source("https://new", "", ""), &none, Some("ci"));
        assert!(message.contains("tidemill login https://new"), "{message}");
        let message = resolved(&from_source("https://ci", "", "ci"), &none, None);
        assert!(message.contains("cannot be used together"), "{message}");
        let message = resolved(&from_source("", "", "nobody"), &none, None);
        assert!(message.contains("no profile `nobody`") && message.contains("ci, other"), "{message}");
    }
}
