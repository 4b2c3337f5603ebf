//! Who calls: what the access check found out, for services and the audit record.

use crate::error::{Error, Result};
use std::{collections::BTreeSet, net::IpAddr, sync::Arc};
use tidemill_core::access::Scope;
use tidemill_core::execution::upload::UploadId;
use tidemill_core::repository::is_same;

/// Who calls; cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Id of its token: a UUID, or [`Self::BOOTSTRAP`].
    pub id: Arc<str>,
    /// The token's name.
    pub name: Arc<str>,
    /// What the token is for.
    pub scopes: Arc<BTreeSet<Scope>>,
    /// The only repository that it is for.
    pub repo: Option<Arc<str>>,
    /// Where the call comes from, if that is known.
    pub from: Option<IpAddr>,
}

impl Caller {
    /// The id of the deployment's own tokens.
    pub const BOOTSTRAP: &str = "bootstrap";

    /// Who calls with a token of the deployment itself.
    #[must_use]
    pub fn bootstrap(scope: Scope) -> Self {
        Self {
            id: Self::BOOTSTRAP.into(),
            name: scope.word().into(),
            scopes: Arc::new(BTreeSet::from([scope])),
            repo: None,
            from: None,
        }
    }

    /// Who acts when nobody calls: a part of the deployment, such as its schedule or a webhook of a repository.
    #[must_use]
    pub fn internal(name: &str) -> Self {
        Self { id: "internal".into(), name: name.into(), scopes: Arc::default(), repo: None, from: None }
    }

    /// Whether its token has this scope; `admin` has all.
    #[must_use]
    pub fn has(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope) || self.scopes.contains(&Scope::Admin)
    }

    /// Whether it may do nothing but what workers do.
    #[must_use]
    pub fn is_only_worker(&self) -> bool {
        self.scopes.iter().all(|scope| *scope == Scope::Worker)
    }

    /// Who asks for what this call starts. A token that was made is known by its name, whatever its holder claims; with the
    /// deployment's own token, the claim says on whose behalf.
    #[must_use]
    pub fn requester(&self, claimed: Option<String>) -> Option<String> {
        if &*self.id == Self::BOOTSTRAP { claimed } else { Some(self.name.to_string()) }
    }

    /// Whether it may see what belongs to a repository.
    #[must_use]
    pub fn may_see(&self, repo: &str) -> bool {
        self.repo.as_deref().is_none_or(|only| is_same(only, repo))
    }

    /// Refuses a change to what belongs to another repository than the caller's.
    pub fn must_be_of(&self, repo: &str) -> Result<()> {
        match self.repo.as_deref() {
            Some(only) if !is_same(only, repo) => {
                Err(Error::Forbidden(format!("this token is for {only} only, not for {repo}; use another")))
            }
            _ => Ok(()),
        }
    }

    /// Refuses an upload that is for another repository than the caller's.
    pub fn must_be_of_upload(&self, upload: &str) -> Result<()> {
        let Some(only) = self.repo.as_deref() else { return Ok(()) };
        if upload.parse::<UploadId>().is_ok_and(|upload| upload.is_of(only)) {
            return Ok(());
        }
        Err(Error::Forbidden(format!(
            "this token is for {only} only, and the upload is for another repository"
        )))
    }
}
