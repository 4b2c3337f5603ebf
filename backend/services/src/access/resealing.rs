//! Seals stored documents again under the newest key.

use crate::{
    context::service_context::Context,
    error::{Error, Result},
    ports::NewDocument,
    seal::SecretSealer,
};
use serde::{Serialize, de::DeserializeOwned};
use tidemill_core::{api::RekeyReply, time::Timestamp};

/// Number of documents that one call re-encrypts.
const MAX_REKEYED_PER_CALL: usize = 100;
const PAGE_SIZE: usize = 200;

/// A stored record with one sealed value, which is sealed for the name of its document.
pub trait SealedRecord: Serialize + DeserializeOwned {
    /// The kind of its documents.
    const KIND: &'static str;

    /// Returns the sealed value.
    fn sealed(&mut self) -> &mut String;

    /// Returns a description for people.
    fn description(&self) -> String;

    /// Returns when the document `name` with the record expires, if it does.
    fn expires_at(_name: &str) -> Option<Timestamp> {
        None
    }
}

/// Re-encrypts the records of all repositories under the newest key, a limited number per call. Call it again while `more` is
/// set.
pub async fn reseal<R: SealedRecord>(context: &Context, seal: &SecretSealer) -> Result<RekeyReply> {
    let documents = &context.stores.documents;
    let (mut after, mut renewed, mut unreadable) = (None::<String>, 0, Vec::new());
    loop {
        let (page, more) = documents.list(R::KIND, "", after.as_deref(), PAGE_SIZE).await?;
        for document in page {
            after = Some(document.key.name.clone());
            let mut stored: R = serde_json::from_str(&document.value)
                .map_err(|error| Error::storage("reading a sealed record", error))?;
            let sealed = match seal.resealed(&document.key.name, stored.sealed()).await {
                Ok(Some(sealed)) => sealed,
                Ok(None) => continue,
                Err(Error::CannotOpen(_)) => {
                    unreadable.push(stored.description());
                    continue;
                }
                Err(error) => return Err(error),
            };
            if renewed == MAX_REKEYED_PER_CALL {
                return Ok(RekeyReply { renewed, more: true, unreadable });
            }
            *stored.sealed() = sealed;
            let value = serde_json::to_string(&stored)
                .map_err(|error| Error::storage("writing a sealed record", error))?;
            let expires_at = R::expires_at(&document.key.name);
            let new = NewDocument { key: document.key, value, due_at: None, expires_at };
            // On a conflict, the record was set or removed meanwhile. A new value may be under the older key.
            if !documents.put(new, Some(document.version)).await? {
                return Ok(RekeyReply { renewed, more: true, unreadable });
            }
            renewed += 1;
        }
        if !more {
            return Ok(RekeyReply { renewed, more: false, unreadable });
        }
    }
}
