//! The right of a job to push to its repository: what git in it needs for that.

use crate::source::ssh_options;
use tidemill_core::execution::assignment::SecretValue;
use tidemill_core::repository::{
    RepositoryAddress,
    credential::{RepositoryCredential, SourceCredential},
};

const CREDENTIAL_FILE: &str = "TIDEMILL_GIT_CREDENTIAL";
const KEY_FILE: &str = "TIDEMILL_GIT_KEY";
const KNOWN_HOSTS_FILE: &str = "TIDEMILL_GIT_KNOWN_HOSTS";

/// What a job gets so that `git push` works. The credential is only in files, as other secrets are.
#[derive(Debug, Default)]
pub struct PushAccess {
    /// Files with secrets, and the variables with their paths.
    pub files: Vec<SecretValue>,
    /// Settings of git.
    pub settings: Vec<(String, String)>,
    /// Environment variables.
    pub variables: Vec<(&'static str, String)>,
}

impl PushAccess {
    /// Creates the access to the repository that `credential` is for, with its files in `secrets_dir`. Git uses a token for this host only.
    pub fn new(credential: &SourceCredential, secrets_dir: &str) -> Self {
        let file = |name: &str, value: String| SecretValue {
            variable: name.to_owned(),
            value,
            file: true,
            unmasked: false,
        };
        match &credential.credential {
            RepositoryCredential::Token { user, token } => {
                let Ok(address) = RepositoryAddress::parse(&credential.url) else { return Self::default() };
                let helper = format!("credential.{}.helper", address.origin());
                let command =
                    format!("!f() {{ test \"$1\" != get || cat '{secrets_dir}/{CREDENTIAL_FILE}'; }}; f");
                Self {
                    files: vec![file(CREDENTIAL_FILE, format!("username={user}\npassword={token}\n"))],
                    // The empty helper removes those of the image, which could store the token.
                    settings: vec![(helper.clone(), String::new()), (helper, command)],
                    variables: Vec::new(),
                }
            }
            RepositoryCredential::SshKey { key, known_hosts } => {
                let with_end = |text: &str| format!("{}\n", text.trim_end_matches('\n'));
                let path = |name: &str| format!("{secrets_dir}/{name}");
                let options = ssh_options(&path(KEY_FILE), &path(KNOWN_HOSTS_FILE));
                Self {
                    files: vec![file(KEY_FILE, with_end(key)), file(KNOWN_HOSTS_FILE, with_end(known_hosts))],
                    settings: Vec::new(),
                    variables: vec![("GIT_SSH_COMMAND", format!("ssh -oBatchMode=yes {options}"))],
                }
            }
        }
    }
}
