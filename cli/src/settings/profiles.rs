//! The config file: profiles of deployments, with their tokens.

use super::input;
use crate::{
    failure::{Failure, Outcome},
    output::{Printable, printable},
    view::hint::quoted,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Reserved profile name of this machine.
pub const LOCAL_PROFILE: &str = "local";

/// Maximum size of the file in bytes.
const MAX_FILE_LEN: u64 = 16 << 20;
/// Permission bits of group and others.
const GROUP_AND_OTHERS: u32 = 0o077;

/// A deployment and its token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// URL of the deployment.
    pub server: String,
    /// Bearer token.
    pub token: String,
    /// Whether the token may be sent to another machine without TLS.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub insecure_http: bool,
    /// PEM text with additional trusted certificate authorities, copied from the file given to `login`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_cert: Option<String>,
}

impl std::fmt::Debug for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Profile").field("server", &self.server).finish_non_exhaustive()
    }
}

/// The content of the config file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profiles {
    /// The profile that commands use by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// Profiles by name.
    #[serde(default, rename = "profiles")]
    named: BTreeMap<String, Profile>,
    #[serde(skip)]
    path: PathBuf,
    /// The file's mode, if users other than its owner can access it.
    #[serde(skip)]
    exposed: Option<u32>,
}

impl Profiles {
    /// Reads the file at `path`; a missing file has no profiles.
    pub fn load(path: &Path) -> Outcome<Self> {
        let name = path.display();
        let file = match File::open(path) {
            Ok(file) => file,
            // Some system users have a file as their home directory.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(Self { path: path.to_owned(), ..Self::default() });
            }
            Err(error) => return Err(Failure::usage(format!("{name} cannot be read: {error}"))),
        };
        let text = input::read(&file, &name.to_string(), MAX_FILE_LEN)?;
        let mut profiles: Self = toml::from_str(&text).map_err(|error| {
            // The message does not repeat the line: it may have a token.
            let start = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = start.matches('\n').count() + 1;
            Failure::usage(format!("{name}:{line}: not a valid config file: {}", error.message()))
        })?;
        let mode = file.metadata()?.permissions().mode() & 0o777;
        profiles.exposed = (mode & GROUP_AND_OTHERS != 0).then_some(mode);
        path.clone_into(&mut profiles.path);
        Ok(profiles)
    }

    /// Returns the profile of this name.
    pub fn get(&self, name: &str) -> Outcome<&Profile> {
        let profile = self.named.get(name).ok_or_else(|| {
            let known: Vec<String> = self.names().map(printable).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            Failure::usage(format!(
                "no profile `{}` in {} (known: {known}); create it with `tidemill login URL --profile {}`",
                Printable(name),
                self.path.display(),
                quoted(name)
            ))
        })?;
        self.check_permissions()?;
        Ok(profile)
    }

    /// Returns the profile of the deployment at `url`, with its name.
    pub fn by_url(&self, url: &str) -> Outcome<Option<(String, Profile)>> {
        let matches = |(_, profile): &(&String, &Profile)| {
            profile.server.trim_end_matches('/').eq_ignore_ascii_case(url.trim_end_matches('/'))
        };
        let Some((name, profile)) = self.named.iter().find(matches) else { return Ok(None) };
        self.check_permissions()?;
        Ok(Some((name.clone(), profile.clone())))
    }

    /// Returns the names of all profiles.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.named.keys().map(String::as_str)
    }

    /// Adds or replaces a profile.
    pub fn put(&mut self, name: &str, profile: Profile) {
        self.named.insert(name.to_owned(), profile);
    }

    /// Removes a profile; it is no longer the default either.
    pub fn remove(&mut self, name: &str) -> Option<Profile> {
        self.default = self.default.take().filter(|default| default != name);
        self.named.remove(name)
    }

    /// Writes the file atomically; only its owner can read it.
    pub fn save(&self) -> Outcome {
        // Replace the target of a symbolic link, not the link.
        let path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let failed = |error: std::io::Error| {
            Failure::system(format!("{} cannot be written: {error}", self.path.display()))
        };
        let directory = path.parent().unwrap_or(Path::new("."));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
        let text = toml::to_string(self).map_err(|error| Failure::system(error.to_string()))?;
        // A temporary file has mode 0600.
        let mut file = tempfile::NamedTempFile::new_in(directory).map_err(failed)?;
        file.write_all(text.as_bytes()).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
        file.persist(&path).map(drop).map_err(|error| failed(error.error))
    }

    /// Returns a usage error if users other than the owner can access the file and its tokens.
    fn check_permissions(&self) -> Outcome {
        let Some(mode) = self.exposed else { return Ok(()) };
        let path = self.path.display();
        Err(Failure::usage(format!(
            "{path} contains tokens, but other users can access it (mode {mode:04o}): run `chmod 600 {}`, and create new tokens if \
             another user may have read it",
            quoted(&path.to_string())
        )))
    }
}
