//! Credentials of repositories: stored with the registration, and passed to the workers of their jobs.

use super::{
    record::{Repository, StoredCredential, find_repository, sealing_place},
    service::RepositoryService,
};
use crate::{
    error::{Error, Result},
    ports::ExecutionRecord,
};
use tidemill_core::plan::PlannedJob;
use tidemill_core::repository::{
    RepositoryAddress, canonical_name,
    credential::{CredentialKind, SourceCredential},
    registration::{CredentialChange, RepositoryRequest},
};

/// The secret that a credential is sealed as.
pub(super) const SEALED_AS: &str = "credential";

impl RepositoryService {
    /// Returns the credential of the repository at `address` after `request`.
    pub(super) async fn updated_credential(
        &self,
        address: &RepositoryAddress,
        request: &RepositoryRequest,
        old: Option<&StoredCredential>,
    ) -> Result<Option<StoredCredential>> {
        let allow_push = request.allow_push.unwrap_or_else(|| old.is_some_and(|old| old.allow_push));
        let stored = match &request.credential {
            Some(CredentialChange::Remove) => None,
            Some(CredentialChange::Set(credential)) => {
                credential.check(address).map_err(|error| Error::Invalid(error.to_string()))?;
                let text = serde_json::to_vec(credential)
                    .map_err(|error| Error::storage("writing a credential", error))?;
                let sealed = self.seal.seal(&sealing_place(&address.canonical(), SEALED_AS), &text).await?;
                Some(StoredCredential { kind: credential.kind(), allow_push, sealed })
            }
            None => old.map(|old| StoredCredential { allow_push, ..old.clone() }),
        };
        if let Some(stored) = &stored
            && CredentialKind::of_scheme(address.scheme()) != Some(stored.kind)
        {
            return Err(Error::Invalid(format!(
                "the repository has a credential of the kind {}, which does not fit its new address; give it another one, or remove it",
                stored.kind.as_str()
            )));
        }
        if stored.is_none() && request.allow_push == Some(true) {
            return Err(Error::Invalid(
                "jobs can push only with a credential; the repository has none, so add one with it".into(),
            ));
        }
        Ok(stored)
    }

    /// Returns the credential for a job of `execution`, if its repository has one. Jobs of a fork get none. The record is read
    /// only if the repository had a credential when the execution started, or if the job asks to push. Only the assignment to a
    /// worker may contain it.
    pub(crate) async fn credential_for_job(
        &self,
        execution: &ExecutionRecord,
        job: &PlannedJob,
    ) -> Result<Option<SourceCredential>> {
        let spec = &execution.spec;
        let pushes = job.surroundings.checkout.push;
        let refused = |why: &str| {
            Error::SecretUnavailable(format!(
                "job `{}` asks to push to its repository (`checkout: {{ push: true }}`), and {why}",
                job.name
            ))
        };
        if spec.facts.is_from_fork() {
            if pushes {
                return Err(refused(
                    "its commit comes from a fork, which gets no credential; leave the job out of such executions with `if: \"!fork\"`",
                ));
            }
            return Ok(None);
        }
        if !pushes && !spec.source.has_credential() {
            return Ok(None);
        }
        let name = canonical_name(&spec.repo);
        let registered = find_repository(&self.context, &name).await?;
        let found = registered.as_ref().and_then(|found| Some((found, found.credential.as_ref()?)));
        let Some((repository, stored)) = found else {
            if pushes {
                return Err(refused(&format!(
                    "{name} has no credential; register one with: tidemill repo add {} --provider NAME --credential FILE --allow-push",
                    spec.repo
                )));
            }
            return Ok(None);
        };
        if pushes && !stored.allow_push {
            return Err(refused(&format!(
                "the credential of {name} is for fetching only; allow it with: tidemill repo add {} --provider {} --allow-push",
                repository.url, repository.provider
            )));
        }
        let opened = self.seal.open(&sealing_place(&name, SEALED_AS), &stored.sealed).await;
        let opened = opened.map_err(|error| match error {
            Error::CannotOpen(why) => {
                Error::SecretUnavailable(format!("the credential of {name} cannot be read: {why}"))
            }
            error => error,
        })?;
        let credential =
            serde_json::from_slice(&opened).map_err(|error| Error::storage("reading a credential", error))?;
        Ok(Some(SourceCredential { url: repository.url.clone(), credential, may_push: pushes }))
    }
}

impl Repository {
    /// Whether workers fetch it with a credential.
    pub fn has_credential(&self) -> bool {
        self.credential.is_some()
    }
}
