//! Policy for sources of requests, applied before anything is recorded.

use super::record;
use crate::{
    context::service_context::Context,
    error::{Error, Result},
};
use tidemill_core::api::ExecuteRequest;
use tidemill_core::execution::{assignment::Source, upload::UploadId};
use tidemill_core::repository::{AddressPolicy, RepositoryAddress, RepositoryName, canonical_name};

/// The sources that a server accepts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourcePolicy {
    /// Policy for addresses of repositories.
    pub addresses: AddressPolicy,
    /// Whether snapshots on this machine's disk are accepted: only by a server for the user who started it.
    pub snapshots: bool,
}

impl SourcePolicy {
    /// Accepts all sources that the user who runs the server could fetch.
    #[must_use]
    pub fn unrestricted() -> Self {
        Self { addresses: AddressPolicy::unrestricted(), snapshots: true }
    }

    /// Checks the sources of a request, and rewrites them to the canonical form.
    pub(crate) async fn admit(&self, context: &Context, request: &mut ExecuteRequest) -> Result<()> {
        RepositoryName::parse(&request.repo).map_err(|error| Error::Invalid(error.to_string()))?;
        match &request.source {
            Source::None | Source::Git { .. } => {}
            Source::Snapshot { repository, .. } => {
                if !self.snapshots {
                    return Err(Error::Invalid(
                        "this server does not accept sources on its own disk; name a repository by its address, or upload them".into(),
                    ));
                }
                if *repository != canonical_name(&request.repo) {
                    return Err(Error::Invalid(
                        "the snapshot belongs to another repository than the run".into(),
                    ));
                }
            }
            Source::Uploaded { upload, .. } => {
                let upload: UploadId =
                    upload.parse().map_err(|error| Error::Invalid(format!("`source`: {error}")))?;
                if !upload.belongs_to(&request.repo) {
                    return Err(Error::Invalid(
                        "the uploaded sources belong to another repository than the run; upload them for this one".into(),
                    ));
                }
            }
        }
        self.readmit(context, &request.repo, &mut request.source).await
    }

    /// Checks sources of an execution of `repo` again that were accepted before: registered repositories and the policy may have
    /// changed.
    pub(crate) async fn readmit(&self, context: &Context, repo: &str, source: &mut Source) -> Result<()> {
        let (Source::Git { url, private_host, has_credential, .. }
        | Source::Uploaded { url: Some(url), private_host, has_credential, .. }) = source
        else {
            return Ok(());
        };
        let mut address = RepositoryAddress::parse(url).map_err(|error| Error::Invalid(error.to_string()))?;
        // Reads the repository only if the policy needs it.
        let record = if self.addresses.any_host {
            None
        } else {
            record::find_repository(context, &address.canonical()).await?
        };
        let registered = record.as_ref().and_then(|record| RepositoryAddress::parse(&record.url).ok());
        // The credential of a repository is for its own jobs only, and for the address that it was registered with.
        *has_credential = record.is_some_and(|record| record.has_credential())
            && address.canonical() == canonical_name(repo);
        if let Some(registered) = registered.as_ref().filter(|_| *has_credential) {
            address = registered.clone();
        }
        let allowed = self.addresses.check(&address, registered.as_ref());
        *private_host = allowed.map_err(|refusal| Error::Invalid(refusal.to_string()))?;
        *url = address.to_git_url();
        Ok(())
    }
}
