//! Images of jobs: looked up and pulled.

mod config;
mod known_users;
mod users;

pub use config::ImageConfig;
pub(super) use known_users::KnownUsers;
pub(super) use users::ContainerUser;

use super::{
    failures::{engine_failure, pull_failure},
    manager::DockerManager,
};
use bollard::{errors::Error as EngineError, query_parameters::CreateImageOptions};
use futures_util::StreamExt;
use tidemill_core::execution::{
    assignment::PullPolicy,
    failure::{FailureKind, FailureReason},
};

impl DockerManager {
    /// Ensures that the image is present, for `platform` if one is given, and returns its configuration. `progress` receives log
    /// lines while it is pulled.
    pub async fn ensure_image(
        &self,
        image: &str,
        platform: Option<&str>,
        policy: PullPolicy,
        mut progress: impl FnMut(String),
    ) -> Result<ImageConfig, FailureReason> {
        // Before a pull in any case, only the pulled image matters.
        if policy != PullPolicy::Always {
            let present = self.inspect_image(image).await?;
            let fits = |config: &ImageConfig| platform.is_none_or(|platform| config.is_for(platform));
            match present {
                Some(config) if fits(&config) => return Ok(config),
                other if policy == PullPolicy::Never => return Err(forbidden_pull(image, platform, other)),
                _ => {}
            }
        }
        progress(format!("Pulling {image}\n"));
        let reference =
            if image.contains('@') || image.rsplit('/').next().is_some_and(|last| last.contains(':')) {
                image.to_owned()
            } else {
                format!("{image}:latest")
            };
        let options = CreateImageOptions {
            from_image: Some(reference),
            platform: platform.unwrap_or_default().to_owned(),
            ..Default::default()
        };
        let mut pull = self.docker.create_image(Some(options), None, None);
        while let Some(progress_item) = pull.next().await {
            let line = match progress_item {
                Ok(info) => {
                    if let Some(error) = info.error_detail.and_then(|detail| detail.message) {
                        return Err(pull_failure(image, &EngineError::DockerStreamError { error }));
                    }
                    // Layers report progress many times a second: only completion is logged.
                    info.status
                        .filter(|status| info.progress_detail.is_none() || status.ends_with("complete"))
                        .map(|status| info.id.map_or(format!("{status}\n"), |id| format!("{id}: {status}\n")))
                }
                Err(error) => return Err(pull_failure(image, &error)),
            };
            line.into_iter().for_each(&mut progress);
        }
        let missing = |message| FailureReason::new(FailureKind::ImageUnavailable, message);
        let config = self.inspect_image(image).await?.ok_or_else(|| {
            missing(format!("the engine pulled the image `{image}`, but does not have it; check its disk"))
        })?;
        match platform {
            Some(platform) if !config.is_for(platform) => Err(missing(format!(
                "the registry has no variant of the image `{image}` for `{platform}`, only for `{}`; change `platform`",
                config.platform()
            ))),
            _ => Ok(config),
        }
    }

    /// Returns the configuration of the image, if the engine has it.
    pub async fn inspect_image(&self, image: &str) -> Result<Option<ImageConfig>, FailureReason> {
        match self.docker.inspect_image(image).await {
            Ok(inspected) => Ok(Some(inspected.into())),
            // 400: the reference is invalid; the pull reports why.
            Err(EngineError::DockerResponseServerError { status_code: 400 | 404, .. }) => Ok(None),
            Err(error) => Err(engine_failure("the image could not be looked up", &error)),
        }
    }
}

/// Returns why an image that is not `present`, or not for `platform`, cannot be used without a pull.
fn forbidden_pull(image: &str, platform: Option<&str>, present: Option<ImageConfig>) -> FailureReason {
    let what = match (present, platform) {
        (Some(config), Some(platform)) => {
            format!("the engine has the image `{image}` for `{}`, not for `{platform}`,", config.platform())
        }
        _ => format!("the engine does not have the image `{image}`"),
    };
    let message = format!(
        "{what} and `pull_policy: never` forbids pulling it; build or load it on this machine, or use `pull_policy: if-not-present`"
    );
    FailureReason::new(FailureKind::ImageUnavailable, message)
}
