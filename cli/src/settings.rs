//! What flags, environment and config file say together, resolved once.

use crate::{
    args::{Cli, Command},
    failure::{Failure, Outcome},
    profiles::{LOCAL, Profiles},
    worker_file::WorkerFile,
};
use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

/// Names of environment variables.
mod variable {
    /// Address of the deployment.
    pub const SERVER: &str = "TIDEMILL_SERVER";
    /// Its token.
    pub const TOKEN: &str = "TIDEMILL_TOKEN";
    /// Name of a profile.
    pub const PROFILE: &str = "TIDEMILL_PROFILE";
    /// Another config file.
    pub const CONFIG: &str = "TIDEMILL_CONFIG";
    /// Another file of the limits of jobs.
    pub const WORKER_CONFIG: &str = "TIDEMILL_WORKER_CONFIG";
}

/// What a command works on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// This machine.
    Here,
    /// A deployment.
    Deployment {
        /// Its address.
        url: String,
        /// Its token.
        token: String,
        /// The profile, when it was used only because it is the default one.
        by_default: Option<String>,
        /// Whether the token may be sent to another machine without TLS.
        insecure_http: bool,
    },
}

impl Target {
    /// The same, to which the token may be sent without TLS if `allowed`, or if its profile says so.
    fn with_insecure_http(mut self, allowed: bool) -> Self {
        if let Self::Deployment { insecure_http, .. } = &mut self {
            *insecure_http |= allowed;
        }
        self
    }
}

/// The settings of all commands.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where records live, if any place is known.
    data_dir: Option<PathBuf>,
    /// The config file, if any place is known.
    config_file: Option<PathBuf>,
    /// The file that says what jobs may use, if any place is known.
    worker_file: Option<PathBuf>,
    /// Milliseconds that a lease of an embedded server lasts.
    pub lease_ttl_ms: u64,
    /// A PEM file of certificate authorities that are trusted beside the system's.
    pub ca_cert: Option<PathBuf>,
    /// Whether flag or environment let a token be sent to another machine without TLS.
    pub insecure_http: bool,
    /// What is worked on.
    pub target: Target,
    /// The flags that point another command at the same target.
    pub pointer: String,
    /// The token that flag or environment name, for `login`.
    pub token: Option<String>,
    /// The profile that flag or environment name, for `login` and `logout`.
    pub profile: Option<String>,
}

/// What one source of settings says.
#[derive(Debug, Clone, Default)]
struct Asked {
    server: Option<String>,
    token: Option<String>,
    profile: Option<String>,
}

impl Settings {
    /// The settings of this call. Flags win over the environment, and that over the config file.
    pub fn resolve(cli: &Cli) -> Outcome<Self> {
        let flags =
            Asked { server: cli.server.clone(), token: cli.token.clone(), profile: cli.profile.clone() };
        let environment = Asked {
            server: text(variable::SERVER)?,
            token: text(variable::TOKEN)?,
            profile: text(variable::PROFILE)?,
        };
        let config_file = match set(variable::CONFIG) {
            Some(named) => Some(PathBuf::from(named)),
            None => xdg("XDG_CONFIG_HOME", ".config").map(|base| base.join("tidemill/config.toml")),
        };
        let worker_file = match set(variable::WORKER_CONFIG) {
            Some(named) => {
                let named = PathBuf::from(named);
                // One that is named has to be there: without it there would be other limits than the operator thinks.
                if !named.exists() {
                    let words = format!(
                        "there is no file {}, which {} names",
                        named.display(),
                        variable::WORKER_CONFIG
                    );
                    return Err(Failure::usage(words));
                }
                Some(named)
            }
            None => xdg("XDG_CONFIG_HOME", ".config").map(|base| base.join("tidemill/worker.toml")),
        };
        let load = || config_file.as_deref().map_or_else(|| Ok(Profiles::default()), Profiles::load);
        let target = match cli.command {
            // These are always about this machine.
            Command::Server(_) | Command::CleanUp(_) | Command::Login(_) | Command::Logout => Target::Here,
            _ => choose(&flags, &environment, load)?.with_insecure_http(cli.insecure_http),
        };
        let data_dir = match &cli.data_dir {
            Some(told) => Some(std::path::absolute(told)?),
            None => xdg("XDG_DATA_HOME", ".local/share").map(|base| base.join("tidemill")),
        };
        let pointer = match (&flags.server, &flags.profile) {
            (Some(url), _) => format!(" --server {url}"),
            (None, Some(name)) => format!(" --profile {name}"),
            (None, None) => String::new(),
        };
        Ok(Self {
            data_dir,
            config_file,
            worker_file,
            lease_ttl_ms: cli.lease_ttl_ms,
            ca_cert: cli.ca_cert.clone(),
            insecure_http: cli.insecure_http,
            target,
            pointer,
            token: flags.token.or(environment.token),
            profile: flags.profile.or(environment.profile),
        })
    }

    /// Where records live: as told, or in the user's data directory (XDG base directory specification).
    pub fn data_dir(&self) -> Outcome<&Path> {
        self.data_dir
            .as_deref()
            .ok_or_else(|| Failure::usage("no data directory is known: set TIDEMILL_DATA_DIR, or HOME"))
    }

    /// The profiles of the config file.
    pub fn profiles(&self) -> Outcome<Profiles> {
        let path = self.config_file.as_deref().ok_or_else(|| {
            Failure::usage(format!("no config file is known: set {}, or HOME", variable::CONFIG))
        })?;
        Profiles::load(path)
    }

    /// What `worker.toml` says of the workers of this machine.
    pub fn worker_file(&self) -> Outcome<WorkerFile> {
        self.worker_file.as_deref().map_or_else(|| Ok(WorkerFile::default()), WorkerFile::load)
    }

