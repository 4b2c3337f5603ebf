//! Which sources a request may name: decided once, before anything of it is recorded.

use super::record;
use crate::{
    context::service_context::Context,
    error::{Error, Result},
};
use tidemill_core::api::ExecuteRequest;
use tidemill_core::execution::{assignment::Source, upload::UploadId};
use tidemill_core::repository::{AddressPolicy, RepositoryAddress, RepositoryName, canonical};

/// What a server takes as sources.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourcePolicy {
    /// Repositories on networks.
    pub addresses: AddressPolicy,
    /// Whether snapshots on this machine's disk are taken: of a server that only serves the person who started it.
    pub snapshots: bool,
}

impl SourcePolicy {
    /// Whatever the person who runs the server could have fetched without it.
    #[must_use]
    pub fn unrestricted() -> Self {
        Self { addresses: AddressPolicy::unrestricted(), snapshots: true }
    }

    /// Takes what a request names, in the only form that is passed on; or refuses it.
    pub(crate) async fn admit(&self, context: &Context, request: &mut ExecuteRequest) -> Result<()> {
        RepositoryName::parse(&request.repo).map_err(|error| Error::Invalid(error.to_string()))?;
        match &request.source {
            Source::None | Source::Git { .. } => {}
            Source::Snapshot { repository, .. } => {
                if !self.snapshots {
                    return Err(Error::Invalid(
                        "this server takes no sources from its own disk; name a repository by its address, or upload them".into(),
                    ));
                }
                if *repository != canonical(&request.repo) {
                    return Err(Error::Invalid("the snapshot is of another repository than the run".into()));
                }
            }
            Source::Uploaded { upload, .. } => {
                let upload: UploadId =
                    upload.parse().map_err(|error| Error::Invalid(format!("`source`: {error}")))?;
                if !upload.is_of(&request.repo) {
                    return Err(Error::Invalid(
                        "the uploaded sources were made for another repository than the run; upload them for this one".into(),
                    ));
                }
            }
        }
        self.admit_again(context, &mut request.source).await
    }

    /// Decides anew about sources that were taken before: what is registered, and what the operator allows, may have changed.
    pub(crate) async fn admit_again(&self, context: &Context, source: &mut Source) -> Result<()> {
        let (Source::Git { url, private_host, .. } | Source::Uploaded { url: Some(url), private_host, .. }) =
            source
        else {
            return Ok(());
        };
        let address = RepositoryAddress::parse(url).map_err(|error| Error::Invalid(error.to_string()))?;
        // One that needs no permission costs no look.
        let registered =
            if self.addresses.any_host { None } else { record::find(context, &address.canonical()).await? };
        let registered = registered.and_then(|known| RepositoryAddress::parse(&known.url).ok());
        let allowed = self.addresses.decide(&address, registered.as_ref());
        *private_host = allowed.map_err(|refusal| Error::Invalid(refusal.to_string()))?;
        *url = address.to_git_url();
        Ok(())
    }
}
