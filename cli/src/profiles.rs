//! The config file: which deployments there are, and their tokens.

use crate::failure::{Failure, Outcome};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs,
    io::{ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Name of this machine among profiles; no deployment can have it.
pub const LOCAL: &str = "local";

/// Rights that anybody but the owner has.
const OTHERS: u32 = 0o077;

/// A deployment and the right to use it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Its address.
    pub server: String,
    /// Its bearer token.
    pub token: String,
    /// Whether the token may be sent there without TLS although it is another machine.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub insecure_http: bool,
}

impl std::fmt::Debug for Profile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Profile").field("server", &self.server).finish_non_exhaustive()
    }
}

/// What the file says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profiles {
    /// The profile that commands use unless told otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// The profiles by their names.
    #[serde(default, rename = "profiles")]
    named: BTreeMap<String, Profile>,
    #[serde(skip)]
    path: PathBuf,
    /// The file's mode, when others than its owner have rights.
    #[serde(skip)]
    exposed: Option<u32>,
}

impl Profiles {
    /// What the file at `path` says; without a file there are no profiles.
    pub fn load(path: &Path) -> Outcome<Self> {
        let name = path.display();
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(Self { path: path.to_owned(), ..Self::default() });
            }
            Err(error) => return Err(Failure::usage(format!("{name} cannot be read: {error}"))),
        };
        let mut read: Self = toml::from_str(&text).map_err(|error| {
            Failure::usage(format!("{name} is not as `tidemill login` writes it: {}", error.message()))
        })?;
        let mode = fs::metadata(path)?.permissions().mode() & 0o777;
        read.exposed = (mode & OTHERS != 0).then_some(mode);
        path.clone_into(&mut read.path);
        Ok(read)
    }

    /// The profile of this name.
    pub fn named(&self, name: &str) -> Outcome<&Profile> {
        let found = self.named.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.names().collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            Failure::usage(format!(
                "there is no profile `{name}` in {} (there is {known}); make it with `tidemill login URL --profile \
                 {name}`",
                self.path.display()
            ))
        })?;
        self.guarded()?;
        Ok(found)
    }

    /// The profile of the deployment at `url`, if there is one.
    pub fn of_url(&self, url: &str) -> Outcome<Option<Profile>> {
        let is_it = |profile: &&Profile| {
            profile.server.trim_end_matches('/').eq_ignore_ascii_case(url.trim_end_matches('/'))
        };
        let Some(found) = self.named.values().find(is_it) else { return Ok(None) };
        self.guarded()?;
        Ok(Some(found.clone()))
    }

    /// The names of all profiles.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.named.keys().map(String::as_str)
    }

    /// Adds a profile, or puts it in the place of the one of that name.
    pub fn put(&mut self, name: &str, profile: Profile) {
        self.named.insert(name.to_owned(), profile);
    }

    /// Removes a profile; it is the default no more.
    pub fn remove(&mut self, name: &str) -> Option<Profile> {
        self.default = self.default.take().filter(|default| default != name);
        self.named.remove(name)
    }

    /// Writes the file, whole or not at all; only its owner can read it.
    pub fn save(&self) -> Outcome {
        // Where the file is a link, what it points at is replaced.
        let path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let failed = |error: std::io::Error| {
            Failure::system(format!("{} cannot be written: {error}", self.path.display()))
        };
        let directory = path.parent().unwrap_or(Path::new("."));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
        let text = toml::to_string(self).map_err(|error| Failure::system(error.to_string()))?;
        // Made with mode 0600.
        let mut file = tempfile::NamedTempFile::new_in(directory).map_err(failed)?;
        file.write_all(text.as_bytes()).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
        file.persist(&path).map(drop).map_err(|error| failed(error.error))
    }

    /// Tokens are read only where nobody else could have read, or changed, them.
    fn guarded(&self) -> Outcome {
        let Some(mode) = self.exposed else { return Ok(()) };
        let path = self.path.display();
        Err(Failure::usage(format!(
            "{path} holds tokens, and others can use it (its mode is {mode:04o}): `chmod 600 {path}`, and make new tokens \
             if others may have read it"
        )))
    }
}
