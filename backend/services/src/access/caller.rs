//! The authenticated caller of a request, for services and the audit log.

use crate::error::{Error, Result};
use std::{collections::BTreeSet, net::IpAddr, sync::Arc};
use tidemill_core::access::Scope;
use tidemill_core::execution::upload::UploadId;
use tidemill_core::repository::names_same_repository;

/// The caller of a request; cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Id of the token: a UUID, or [`Self::BOOTSTRAP`].
    pub id: Arc<str>,
    /// Name of the token.
    pub name: Arc<str>,
    /// Scopes of the token.
    pub scopes: Arc<BTreeSet<Scope>>,
    /// The only repository that the token may access; `None` for all.
    pub repo: Option<Arc<str>>,
    /// Address of the client, if known.
    pub from: Option<IpAddr>,
}

impl Caller {
    /// The id of the deployment's own tokens.
    pub const BOOTSTRAP: &str = "bootstrap";

    /// Creates the caller of one of the deployment's own tokens.
    #[must_use]
    pub fn bootstrap(scope: Scope) -> Self {
        Self {
            id: Self::BOOTSTRAP.into(),
            name: scope.as_str().into(),
            scopes: Arc::new(BTreeSet::from([scope])),
            repo: None,
            from: None,
        }
    }

    /// Creates the caller for actions that no user requested, such as those of a schedule or a webhook.
    #[must_use]
    pub fn internal(name: &str) -> Self {
        Self { id: "internal".into(), name: name.into(), scopes: Arc::default(), repo: None, from: None }
    }

    /// The id of callers without credentials.
    const ANONYMOUS: &str = "anonymous";

    /// Creates the caller without credentials who reads a public repository.
    #[must_use]
    pub fn anonymous(repo: &str, from: Option<IpAddr>) -> Self {
        Self {
            id: Self::ANONYMOUS.into(),
            name: Self::ANONYMOUS.into(),
            scopes: Arc::default(),
            repo: Some(repo.into()),
            from,
        }
    }

    /// Whether the caller has no credentials.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        &*self.id == Self::ANONYMOUS
    }

    /// Whether the token has this scope; `admin` includes all.
    #[must_use]
    pub fn has_scope(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope) || self.scopes.contains(&Scope::Admin)
    }

    /// Whether `worker` is the only scope.
    #[must_use]
    pub fn is_only_worker(&self) -> bool {
        self.scopes.iter().all(|scope| *scope == Scope::Worker)
    }

    /// Returns who requests what this call starts: the name of the token, whatever its holder claims. With the deployment's own token it
    /// is the claimed name.
    #[must_use]
    pub fn requester(&self, claimed: Option<String>) -> Option<String> {
        if &*self.id == Self::BOOTSTRAP { claimed } else { Some(self.name.to_string()) }
    }

    /// Whether the caller may read items of a repository.
    #[must_use]
    pub fn can_read(&self, repo: &str) -> bool {
        self.repo.as_deref().is_none_or(|only| names_same_repository(only, repo))
    }

    /// Returns an error if the caller's token is for another repository.
    pub fn check_repository(&self, repo: &str) -> Result<()> {
        match self.repo.as_deref() {
            Some(only) if !names_same_repository(only, repo) => Err(Error::Forbidden(format!(
                "this token is for {only} only, not for {repo}; use another token"
            ))),
            _ => Ok(()),
        }
    }

    /// Returns an error if the upload is for another repository than the caller's token.
    pub fn check_upload(&self, upload: &str) -> Result<()> {
        let Some(only) = self.repo.as_deref() else { return Ok(()) };
        if upload.parse::<UploadId>().is_ok_and(|upload| upload.belongs_to(only)) {
            return Ok(());
        }
        Err(Error::Forbidden(format!(
            "this token is for {only} only, and the upload is for another repository"
        )))
    }
}
