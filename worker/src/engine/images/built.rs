//! What a worker remembers about the images that it built.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};
use tidemill_core::ids::ExecutionId;

/// Maximum number of images that are remembered.
const MAX_BUILT_IMAGES: usize = 10_000;

/// Images that jobs built on this worker since it started, with their executions.
#[derive(Debug, Default)]
pub struct BuiltImages {
    /// The oldest first.
    ids: Mutex<VecDeque<(ExecutionId, String)>>,
}

impl BuiltImages {
    /// Remembers that a job of an execution built the image with this id.
    pub fn insert(&self, execution: ExecutionId, id: &str) {
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        if ids.len() >= MAX_BUILT_IMAGES {
            ids.pop_front();
        }
        ids.push_back((execution, id.to_owned()));
    }

    /// Whether a job of this execution built the image with this id.
    pub fn contains(&self, execution: ExecutionId, id: &str) -> bool {
        let ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        ids.iter().any(|(of, built)| *of == execution && built == id)
    }
}
