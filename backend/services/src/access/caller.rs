//! The authenticated caller of a request, for services and the audit log.

use crate::error::{Error, Result};
use std::{collections::BTreeSet, net::IpAddr, sync::Arc};
use tidemill_core::access::Scope;
use tidemill_core::access::protection::Approver;
use tidemill_core::access::roles::{Grants, Person, Role};
use tidemill_core::execution::upload::UploadId;
use tidemill_core::repository::names_same_repository;
use uuid::Uuid;

/// The caller of a request; cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Id of the token: a UUID, or [`Self::BOOTSTRAP`]. Of a person: their provider and id there.
    pub id: Arc<str>,
    /// Name of the token or of the person.
    pub name: Arc<str>,
    /// Scopes of the token; those of a person depend on the repository.
    pub scopes: Arc<BTreeSet<Scope>>,
    /// The only repository that the token may access; `None` for all.
    pub repo: Option<Arc<str>>,
    /// Address of the client, if known.
    pub from: Option<IpAddr>,
    /// The person, if the caller is not a machine. Their roles decide, instead of scopes.
    pub person: Option<Arc<Person>>,
    /// The roles of the person.
    pub grants: Arc<Grants>,
    /// The session of a browser.
    pub session: Option<Uuid>,
    /// The scopes that the operation accepts.
    pub accepted: &'static [Scope],
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
            ..Self::internal("")
        }
    }

    /// Creates the caller for a person. Until [`Self::grants`] is set, they may do nothing.
    #[must_use]
    pub fn person(person: Person) -> Self {
        let caller = Self::internal(&person.name);
        Self { id: person.id.as_str().into(), person: Some(Arc::new(person)), ..caller }
    }

    /// Creates the caller for actions that no user requested, such as those of a schedule or a webhook.
    #[must_use]
    pub fn internal(name: &str) -> Self {
        Self {
            id: "internal".into(),
            name: name.into(),
            scopes: Arc::default(),
            repo: None,
            from: None,
            person: None,
            grants: Arc::default(),
            session: None,
            accepted: &[],
        }
    }

    /// Whether the caller may call operations that accept these scopes, in some repository at least.
    #[must_use]
    pub fn may_call(&self, accepted: &[Scope]) -> bool {
        if self.person.is_some() {
            return self.grants.highest().is_some_and(|role| accepted.contains(&role.scope()));
        }
        accepted.iter().any(|scope| self.scopes.contains(scope))
    }

    /// Whether the caller may call operations of the whole deployment that accept these scopes.
    #[must_use]
    pub fn may_call_for_deployment(&self, accepted: &[Scope]) -> bool {
        if self.person.is_some() {
            return self.grants.everywhere().is_some_and(|role| accepted.contains(&role.deployment_scope()));
        }
        self.repo.is_none()
    }

    /// Whether the caller administers the whole deployment.
    #[must_use]
    pub fn administers_deployment(&self) -> bool {
        self.may_call(&[Scope::Admin]) && self.may_call_for_deployment(&[Scope::Admin])
    }

    /// Whether the caller sees the items of every repository.
    #[must_use]
    pub fn sees_all(&self) -> bool {
        if self.person.is_some() { self.grants.everywhere().is_some() } else { self.repo.is_none() }
    }

    /// Returns a not-found error if the caller may not see an item of `repo`, and a forbidden error if their role is too low for the
    /// operation.
    pub fn check_item(&self, repo: &str, not_found: impl FnOnce() -> Error) -> Result<()> {
        if !self.can_read(repo) {
            return Err(not_found());
        }
        if self.person.is_some() { self.check_repository(repo) } else { Ok(()) }
    }

    /// The id of callers without credentials.
    const ANONYMOUS: &str = "anonymous";

    /// Creates the caller without credentials who reads a public repository.
    #[must_use]
    pub fn anonymous(repo: &str, from: Option<IpAddr>) -> Self {
        Self {
            id: Self::ANONYMOUS.into(),
            name: Self::ANONYMOUS.into(),
            repo: Some(repo.into()),
            from,
            ..Self::internal("")
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
        if self.person.is_some() {
            let role = self.grants.highest();
            return role.is_some_and(|role| [scope, Scope::Admin].contains(&role.scope()));
        }
        self.scopes.contains(&scope) || self.scopes.contains(&Scope::Admin)
    }

    /// Whether `worker` is the only scope.
    #[must_use]
    pub fn is_only_worker(&self) -> bool {
        self.person.is_none() && self.scopes.iter().all(|scope| *scope == Scope::Worker)
    }

    /// Returns who requests what this call starts: the name of the token, whatever its holder claims. With the deployment's own token it
    /// is the claimed name.
    #[must_use]
    pub fn requester(&self, claimed: Option<String>) -> Option<String> {
        if &*self.id == Self::BOOTSTRAP { claimed } else { Some(self.name.to_string()) }
    }

    /// Returns the id of who starts an execution; `None` with the deployment's own token, which anyone may have used.
    #[must_use]
    pub fn starter_id(&self) -> Option<String> {
        (&*self.id != Self::BOOTSTRAP).then(|| self.id.to_string())
    }

    /// Whether the caller may start, approve, cancel and retry executions of a repository.
    #[must_use]
    pub fn may_run_in(&self, repo: &str) -> bool {
        let accepted = [Scope::Run, Scope::Admin];
        if self.person.is_some() {
            return self.grants.role_in(repo).is_some_and(|role| accepted.contains(&role.scope()));
        }
        self.may_call(&accepted) && self.can_read(repo)
    }

    /// Returns who approves something of a repository.
    #[must_use]
    pub fn approver(&self, repo: &str) -> Approver<'_> {
        match &self.person {
            Some(person) => Approver::Person { person, role: self.grants.role_in(repo) },
            None => Approver::Token { id: &self.id, name: &self.name },
        }
    }

    /// Whether the caller may read items of a repository.
    #[must_use]
    pub fn can_read(&self, repo: &str) -> bool {
        if self.person.is_some() {
            return self.grants.role_in(repo).is_some();
        }
        self.repo.as_deref().is_none_or(|only| names_same_repository(only, repo))
    }

    /// Returns an error if the caller's token is for another repository, or if a person's role in it is too low for the operation.
    pub fn check_repository(&self, repo: &str) -> Result<()> {
        if self.person.is_some() {
            let role = self.grants.role_in(repo);
            if role.is_some_and(|role| self.accepted.contains(&role.scope())) {
                return Ok(());
            }
            return Err(Error::Forbidden(self.lacking(role, &format!("in {repo}"))));
        }
        match self.repo.as_deref() {
            Some(only) if !names_same_repository(only, repo) => Err(Error::Forbidden(format!(
                "this token is for {only} only, not for {repo}; use another token"
            ))),
            _ => Ok(()),
        }
    }

    /// Describes which role the person has, and which one they lack.
    #[must_use]
    pub fn lacking(&self, role: Option<Role>, place: &str) -> String {
        let has = role.map_or_else(|| "have no role".to_owned(), |role| format!("have the role {role}"));
        let lowest = Role::ALL.into_iter().find(|role| self.accepted.contains(&role.scope()));
        let needs = lowest.map_or_else(|| "a token".to_owned(), |role| format!("the role {role}"));
        format!(
            "you {has} {place}; this needs {needs}, which an administrator gives with `tidemill roles set`"
        )
    }

    /// Returns an error if the upload is for another repository than the caller's token.
    pub fn check_upload(&self, upload: &str) -> Result<()> {
        // A person's upload is checked when an execution names it: its bytes are what its name says, and it serves one repository.
        let Some(only) = self.repo.as_deref() else { return Ok(()) };
        if upload.parse::<UploadId>().is_ok_and(|upload| upload.belongs_to(only)) {
            return Ok(());
        }
        Err(Error::Forbidden(format!(
            "this token is for {only} only, and the upload is for another repository"
        )))
    }
}