    /// Whether jobs run elsewhere.
    pub const fn is_elsewhere(&self) -> bool {
        matches!(self.target, Target::Deployment { .. })
    }
}

/// What to work on. The config file is read only if it can matter.
fn choose(flags: &Asked, environment: &Asked, load: impl FnOnce() -> Outcome<Profiles>) -> Outcome<Target> {
    if flags.server.is_some() && flags.profile.is_some() {
        return Err(Failure::usage("--server and --profile both name a deployment: give one of them"));
    }
    let told = flags.token.clone().or_else(|| environment.token.clone());
    let from_url =
        flags.server.clone().or_else(|| environment.server.clone().filter(|_| flags.profile.is_none()));
    if let Some(url) = from_url {
        let (token, insecure_http) = match told {
            Some(token) => (Some(token), false),
            None => match load()?.of_url(&url)? {
                Some(profile) => (Some(profile.token), profile.insecure_http),
                None => (None, false),
            },
        };
        let token = token.ok_or_else(|| {
            Failure::usage(format!(
                "{url} needs a token: give --token, set {}, or keep it with `tidemill login {url}`",
                variable::TOKEN
            ))
        })?;
        return Ok(Target::Deployment { url, token, by_default: None, insecure_http });
    }
    // The environment's token is for what the environment names: a profile that a flag names has its own.
    let (name, told) = match (&flags.profile, &environment.profile) {
        (Some(name), _) => (Some(name.clone()), flags.token.clone()),
        (None, name) => (name.clone(), told),
    };
    if name.as_deref() == Some(LOCAL) {
        return Ok(Target::Here);
    }
    let profiles = load()?;
    let by_default = if name.is_none() { profiles.default.clone() } else { None };
    let Some(name) = name.or_else(|| by_default.clone()) else { return Ok(Target::Here) };
    let profile = profiles.named(&name)?;
    let token = told.unwrap_or_else(|| profile.token.clone());
    let (url, insecure_http) = (profile.server.clone(), profile.insecure_http);
    Ok(Target::Deployment { url, token, by_default, insecure_http })
}

/// A variable's value; an empty one is as good as none.
fn set(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

fn text(name: &str) -> Outcome<Option<String>> {
    let value = set(name).map(OsString::into_string).transpose();
    value.map_err(|_| Failure::usage(format!("{name} is not UTF-8 text")))
}

/// A base directory: the variable's, or the usual one below HOME.
fn xdg(name: &str, usual: &str) -> Option<PathBuf> {
    let absolute = |name: &str| set(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute(name).or_else(|| absolute("HOME").map(|home| home.join(usual)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Asked, Target, choose};
    use crate::profiles::{Profile, Profiles};

    fn asked(server: &str, token: &str, profile: &str) -> Asked {
        let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Asked { server: given(server), token: given(token), profile: given(profile) }
    }

    fn profiles(default: Option<&str>) -> Profiles {
        let mut profiles = Profiles::default();
        profiles.default = default.map(str::to_owned);
        for name in ["ci", "other"] {
            let (server, token) = (format!("https://{name}"), format!("{name}-token"));
            let profile = Profile { server, token, insecure_http: false };
            profiles.put(name, profile);
        }
        profiles
    }

    /// What is chosen, in short.
    fn chosen(flags: &Asked, environment: &Asked, default: Option<&str>) -> String {
        match choose(flags, environment, || Ok(profiles(default))) {
            Ok(Target::Here) => "here".into(),
            Ok(Target::Deployment { url, token, by_default, .. }) => {
                format!("{url} {token}{}", by_default.map(|_| " by default").unwrap_or_default())
            }
            Err(failure) => failure.words,
        }
    }

    #[test]
    fn without_a_choice_it_is_this_machine_whatever_profiles_there_are() {
        let none = Asked::default();
        assert_eq!(chosen(&none, &none, None), "here");
        assert_eq!(chosen(&none, &asked("", "lonely", ""), None), "here");
        assert_eq!(chosen(&none, &none, Some("ci")), "https://ci ci-token by default");
        assert_eq!(chosen(&asked("", "", "local"), &none, Some("ci")), "here");
        assert_eq!(chosen(&none, &asked("", "", "local"), Some("ci")), "here");
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_the_file() {
        let none = Asked::default();
        let environment = asked("https://env", "env-token", "other");
        assert_eq!(chosen(&none, &environment, Some("ci")), "https://env env-token");
        assert_eq!(chosen(&asked("https://flag", "", ""), &environment, None), "https://flag env-token");
        assert_eq!(chosen(&asked("", "flag-token", ""), &environment, None), "https://env flag-token");
        assert_eq!(chosen(&asked("", "", "ci"), &environment, None), "https://ci ci-token");
        assert_eq!(chosen(&asked("", "t", "ci"), &environment, None), "https://ci t");
        assert_eq!(chosen(&none, &asked("", "", "other"), Some("ci")), "https://other other-token");
        assert_eq!(chosen(&none, &asked("", "t", "other"), None), "https://other t");
    }

    #[test]
    fn an_address_that_a_profile_has_takes_its_token() {
        let none = Asked::default();
        assert_eq!(chosen(&asked("https://ci/", "", ""), &none, None), "https://ci/ ci-token");
        assert_eq!(chosen(&none, &asked("https://ci", "", ""), None), "https://ci ci-token");
        let words = chosen(&asked("https://new", "", ""), &none, Some("ci"));
        assert!(words.contains("tidemill login https://new"), "{words}");
        let words = chosen(&asked("https://ci", "", "ci"), &none, None);
        assert!(words.contains("give one of them"), "{words}");
        let words = chosen(&asked("", "", "nobody"), &none, None);
        assert!(words.contains("no profile `nobody`") && words.contains("ci, other"), "{words}");
    }
}
