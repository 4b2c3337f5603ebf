//! The rules that give roles to people: one document of the deployment.

use super::caller::Caller;
use crate::{
    context::service_context::Context,
    error::{Error, Result},
    ports::{DocumentKey, MAX_DOCUMENT_SIZE, NewDocument},
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tidemill_core::{
    access::roles::{Grants, MAX_RULES, Person, RoleError, RoleList, RoleRequest, RoleRule, RoleTarget},
    time::Timestamp,
};

/// Kind and name of the document.
const DOCUMENT_KIND: &str = "role";
const DOCUMENT_NAME: &str = "rules";
const MAX_ATTEMPTS: u32 = 5;

/// Rules with the version of their document, and the time before they were read.
#[derive(Debug, Clone)]
struct CachedRules {
    rules: Arc<RoleList>,
    version: Option<u64>,
    at: Timestamp,
}

/// The cached rules, and the number of changes that this process made: no read from before a change is cached after it.
#[derive(Debug, Default)]
struct RuleCache {
    changes: u64,
    cached: Option<CachedRules>,
}

/// Service for roles.
#[derive(Debug, Clone)]
pub struct RoleService {
    context: Arc<Context>,
    cache: Arc<Mutex<RuleCache>>,
}

impl RuleCache {
    /// Adds rules that were read when this process had made `changes`, unless newer ones are known.
    fn add(&mut self, read: CachedRules, changes: u64) {
        let is_older = self.cached.as_ref().is_some_and(|known| known.version > read.version);
        if self.changes == changes && !is_older {
            self.cached = Some(read);
        }
    }

    /// Forgets the rules, after a change.
    fn forget(&mut self) {
        self.changes += 1;
        self.cached = None;
    }
}

fn invalid(error: &RoleError) -> Error {
    Error::Invalid(error.to_string())
}

impl RoleService {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Self { context, cache: Arc::default() }
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
        let ttl_ms = self.context.settings.token_cache_ttl_ms;
        let (cached, changes) = {
            let cache = self.cache();
            (cache.cached.clone(), cache.changes)
        };
        if let Some(cached) = cached.filter(|one| now >= one.at && now.since_ms(one.at) < ttl_ms) {
            return Ok(Grants::of(&cached.rules.rules, person));
        }
        let (list, version) = self.read().await?;
        let rules = Arc::new(list);
        self.cache().add(CachedRules { rules: rules.clone(), version, at: now }, changes);
        Ok(Grants::of(&rules.rules, person))
    }

    fn cache(&self) -> MutexGuard<'_, RuleCache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a rule, or changes the role of the one for the same target.
    pub async fn set(&self, request: RoleRequest, by: &Caller) -> Result<RoleRule> {
        let RoleRequest { role, target } = request.checked().map_err(|error| invalid(&error))?;
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
        let target = target.checked().map_err(|error| invalid(&error))?;
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
            if value.len() > MAX_DOCUMENT_SIZE {
                return Err(Error::Conflict(format!(
                    "the rules have more than {MAX_DOCUMENT_SIZE} bytes together; use groups, or patterns"
                )));
            }
            let document = NewDocument { key: Self::key(), value, due_at: None, expires_at: None };
            let written = self.context.stores.documents.put(document, version).await;
            // Also after an error: the rules may have been written.
            self.cache().forget();
            if written? {
                return Ok(true);
            }
        }
        Err(Error::Conflict("the roles are changed by others at the same time; try again".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::{CachedRules, RuleCache};
    use std::sync::Arc;
    use tidemill_core::{access::roles::RoleList, time::Timestamp};

    fn read(version: u64) -> CachedRules {
        CachedRules { rules: Arc::new(RoleList::default()), version: Some(version), at: Timestamp(0) }
    }

    #[test]
    fn older_rules_never_replace_newer_ones() {
        let mut cache = RuleCache::default();
        let version = |cache: &RuleCache| cache.cached.as_ref().and_then(|cached| cached.version);
        cache.add(read(2), 0);
        // This read began first and ended last.
        cache.add(read(1), 0);
        assert_eq!(version(&cache), Some(2));
        cache.add(read(3), 0);
        assert_eq!(version(&cache), Some(3));
        cache.forget();
        cache.add(read(3), 0);
        assert_eq!(version(&cache), None, "it was read before the change");
        cache.add(read(4), 1);
        assert_eq!(version(&cache), Some(4));
    }
}
