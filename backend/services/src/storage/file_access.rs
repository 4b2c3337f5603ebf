//! What reads of files inside of artifacts need.

use crate::seal::SecretSealer;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Maximum number of archives that are read at the same time.
const MAX_READERS: usize = 16;

/// Limits concurrent reads and opens links. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct FileAccess {
    pub(super) readers: Arc<Semaphore>,
    pub(super) sealer: SecretSealer,
}

impl FileAccess {
    pub fn new(sealer: SecretSealer) -> Self {
        Self { readers: Arc::new(Semaphore::new(MAX_READERS)), sealer }
    }
}
