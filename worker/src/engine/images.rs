//! Images of jobs: looked up and pulled.

mod build;
mod built;
mod config;
mod credential_helper;
mod docker_config;
#[cfg(feature = "ecr")]
mod ecr;
mod eviction;
mod known_users;
mod logins;
mod pull_progress;
mod push;
mod transfer;
mod users;

pub(super) use build::EngineHttp;
pub use build::{BUILT_NAME, BuildFailure, BuildRequest};
pub use built::BuiltImages;
pub use config::ImageConfig;
pub(super) use known_users::KnownUsers;
pub use logins::{JobLogins, LoginSearch, RegistrySettings};
pub use pull_progress::PullReport;
pub(super) use users::ContainerUser;

use super::{
    failures::{engine_failure, pull_failure},
    manager::DockerManager,
};
use crate::client::format_causes;
use bollard::{
    errors::Error as EngineError,
    query_parameters::{CreateImageOptions, TagImageOptions},
};
use futures_util::{StreamExt, TryStreamExt};
use pull_progress::PullProgress;
use std::time::Instant;
use tidemill_core::{
    api::is_image_id,
    execution::{
        assignment::PullPolicy,
        failure::{FailureKind, FailureReason},
    },
};

impl DockerManager {
    /// Returns when to pull an image: as its job says, or as the worker is set up.
    pub fn pull_policy(&self, policy: Option<PullPolicy>) -> PullPolicy {
        policy.unwrap_or(self.settings.images.pull_policy)
    }

    /// Pulls an image from the first mirror that has it, and gives it its own name. Returns whether one had it.
    async fn pull_from_mirrors(
        &self,
        image: &str,
        platform: Option<&str>,
        logins: &JobLogins,
        progress: &mut impl FnMut(PullReport),
    ) -> bool {
        // An image of a digest cannot be named after another registry.
        let (name, tag) = match image.rsplit_once(':') {
            _ if image.contains('@') => return false,
            Some((name, tag)) if !tag.contains('/') => (name, tag),
            _ => (image, "latest"),
        };
        for mirrored in self.settings.images.mirrored(name) {
            progress(PullReport::Line(format!("Pulling {image} from {mirrored}:{tag}\n")));
            let options = CreateImageOptions {
                from_image: Some(format!("{mirrored}:{tag}")),
                platform: platform.unwrap_or_default().to_owned(),
                ..Default::default()
            };
            let search = self.registries.search(logins, &mirrored).await;
            let credentials = search.login.as_ref().map(logins::Login::credentials);
            let progress_items = self.docker.create_image(Some(options), None, credentials);
            let mut reports = PullProgress::new(Instant::now());
            let pulled = progress_items.try_for_each(|info| {
                let error = info.error_detail.as_ref().and_then(|detail| detail.message.clone());
                reports.reports(info, Instant::now()).into_iter().for_each(&mut *progress);
                std::future::ready(
                    error.map_or(Ok(()), |error| Err(EngineError::DockerStreamError { error })),
                )
            });
            let pulled = pulled.await;
            let named = match pulled {
                Ok(()) => {
                    let options = TagImageOptions { repo: Some(name.into()), tag: Some(tag.into()) };
                    self.docker.tag_image(&format!("{mirrored}:{tag}"), Some(options)).await
                }
                Err(error) => Err(error),
            };
            match named {
                Ok(()) => return true,
                Err(error) => progress(PullReport::Line(format!(
                    "{mirrored} does not have it: {}\n",
                    format_causes(&error)
                ))),
            }
        }
        false
    }

    /// Ensures that the image is present, for `platform` if one is given, and returns its configuration. `progress` receives
    /// reports while it is pulled. A login is searched only then.
    pub async fn ensure_image(
        &self,
        image: &str,
        platform: Option<&str>,
        policy: PullPolicy,
        logins: &JobLogins,
        mut progress: impl FnMut(PullReport),
    ) -> Result<ImageConfig, FailureReason> {
        if policy != PullPolicy::AlwaysOrPresent {
            return Box::pin(self.ensure_image_by(image, platform, policy, logins, progress)).await;
        }
        let always = PullPolicy::Always;
        let pulled = Box::pin(self.ensure_image_by(image, platform, always, logins, &mut progress)).await;
        let reason = match pulled {
            Ok(config) => return Ok(config),
            Err(reason) => reason,
        };
        match self.inspect_image(image).await? {
            Some(config) if platform.is_none_or(|platform| config.is_for(platform)) => {
                let warning = format!(
                    "warning: {}; `pull_policy` allows the image that the engine has\n",
                    reason.message
                );
                progress(PullReport::Line(warning));
                self.note_image_use(image);
                Ok(config)
            }
            _ => Err(reason),
        }
    }

    /// Ensures that the image is present by one policy.
    async fn ensure_image_by(
        &self,
        image: &str,
        platform: Option<&str>,
        policy: PullPolicy,
        logins: &JobLogins,
        mut progress: impl FnMut(PullReport),
    ) -> Result<ImageConfig, FailureReason> {
        if is_image_id(image) {
            return match self.inspect_image(image).await? {
                Some(config) if platform.is_none_or(|platform| config.is_for(platform)) => Ok(config),
                present => Err(missing_build(image, platform, present)),
            };
        }
        // Before a pull in any case, only the pulled image matters.
        if policy != PullPolicy::Always {
            let present = self.inspect_image(image).await?;
            let fits = |config: &ImageConfig| platform.is_none_or(|platform| config.is_for(platform));
            match present {
                Some(config) if fits(&config) => {
                    self.note_image_use(image);
                    return Ok(config);
                }
                other if policy == PullPolicy::Never => return Err(forbidden_pull(image, platform, other)),
                _ => {}
            }
        }
        if self.pull_from_mirrors(image, platform, logins, &mut progress).await
            && let Some(config) = self.inspect_image(image).await?
            && platform.is_none_or(|platform| config.is_for(platform))
        {
            self.note_pull(image);
            return Ok(config);
        }
        let search = self.registries.search(logins, image).await;
        for problem in &search.problems {
            progress(PullReport::Line(format!("warning: {problem}\n")));
        }
        progress(PullReport::Line(match &search.login {
            Some(login) => format!("Pulling {image} as {} ({})\n", login.user(), login.origin),
            None => format!("Pulling {image}\n"),
        }));
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
        let credentials = search.login.as_ref().map(logins::Login::credentials);
        let mut pull = self.docker.create_image(Some(options), None, credentials);
        let mut reports = PullProgress::new(Instant::now());
        while let Some(progress_item) = pull.next().await {
            let new = match progress_item {
                Ok(info) => {
                    if let Some(error) = info.error_detail.as_ref().and_then(|detail| detail.message.clone())
                    {
                        let error = EngineError::DockerStreamError { error };
                        return Err(pull_failure(image, &search, &error));
                    }
                    reports.reports(info, Instant::now())
                }
                Err(error) => return Err(pull_failure(image, &search, &error)),
            };
            new.into_iter().for_each(&mut progress);
        }
        self.note_pull(image);
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

/// Returns why an image of an id, which no registry has, cannot be used.
fn missing_build(id: &str, platform: Option<&str>, present: Option<ImageConfig>) -> FailureReason {
    let message = match (present, platform) {
        (Some(config), Some(platform)) => {
            format!(
                "the image `{id}` is for `{}`, not for `{platform}`; change `platform`",
                config.platform()
            )
        }
        _ => format!(
            "the engine does not have the image `{id}`, and no registry can be asked for an id; if a job built it, run that job again, \
             or let it `push` the image"
        ),
    };
    FailureReason::new(FailureKind::ImageUnavailable, message)
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
