//! The credential that came with a job, for the host of its repository.

use super::super::git::SourceError;
use rustix::fs::{MemfdFlags, Mode, fchmod, memfd_create};
use std::{
    fs::File,
    io::{self, Write},
    os::fd::AsRawFd,
    process::Command,
    sync::{Arc, OnceLock},
};
use tidemill_core::repository::{
    Credentials, RepositoryAddress, Scheme, canonical_name,
    credential::{RepositoryCredential, SourceCredential},
};

/// The credential of a job's repository, and what git needs to use it.
#[derive(Debug)]
pub struct JobCredential {
    source: Arc<SourceCredential>,
    /// The name of the repository. What is fetched with the credential is cached for jobs of this repository only.
    pub scope: String,
    identity: OnceLock<SshIdentity>,
}

impl JobCredential {
    /// Creates the credential of one job.
    pub fn new(source: Arc<SourceCredential>) -> Self {
        let scope = canonical_name(&source.url);
        Self { source, scope, identity: OnceLock::new() }
    }

    /// Whether it is for the host of `address`.
    pub fn applies_to(&self, address: &RepositoryAddress) -> bool {
        self.source.applies_to(address)
    }

    /// Returns the user and token for `address`, if it has them.
    pub fn http_credentials(&self, address: &RepositoryAddress) -> Option<Credentials> {
        self.source.http_credentials(address)
    }

    /// Makes SSH use the key for `address`, and no other key, if it has one for that host.
    pub fn configure_ssh(
        &self,
        address: &RepositoryAddress,
        command: &mut Command,
    ) -> Result<(), SourceError> {
        let RepositoryCredential::SshKey { key, known_hosts } = &self.source.credential else {
            return Ok(());
        };
        if address.scheme() != Scheme::Ssh || !self.applies_to(address) {
            return Ok(());
        }
        let identity = if let Some(identity) = self.identity.get() {
            identity
        } else {
            let failed = |error| SourceError::io("the repository's SSH key cannot be used", &error);
            let identity = SshIdentity::new(key, known_hosts).map_err(failed)?;
            self.identity.get_or_init(|| identity)
        };
        command.env("GIT_SSH_COMMAND", identity.command());
        Ok(())
    }
}

/// An SSH key with the keys of its host, in files that exist in this process's memory only.
#[derive(Debug)]
struct SshIdentity {
    key: File,
    known_hosts: File,
}

impl SshIdentity {
    fn new(key: &str, known_hosts: &str) -> io::Result<Self> {
        Ok(Self { key: memory_file(key)?, known_hosts: memory_file(known_hosts)? })
    }

    fn command(&self) -> String {
        format!(
            "ssh -F none -oBatchMode=yes -oConnectTimeout=20 -oServerAliveInterval=15 -oServerAliveCountMax=4 {}",
            ssh_options(&path_of(&self.key), &path_of(&self.known_hosts))
        )
    }
}

/// Returns options with which SSH uses the key in a file, and trusts the host keys in another.
pub fn ssh_options(key: &str, known_hosts: &str) -> String {
    format!(
        "-oIdentitiesOnly=yes -oIdentityAgent=none -oIdentityFile={key} -oStrictHostKeyChecking=yes \
         -oUserKnownHostsFile={known_hosts} -oGlobalKnownHostsFile=/dev/null"
    )
}

/// Returns a file in memory, which processes of this user can open by its path while it exists.
fn memory_file(text: &str) -> io::Result<File> {
    let mut file = File::from(memfd_create("tidemill-credential", MemfdFlags::CLOEXEC)?);
    // SSH rejects keys that others may read.
    fchmod(&file, Mode::RUSR | Mode::WUSR)?;
    file.write_all(text.as_bytes())?;
    // A key without a line end at its end is invalid.
    if !text.ends_with('\n') {
        file.write_all(b"\n")?;
    }
    Ok(file)
}

fn path_of(file: &File) -> String {
    format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd())
}
