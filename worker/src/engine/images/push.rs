//! Pushes images to registries.

use super::{
    build::BUILT_NAME,
    logins::{self, JobLogins},
};
use crate::engine::{
    failures::{engine_failure, is_not_found, push_failure},
    manager::DockerManager,
};
use bollard::query_parameters::{ListImagesOptions, PushImageOptions, RemoveImageOptions, TagImageOptions};
use futures_util::StreamExt;
use std::{collections::HashMap, sync::Arc, time::Duration};
use tidemill_core::execution::failure::{FailureKind, FailureReason};
use tokio::{sync::OwnedMutexGuard, task::JoinHandle};

/// How long a built image is kept in the engine for the jobs that use it.
const RETENTION: Duration = Duration::from_secs(24 * 60 * 60);

/// The name that an image has while it is pushed. The engine gets back what had the name before, also if the push is canceled.
struct TemporaryName {
    engine: Arc<DockerManager>,
    repository: String,
    tag: String,
    /// The id of the image that had the name before.
    earlier: Option<String>,
    /// Held until the name is restored.
    turn: Option<OwnedMutexGuard<()>>,
}

impl TemporaryName {
    /// Restores the name in the background; `None` if that was done before.
    fn restore(&mut self) -> Option<JoinHandle<()>> {
        let turn = self.turn.take()?;
        let (engine, repository, tag) = (self.engine.clone(), self.repository.clone(), self.tag.clone());
        let earlier = self.earlier.take();
        Some(self.engine.tasks.spawn(async move {
            match earlier {
                Some(earlier) => {
                    if let Err(reason) = engine.tag(&earlier, &repository, &tag).await {
                        tracing::warn!(%reason.message, repository, tag, "an image did not get its name back");
                    }
                }
                None => engine.untag(&format!("{repository}:{tag}")).await,
            }
            drop(turn);
        }))
    }
}

impl Drop for TemporaryName {
    fn drop(&mut self) {
        drop(self.restore());
    }
}

impl DockerManager {
    /// Pushes the image `id` as `name`, and returns the reference by its digest. `progress` receives log lines.
    ///
    /// The engine has that name only for the duration of the push, so that no later job takes the image for the registry's.
    pub async fn push_image(
        self: &Arc<Self>,
        id: &str,
        name: &str,
        logins: &JobLogins,
        mut progress: impl FnMut(String),
    ) -> Result<String, FailureReason> {
        let (repository, tag) = match name.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => (repository, tag),
            _ => (name, "latest"),
        };
        // One push at a time, so that a name is not given to two images.
        let turn = self.pushing.clone().lock_owned().await;
        let earlier = self.inspect_image(name).await?.map(|config| config.id);
        let mut name = TemporaryName {
            engine: self.clone(),
            repository: repository.to_owned(),
            tag: tag.to_owned(),
            earlier,
            turn: Some(turn),
        };
        self.tag(id, repository, tag).await?;
        let pushed = self.push_tagged((repository, tag), logins, &mut progress).await;
        if let Some(restored) = name.restore() {
            let _ = restored.await;
        }
        pushed
    }

    async fn push_tagged(
        &self,
        (repository, tag): (&str, &str),
        logins: &JobLogins,
        progress: &mut impl FnMut(String),
    ) -> Result<String, FailureReason> {
        let name = format!("{repository}:{tag}");
        let search = self.registries.search(logins, &name).await;
        for problem in &search.problems {
            progress(format!("warning: {problem}\n"));
        }
        match &search.login {
            Some(login) => progress(format!("Pushing {name} as {} ({})\n", login.user(), login.origin)),
            None => progress(format!("Pushing {name}\n")),
        }
        let options = PushImageOptions { tag: Some(tag.to_owned()), ..Default::default() };
        let credentials = search.login.as_ref().map(logins::Login::credentials);
        let mut reports = Box::pin(self.docker.push_image(repository, Some(options), credentials));
        while let Some(report) = reports.next().await {
            report.map_err(|error| push_failure(&name, &search, &error))?;
        }
        let inspected = self.docker.inspect_image(&name).await;
        let inspected = inspected.map_err(|error| engine_failure("the pushed image is gone", &error))?;
        let own = format!("{repository}@");
        let digests = inspected.repo_digests.unwrap_or_default();
        let bare = |digest: &str| digest.rsplit_once('@').map(|(_, digest)| format!("{repository}@{digest}"));
        // The engine shortens the names of Docker Hub.
        let digest = digests.iter().find(|digest| digest.starts_with(&own)).or(digests.first());
        let reference = digest.and_then(|digest| bare(digest)).ok_or_else(|| {
            FailureReason::new(
                FailureKind::EngineFailed,
                format!("the engine did not report the digest of `{name}`"),
            )
        })?;
        progress(format!("Pushed {reference}\n"));
        Ok(reference)
    }

    /// Removes the names of images that were built longer than [`RETENTION`] ago.
    pub async fn remove_expired_builds(&self) {
        let filters = HashMap::from([("reference".to_owned(), vec![BUILT_NAME.to_owned()])]);
        let options = ListImagesOptions { filters: Some(filters), ..Default::default() };
        let Ok(images) = self.docker.list_images(Some(options)).await else { return };
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        for name in images.into_iter().flat_map(|image| image.repo_tags) {
            let id = name
                .strip_prefix(BUILT_NAME)
                .and_then(|tag| uuid::Uuid::parse_str(tag.strip_prefix(':')?).ok());
            let Some(time) = id.and_then(|id| id.get_timestamp()) else { continue };
            if now.saturating_sub(Duration::from_secs(time.to_unix().0)) > RETENTION {
                let digests = self.docker.inspect_image(&name).await.ok().and_then(|image| {
                    // An image with another name is still in use, and keeps its digests.
                    let is_last = image.repo_tags.is_some_and(|names| names.len() == 1);
                    image.repo_digests.filter(|_| is_last)
                });
                self.untag(&name).await;
                for digest in digests.into_iter().flatten() {
                    self.untag(&digest).await;
                }
            }
        }
    }

    pub(super) async fn tag(&self, image: &str, repository: &str, tag: &str) -> Result<(), FailureReason> {
        let options = TagImageOptions { repo: Some(repository.to_owned()), tag: Some(tag.to_owned()) };
        let tagged = self.docker.tag_image(image, Some(options)).await;
        tagged.map_err(|error| engine_failure("the image could not be tagged", &error))
    }

    async fn untag(&self, name: &str) {
        match self.docker.remove_image(name, None::<RemoveImageOptions>, None).await {
            Ok(_) => {}
            Err(error) if is_not_found(&error) => {}
            Err(error) => tracing::info!(%error, name, "the name of an image could not be removed"),
        }
    }
}
