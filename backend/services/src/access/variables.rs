//! The variables that executions get from their repository.

use super::{registries::RegistryService, secrets::SecretService};
use crate::error::Result;
use tidemill_core::execution::{
    assignment::SecretValue,
    facts::{ExternalVariables, Facts},
};

/// Service for the variables of executions.
#[derive(Debug, Clone)]
pub struct VariableService {
    secrets: SecretService,
    registries: RegistryService,
}

impl VariableService {
    pub(crate) const fn new(secrets: SecretService, registries: RegistryService) -> Self {
        Self { secrets, registries }
    }

    /// Returns the variables that an execution with these facts gets, and its registry of images.
    pub async fn of_execution(&self, facts: &Facts) -> Result<ExternalVariables> {
        let (external, registry) =
            tokio::try_join!(self.secrets.external_variables(facts), self.registry(facts))?;
        Ok(ExternalVariables { registry, ..external })
    }

    /// Returns the facts of a new execution with the variables that it gets from its repository.
    pub(crate) async fn add_to(&self, mut facts: Facts) -> Result<Facts> {
        let external = self.of_execution(&facts).await?;
        facts.add_external(external);
        Ok(facts)
    }

    /// Returns the registry for which the repository has its only login. A fork has none.
    async fn registry(&self, facts: &Facts) -> Result<Option<String>> {
        if facts.is_from_fork() {
            return Ok(None);
        }
        let logins = self.registries.list(&facts.repo).await?.registries;
        Ok(match logins.as_slice() {
            [only] => Some(only.registry.clone()),
            _ => None,
        })
    }

    /// Returns the user and the password of the registry of an execution as GitLab's variables.
    pub(crate) async fn registry_login(&self, facts: &Facts) -> Result<Vec<SecretValue>> {
        let Some(registry) = facts.registry.as_ref().filter(|_| !facts.is_from_fork()) else {
            return Ok(Vec::new());
        };
        let Some(login) = self.registries.login(&facts.repo, registry).await? else { return Ok(Vec::new()) };
        let value = |variable: &str, value: String, unmasked| SecretValue {
            variable: variable.to_owned(),
            value,
            file: false,
            unmasked,
        };
        Ok(vec![
            value("CI_REGISTRY_USER", login.username, true),
            value("CI_REGISTRY_PASSWORD", login.password, false),
        ])
    }
}
