//! The rules that give roles to people: one document of the deployment.

use super::caller::Caller;
use crate::{
    context::service_context::Context,
    error::{Error, Result},
    ports::{DocumentKey, NewDocument},
};
use std::sync::{Arc, Mutex, PoisonError};
use tidemill_core::{
    access::roles::{Grants, MAX_RULES, Person, RoleError, RoleList, RoleRequest, RoleRule, RoleTarget},
    time::Timestamp,
};

/// Kind and name of the document.
const DOCUMENT_KIND: &str = "role";
const DOCUMENT_NAME: &str = "rules";
const MAX_ATTEMPTS: u32 = 5;

/// Rules with the time they were read.
type CachedRules = (Timestamp, Arc<RoleList>);

/// Service for roles.
#[derive(Debug, Clone)]
pub struct RoleService {
    context: Arc<Context>,
    cached: Arc<Mutex<Option<CachedRules>>>,
}

impl From<RoleError> for Error {
    fn from(error: RoleError) -> Self {
        Self::Invalid(error.to_string())
    }
}

impl RoleService {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Self { context, cached: Arc::default() }
    }

    fn key() -> DocumentKey {
        DocumentKey::new(DOCUMENT_KIND, DOCUMENT_NAME)
    }

    /// Reads the rules, with the version of their document.
    async fn read(&self) -> Result<(RoleList, Option<u64>)> {
        let Some(document) = self.context.stores.documents.get(&Self::key()).await? else {
            return Ok((RoleList::default(), None));
        };
        let rules = serde_json::from_str(&document.value)
            .map_err(|error| Error::storage("reading the rules of roles", error))?;
        Ok((rules, Some(document.version)))
    }

    /// Returns all rules.
    pub async fn list(&self) -> Result<RoleList> {
        Ok(self.read().await?.0)
    }

    /// Returns the roles of a person, by rules that are as old as a cached token may be.
    pub async fn grants(&self, person: &Person) -> Result<Grants> {
        let now = self.context.now();
        let cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let ttl_ms = self.context.settings.token_cache_ttl_ms;
        if let Some((_, rules)) = cached.filter(|(at, _)| now >= *at && now.since_ms(*at) < ttl_ms) {
            return Ok(Grants::of(&rules.rules, person));
        }
        let rules = Arc::new(self.read().await?.0);
        self.cache(now, rules.clone());
        Ok(Grants::of(&rules.rules, person))
    }

    fn cache(&self, now: Timestamp, rules: Arc<RoleList>) {
        *self.cached.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, rules));
    }

    /// Adds a rule, or changes the role of the one for the same target.
    pub async fn set(&self, request: RoleRequest, by: &Caller) -> Result<RoleRule> {
        let RoleRequest { role, target } = request.checked()?;
        let rule = RoleRule { role, target, set_at: self.context.now(), set_by: by.name.to_string() };
        self.change(|rules| {
            rules.retain(|one| one.target != rule.target);
            rules.push(rule.clone());
            if rules.len() > MAX_RULES {
                return Err(Error::Conflict(format!(
                    "there are {MAX_RULES} rules, the maximum; use groups, or patterns"
                )));
            }
            Ok(true)
        })
        .await?;
        Ok(rule)
    }

    /// Removes the rule of a target. Returns false if there is none.
    pub async fn remove(&self, target: RoleTarget) -> Result<bool> {
        let target = target.checked()?;
        self.change(|rules| {
            let before = rules.len();
            rules.retain(|one| one.target != target);
            Ok(rules.len() < before)
        })
        .await
    }

    /// Applies `change`, which returns whether it changed something, and writes the rules.
    async fn change(&self, change: impl Fn(&mut Vec<RoleRule>) -> Result<bool>) -> Result<bool> {
        for _ in 0..MAX_ATTEMPTS {
            let (mut list, version) = self.read().await?;
            if !change(&mut list.rules)? {
                return Ok(false);
            }
            list.rules.sort_by(|one, other| one.target.cmp(&other.target));
            let value = serde_json::to_string(&list)
                .map_err(|error| Error::storage("writing the rules of roles", error))?;
            let document = NewDocument { key: Self::key(), value, due_at: None, expires_at: None };
            if self.context.stores.documents.put(document, version).await? {
                self.cache(self.context.now(), Arc::new(list));
                return Ok(true);
            }
        }
        Err(Error::Conflict("the roles are changed by others at the same time; try again".into()))
    }
}
