//! Removes images that workers of this machine pulled: those that no job used for a time, and the least recently used ones when the
//! disk fills. Images that others pulled, or that were built, stay.

use super::super::manager::DockerManager;
use crate::store::{create_private_directory, short_hash, time_since_use};
use bollard::{errors::Error as EngineError, query_parameters::RemoveImageOptions};
use rustix::fs::statvfs;
use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

/// The directory of the names of pulled images, below the cache.
const DIRECTORY: &str = "images";
/// An image that was used since is never removed: a job may be about to start in it.
const MIN_UNUSED: Duration = Duration::from_secs(600);

/// An image that a worker of this machine pulled.
#[derive(Debug, Clone, PartialEq, Eq)]
struct PulledImage {
    name: String,
    unused: Duration,
}

/// Returns the images to remove for being unused for longer than `max_age`, and the others that may be removed for space, the least
/// recently used first.
fn removal_order(
    mut images: Vec<PulledImage>,
    max_age: Option<Duration>,
) -> (Vec<PulledImage>, Vec<PulledImage>) {
    images.retain(|image| image.unused >= MIN_UNUSED);
    images.sort_by_key(|image| std::cmp::Reverse(image.unused));
    images.into_iter().partition(|image| max_age.is_some_and(|max_age| image.unused > max_age))
}

impl DockerManager {
    fn pulled_images(&self) -> PathBuf {
        self.store.cache().join(DIRECTORY)
    }

    /// Remembers that a worker pulled an image, so that it may be removed again.
    pub(super) fn note_pull(&self, image: &str) {
        let directory = self.pulled_images();
        let noted = create_private_directory(&directory)
            .and_then(|()| fs::write(directory.join(short_hash(&[image])), image));
        if let Err(error) = noted {
            tracing::debug!(image, %error, "a pulled image was not noted; it is never removed");
        }
    }

    /// Records that a job uses an image, if a worker pulled it.
    pub(super) fn note_image_use(&self, image: &str) {
        let path = self.pulled_images().join(short_hash(&[image]));
        // The others have no file.
        drop(File::options().write(true).open(path).and_then(|file| file.set_modified(SystemTime::now())));
    }

    /// Removes pulled images that no job used for long, and the least recently used ones while the disk has less free space than
    /// cached sources leave.
    pub(crate) async fn remove_unused_images(&self) {
        let (expired, others) = removal_order(list(&self.pulled_images()), self.settings.images.max_age);
        for image in &expired {
            self.remove_pulled_image(image, "no job used it for long").await;
        }
        for image in &others {
            let disks = self.disks().await;
            let is_full = disks.iter().any(|disk| {
                let free = statvfs(disk).map(|stats| stats.f_bavail.saturating_mul(stats.f_frsize));
                free.is_ok_and(|free| free < self.sources.min_free_bytes())
            });
            if !is_full {
                break;
            }
            self.remove_pulled_image(image, "the disk is nearly full").await;
        }
    }

    async fn remove_pulled_image(&self, image: &PulledImage, why: &str) {
        let name = image.name.as_str();
        match self.docker.remove_image(name, None::<RemoveImageOptions>, None).await {
            Ok(_) => tracing::info!(image = name, why, "removed an image"),
            Err(EngineError::DockerResponseServerError { status_code: 404, .. }) => {}
            Err(error) => {
                // A container uses it.
                tracing::debug!(image = name, %error, "an image was not removed");
                return;
            }
        }
        drop(fs::remove_file(self.pulled_images().join(short_hash(&[name]))));
    }
}

/// Returns the noted images.
fn list(directory: &Path) -> Vec<PulledImage> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let image = |path: PathBuf| {
        Some(PulledImage { name: fs::read_to_string(&path).ok()?, unused: time_since_use(&path)? })
    };
    entries.filter_map(|entry| image(entry.path())).collect()
}

#[cfg(test)]
mod tests {
    use super::{PulledImage, removal_order};
    use std::time::Duration;

    #[test]
    fn least_recently_used_images_go_first_and_recent_ones_stay() {
        let image = |name: &str, hours: u64| PulledImage {
            name: name.to_owned(),
            unused: Duration::from_secs(hours * 3_600),
        };
        let images = vec![image("used", 0), image("old", 30), image("older", 50), image("young", 2)];
        let names =
            |images: &[PulledImage]| images.iter().map(|image| image.name.clone()).collect::<Vec<_>>();
        let (expired, others) = removal_order(images.clone(), Some(Duration::from_secs(24 * 3_600)));
        assert_eq!(names(&expired), ["older", "old"]);
        assert_eq!(names(&others), ["young"]);
        let (expired, others) = removal_order(images, None);
        assert!(expired.is_empty());
        assert_eq!(names(&others), ["older", "old", "young"]);
    }
}
