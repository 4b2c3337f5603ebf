//! Images of jobs: looked up and pulled.

mod credential_helper;
mod docker_config;
mod logins;
mod pull_progress;

pub use logins::{JobLogins, LoginSearch, RegistrySettings};

use super::{
    failures::{engine_failure, pull_failure},
    manager::DockerManager,
};
use bollard::{errors::Error as EngineError, query_parameters::CreateImageOptions};
use futures_util::StreamExt;
use pull_progress::PullProgress;
use std::time::Instant;
use tidemill_core::execution::{
    assignment::PullPolicy,
    failure::{FailureKind, FailureReason},
};

impl DockerManager {
    /// Ensures that the image is present. `progress` receives log lines while it is pulled. A login is searched only then.
    pub async fn ensure_image(
        &self,
        image: &str,
        policy: PullPolicy,
        logins: &JobLogins,
        mut progress: impl FnMut(String),
    ) -> Result<(), FailureReason> {
        let present = self.has_image(image).await?;
        match policy {
            PullPolicy::IfNotPresent | PullPolicy::Never if present => return Ok(()),
            PullPolicy::Never => {
                return Err(FailureReason::new(
                    FailureKind::ImageUnavailable,
                    format!(
                        "the engine does not have the image `{image}` and `pull_policy: never` forbids pulling it; \
                         build or load it on this machine, or use `pull_policy: if-not-present`"
                    ),
                ));
            }
            PullPolicy::IfNotPresent | PullPolicy::Always => {}
        }
        let search = self.registries.search(logins, image).await;
        for problem in &search.problems {
            progress(format!("warning: {problem}\n"));
        }
        match &search.login {
            Some(login) => progress(format!("Pulling {image} as {} ({})\n", login.user(), login.origin)),
            None => progress(format!("Pulling {image}\n")),
        }
        let reference =
            if image.contains('@') || image.rsplit('/').next().is_some_and(|last| last.contains(':')) {
                image.to_owned()
            } else {
                format!("{image}:latest")
            };
        let options = CreateImageOptions { from_image: Some(reference), ..Default::default() };
        let credentials = search.login.as_ref().map(logins::Login::credentials);
        let mut pull = self.docker.create_image(Some(options), None, credentials);
        let mut reports = PullProgress::new(Instant::now());
        while let Some(progress_item) = pull.next().await {
            let line = match progress_item {
                Ok(info) => {
                    if let Some(error) = info.error_detail.as_ref().and_then(|detail| detail.message.clone())
                    {
                        let error = EngineError::DockerStreamError { error };
                        return Err(pull_failure(image, &search, &error));
                    }
                    reports.line(info, Instant::now())
                }
                Err(error) => return Err(pull_failure(image, &search, &error)),
            };
            line.into_iter().for_each(&mut progress);
        }
        Ok(())
    }

    /// Whether the engine has the image.
    pub async fn has_image(&self, image: &str) -> Result<bool, FailureReason> {
        match self.docker.inspect_image(image).await {
            Ok(_) => Ok(true),
            // 400: the reference is invalid; the pull reports why.
            Err(EngineError::DockerResponseServerError { status_code: 400 | 404, .. }) => Ok(false),
            Err(error) => Err(engine_failure("the image could not be looked up", &error)),
        }
    }
}
