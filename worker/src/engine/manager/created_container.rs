//! Creation of containers such that none is lost, whenever their creator stops waiting.

use super::DockerManager;
use bollard::{
    errors::Error as EngineError, models::ContainerCreateBody, query_parameters::CreateContainerOptions,
};
use std::{io, sync::Arc, time::Duration};

/// How long the engine may take to answer a request to create a container while the worker ends.
const MAX_CREATION_TIME: Duration = Duration::from_secs(10);

/// A container that was created and is not owned by anything else yet. It is removed in the background when this is dropped.
#[derive(Debug)]
pub(in crate::engine) struct CreatedContainer {
    engine: Arc<DockerManager>,
    id: String,
}

impl CreatedContainer {
    /// Returns the container's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the container's id. The caller removes the container.
    pub fn into_id(mut self) -> String {
        std::mem::take(&mut self.id)
    }
}

impl Drop for CreatedContainer {
    fn drop(&mut self) {
        if !self.id.is_empty() {
            self.engine.remove_later(std::mem::take(&mut self.id));
        }
    }
}

impl DockerManager {
    /// Creates a container. The engine creates it even if nobody waits for its reply any more; so the request is sent by a task of
    /// its own, and the container is removed if the returned future is dropped meanwhile.
    ///
    /// # Errors
    ///
    /// The engine's, and [`EngineError::IOError`] once [`finish_creations`](Self::finish_creations) was called.
    pub(in crate::engine) async fn create(
        self: &Arc<Self>,
        options: Option<CreateContainerOptions>,
        body: ContainerCreateBody,
    ) -> Result<CreatedContainer, EngineError> {
        // Taken before the check, so that `finish_creations` either waits for this request or prevents it.
        let pending = self.creations.token();
        if self.creations.is_closed() {
            return Err(failure("the worker ends"));
        }
        let engine = self.clone();
        let task = tokio::spawn(async move {
            let _pending = pending;
            let created = engine.docker.create_container(options, body).await;
            created.map(|created| CreatedContainer { engine, id: created.id })
        });
        task.await.unwrap_or_else(|error| Err(failure(&error.to_string())))
    }

    /// Prevents that containers are created from now on, and waits for the requests that were sent: a container that the engine does
    /// not list yet would be missed by the process that removes what this one leaves.
    pub async fn finish_creations(&self) {
        self.creations.close();
        if tokio::time::timeout(MAX_CREATION_TIME, self.creations.wait()).await.is_err() {
            tracing::warn!("the engine does not answer; the next worker removes what it creates");
        }
    }
}

fn failure(message: &str) -> EngineError {
    EngineError::IOError { err: io::Error::other(message.to_owned()) }
}
