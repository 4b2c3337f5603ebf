//! The adapter for containers.

use super::sandbox::{JobDirectories, Sandbox, ScriptSignal, Streams};
use crate::{
    engine::{Container, Exit, ExitError, WORKSPACE_DIR, WorkspaceMount},
    job::{
        disk_watch::{ContainerDisk, DiskWatch},
        dispatcher::{Event, container_death},
        script::SECRETS_DIR,
    },
};
use futures_util::future::BoxFuture;
use std::path::Path;
use tidemill_core::execution::failure::FailureReason;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

impl Sandbox for Container {
    fn take_streams(&mut self) -> Streams {
        Streams { input: self.input.take(), output: self.output.take() }
    }

    fn take_exit(
        &mut self,
        output_ended: CancellationToken,
    ) -> Option<BoxFuture<'static, Result<Exit, ExitError>>> {
        let mut exit = self.exit.take()?;
        Some(Box::pin(async move { exit.wait(&output_ended).await }))
    }

    fn signal(&self, signal: ScriptSignal) {
        let (engine, container) = (self.engine().clone(), self.id.clone());
        tokio::spawn(async move {
            if let Err(error) = engine.signal(&container, signal.name()).await {
                tracing::debug!(%error, ?signal, "the container could not be signaled");
            }
        });
    }

    fn workspace(&self) -> &WorkspaceMount {
        &self.workspace
    }

    fn sources(&self) -> Option<&Path> {
        Self::sources(self)
    }

    fn has_sources(&self) -> bool {
        Self::has_sources(self)
    }

    fn directories(&self) -> JobDirectories {
        JobDirectories { workspace: WORKSPACE_DIR.to_owned(), secrets: SECRETS_DIR.to_owned() }
    }

    fn watch_disk(&self, events: mpsc::UnboundedSender<Event>) -> DiskWatch {
        let disk = ContainerDisk {
            engine: self.engine().clone(),
            container: self.workspace.container.clone(),
            upper: self.workspace.upper.clone(),
        };
        DiskWatch::start(disk, self.engine().limits().clone(), events)
    }

    fn outage_report(&self) -> Box<dyn FnOnce() + Send> {
        let engine = self.engine().clone();
        Box::new(move || engine.suspect_outage())
    }

    fn death_failure(&self) -> fn(&str) -> FailureReason {
        container_death
    }
}
