//! What a worker remembers about users of containers.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::OnceCell;

/// Maximum number of users that are remembered.
const MAX_KNOWN_USERS: usize = 1000;

/// The ids of a user and its group; `None`: the image does not have the user.
pub type Ids = Option<(u32, u32)>;

/// Users of images by name, and whether the engine maps ids.
#[derive(Debug, Default)]
pub struct KnownUsers {
    /// By the id of the image and the name.
    ids: Mutex<HashMap<(String, String), Ids>>,
    /// Whether ids in containers are other ids on the machine.
    pub are_mapped: OnceCell<bool>,
}

impl KnownUsers {
    /// Returns the ids of the user `name` of an image, if they are known.
    pub fn get(&self, image: &str, name: &str) -> Option<Ids> {
        self.lock().get(&(image.to_owned(), name.to_owned())).copied()
    }

    /// Remembers the ids of the user `name` of an image.
    pub fn insert(&self, image: &str, name: &str, ids: Ids) {
        let mut known = self.lock();
        if known.len() >= MAX_KNOWN_USERS {
            known.clear();
        }
        known.insert((image.to_owned(), name.to_owned()), ids);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(String, String), Ids>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
