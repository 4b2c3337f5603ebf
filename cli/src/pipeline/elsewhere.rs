//! How the commands of this machine include files from elsewhere: with the user's own git set-up and connections.

use crate::{
    args::IncludeArgs,
    settings::{self, worker_file::WorkerFile},
};
use std::path::{Path, PathBuf};
use tidemill_core::repository::{AddressPolicy, RepositoryAddress};
use tidemill_worker::source::{GitSetUp, HostPolicy, IncludeAccess, IncludeFetcher, local_git_command};

/// What files from elsewhere are included with.
#[derive(Debug, Clone, Default)]
pub struct Elsewhere {
    /// The directory of fetched sources; without it, nothing is included from elsewhere.
    cache: Option<PathBuf>,
    args: IncludeArgs,
}

impl Elsewhere {
    /// Uses the arguments, and the data directory that they or the environment set.
    pub fn new(args: &IncludeArgs, data_dir: Option<&Path>) -> Self {
        let data_dir = data_dir.map(Path::to_owned).or_else(settings::default_data_dir);
        let cache = data_dir.map(|directory| directory.join("worker").join("cache"));
        Self { cache, args: args.clone() }
    }

    /// Uses what was fetched before, for commands that must not wait for a server.
    pub fn offline() -> Self {
        Self::new(&IncludeArgs { offline: true, ..IncludeArgs::default() }, None)
    }

    /// Returns the reader for the repository at `address`, with the hosts and credentials of `policy`.
    pub fn of_repository(
        &self,
        repository: Option<RepositoryAddress>,
        policy: HostPolicy,
    ) -> Option<IncludeFetcher> {
        let IncludeArgs { templates, offline } = &self.args;
        // A mistake in worker.toml is reported by the commands that start workers.
        let of_operator = || {
            WorkerFile::load(settings::default_worker_file().as_deref(), &[])
                .ok()
                .and_then(|file| file.templates)
        };
        Some(IncludeFetcher::new(IncludeAccess {
            policy,
            set_up: GitSetUp::User,
            repository,
            private_host: true,
            cache: self.cache.clone()?,
            templates: templates.clone().or_else(of_operator),
            offline: *offline,
        }))
    }

    /// Returns the reader for the working tree at `root`, whose server is that of its `origin`.
    pub fn of_working_tree(&self, root: &Path) -> Option<IncludeFetcher> {
        // The user may connect to any host.
        let policy = HostPolicy::new(AddressPolicy::unrestricted());
        let parsed = origin(root).and_then(|url| RepositoryAddress::parse_with_credentials(url.trim()).ok());
        let repository = parsed.map(|(address, credentials)| {
            if let Some(credentials) = credentials {
                policy.set_credentials(&address, credentials);
            }
            address
        });
        self.of_repository(repository, policy)
    }
}

/// Returns the address of the `origin` of the working tree at `root`, which may have credentials.
pub fn origin(root: &Path) -> Option<String> {
    let output = local_git_command(root).args(["remote", "get-url", "origin"]).output();
    let output = output.ok().filter(|output| output.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}
