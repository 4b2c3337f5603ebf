//! Whose git settings and credentials a command uses that contacts a git server.

use std::process::Command;

/// Variables through which git gets credentials of the operator.
const CREDENTIAL_VARIABLES: [&str; 8] = [
    "SSH_AUTH_SOCK",
    "GIT_ASKPASS",
    "GIT_SSH",
    "GIT_SSH_VARIANT",
    "GIT_SSL_CERT",
    "GIT_SSL_KEY",
    "KRB5CCNAME",
    "XDG_CONFIG_HOME",
];
/// SSH without any key.
const SSH_WITHOUT_KEYS: &str = "ssh -F none -oBatchMode=yes -oConnectTimeout=20 -oIdentitiesOnly=yes -oIdentityFile=/dev/null \
                                -oIdentityAgent=none -oPreferredAuthentications=none";

/// Whose git settings and credentials apply, besides the credential of the job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum GitSetUp {
    /// Those of the worker's operator.
    #[default]
    Operator,
    /// None: the authors of pipeline files choose the repository, and must not read one that only the operator can read.
    None,
    /// Those of the user of this machine, who chooses the repository.
    User,
}

impl GitSetUp {
    /// Changes the environment of a command that may contact a git server.
    pub(super) fn apply(self, command: &mut Command) {
        match self {
            Self::Operator => {}
            Self::None => {
                // The home directory may hold credentials, in `.netrc`.
                command.env("HOME", "/nonexistent").env("GIT_CONFIG_GLOBAL", "/dev/null");
                command.env("GIT_SSH_COMMAND", SSH_WITHOUT_KEYS);
                for name in CREDENTIAL_VARIABLES {
                    command.env_remove(name);
                }
                for name in super::super::git::additional_variables() {
                    command.env_remove(name);
                }
            }
            Self::User => {
                if std::env::var_os(super::super::git::variable::CONFIG).is_none() {
                    command.env_remove("GIT_CONFIG_GLOBAL");
                    if let Some(file) = std::env::var_os("GIT_CONFIG_GLOBAL") {
                        command.env("GIT_CONFIG_GLOBAL", file);
                    }
                }
                command.env_remove("GIT_CONFIG_NOSYSTEM");
                // The user may have git contact a server with another protocol than the address names.
                command.env("GIT_ALLOW_PROTOCOL", "https:ssh:http");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::GitSetUp;
    use std::{ffi::OsStr, process::Command};

    #[test]
    fn command_without_set_up_has_no_credential_of_the_operator() {
        let mut command = Command::new("git");
        command
            .env("SSH_AUTH_SOCK", "/agent")
            .env("GIT_CONFIG_GLOBAL", "/operator")
            .env("HOME", "/home/operator");
        GitSetUp::None.apply(&mut command);
        let value = |name: &str| {
            let (_, value) = command.get_envs().find(|(variable, _)| *variable == OsStr::new(name))?;
            value.and_then(OsStr::to_str)
        };
        assert_eq!(value("SSH_AUTH_SOCK"), None);
        assert_eq!(value("GIT_CONFIG_GLOBAL"), Some("/dev/null"));
        assert_eq!(value("HOME"), Some("/nonexistent"));
        assert!(value("GIT_SSH_COMMAND").is_some_and(|ssh| ssh.contains("IdentityAgent=none")));
    }
}
