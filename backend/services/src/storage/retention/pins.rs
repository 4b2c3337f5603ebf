//! Pins: a pinned execution is kept until a user unpins it.

use super::service::RetentionService;
use crate::{
    error::{Error, Result},
    ports::{Commit, Write},
};
use tidemill_core::{
    ids::ExecutionId,
    retention::{
        api::{PinReply, PinRequest},
        decision::Pin,
    },
};

const MAX_ATTEMPTS: u32 = 50;
/// Maximum length of a note, in bytes.
const MAX_NOTE_LEN: usize = 500;

impl RetentionService {
    /// Pins or unpins an execution for `by`. Pinning one that is pinned changes nothing.
    pub async fn pin(&self, id: ExecutionId, request: PinRequest, by: &str) -> Result<PinReply> {
        let note = request.note.map(|note| note.trim().to_owned()).filter(|note| !note.is_empty());
        if note.as_ref().is_some_and(|note| note.len() > MAX_NOTE_LEN || note.contains(char::is_control)) {
            return Err(Error::Invalid(format!(
                "a note has at most {MAX_NOTE_LEN} bytes, without control characters"
            )));
        }
        for _ in 0..MAX_ATTEMPTS {
            let found = self.context.stores.records.execution_state(id).await?;
            let (mut state, version) = found
                .filter(|(state, _)| !state.retention.removing)
                .ok_or_else(|| Error::NotFound(format!("there is no execution {id}")))?;
            if state.retention.pinned.is_some() == request.pinned {
                return Ok(PinReply::of(id, state.retention.pinned.as_ref(), false));
            }
            let pin =
                request.pinned.then(|| Pin { by: by.to_owned(), at: self.context.now(), note: note.clone() });
            state.retention.pinned.clone_from(&pin);
            let write = Write::PutExecution { id, if_version: version, state };
            if let Commit::Done(_) = self.context.stores.records.commit(vec![write]).await? {
                return Ok(PinReply::of(id, pin.as_ref(), true));
            }
        }
        Err(Error::Conflict(format!("execution {id} changes too fast; try again")))
    }
}
