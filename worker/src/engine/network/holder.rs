//! Network holders: containers whose network jobs join. No job ever runs in one, so that no process of a job outlives its own
//! container in the network.

use crate::engine::{
    failures::{engine_failure, start_failure},
    manager::{DockerManager, Output},
};
use bollard::{
    models::{ContainerCreateBody, HostConfig, HostConfigLogConfig},
    query_parameters::{AttachContainerOptions, StartContainerOptions},
};
use futures_util::{
    FutureExt, StreamExt,
    future::{BoxFuture, Shared},
};
use std::{pin::Pin, sync::Arc, time::Duration};
use tidemill_core::execution::{
    assignment::{ContainerOptions, Origin, Resources},
    failure::FailureReason,
};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    sync::Mutex,
};

/// Runs as the holder's first process: saves the files of its network, and restores them for each line of stdin.
const HOLDER_SCRIPT: &str = r#"exec 2>/dev/null
text() { while IFS= read -r L || [ -n "$L" ]; do printf '%s\n' "$L"; done; }
HOSTS=$(text </etc/hosts)
NAMES=$(text </etc/resolv.conf)
while IFS= read -r L; do
  R=ok
  printf '%s\n' "$HOSTS" >/etc/hosts || R=failed
  printf '%s\n' "$NAMES" >/etc/resolv.conf || R=failed
  echo "$R"
done"#;
/// How long the files of a network may take to be restored.
const MAX_RESTORE_TIME: Duration = Duration::from_secs(5);

/// A network holder that may still be created; `None` if that failed.
pub type SharedHolder = Shared<BoxFuture<'static, Option<Arc<NetworkHolder>>>>;

/// A container whose network jobs join, one at a time. It is removed in the background when this is dropped, and exits by
/// itself once its stdin is closed.
pub struct NetworkHolder {
    id: String,
    streams: Mutex<(Output, Pin<Box<dyn AsyncWrite + Send>>)>,
    engine: Arc<DockerManager>,
}

impl std::fmt::Debug for NetworkHolder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NetworkHolder").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Drop for NetworkHolder {
    fn drop(&mut self) {
        self.engine.remove_later(std::mem::take(&mut self.id));
    }
}

impl NetworkHolder {
    /// Returns the network mode of a container that joins its network.
    pub fn network(&self) -> String {
        format!("container:{}", self.id)
    }

    /// Restores `/etc/hosts` and `/etc/resolv.conf`, which all containers in the network share. Returns whether it succeeded.
    pub async fn restore(&self) -> bool {
        let restored = async {
            let mut streams = self.streams.lock().await;
            let (output, input) = &mut *streams;
            input.write_all(b"\n").await.ok()?;
            input.flush().await.ok()?;
            let reply = output.next().await?.ok()?.into_bytes();
            Some(reply.starts_with(b"ok"))
        };
        tokio::time::timeout(MAX_RESTORE_TIME, restored).await.ok().flatten().unwrap_or(false)
    }
}

impl DockerManager {
    /// Creates a network holder in the background.
    pub fn start_network_holder(self: &Arc<Self>, image: &str) -> SharedHolder {
        let (engine, image) = (self.clone(), image.to_owned());
        let task = self.tasks.spawn(async move {
            let created = engine.create_network_holder(&image).await;
            created
                .inspect_err(
                    |reason| tracing::info!(reason = %reason.message, "no network holder was created"),
                )
                .ok()
                .map(Arc::new)
        });
        let holder = async move { task.await.ok().flatten() }.boxed().shared();
        // Polled to completion, so that `peek` shows the result.
        self.tasks.spawn(holder.clone().map(drop));
        holder
    }

    /// Creates a network holder from `image`, which must be present.
    pub async fn create_network_holder(
        self: &Arc<Self>,
        image: &str,
    ) -> Result<NetworkHolder, FailureReason> {
        let names = self.host_config(Resources::default(), &ContainerOptions::default(), &Origin::default());
        let body = ContainerCreateBody {
            image: Some(image.to_owned()),
            // Root, so that files that a job changed as any user can be restored.
            user: Some("0".into()),
            entrypoint: Some(vec!["sh".into(), "-c".into(), HOLDER_SCRIPT.into()]),
            cmd: Some(Vec::new()),
            working_dir: Some("/".into()),
            labels: Some(self.labels()),
            open_stdin: Some(true),
            stdin_once: Some(true),
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            host_config: Some(HostConfig {
                log_config: Some(HostConfigLogConfig { typ: Some("none".into()), config: None }),
                network_mode: self.network_mode(),
                extra_hosts: names.extra_hosts,
                dns: names.dns,
                security_opt: Some(vec!["no-new-privileges".into()]),
                cap_drop: Some(vec!["ALL".into()]),
                cap_add: Some(vec!["DAC_OVERRIDE".into()]),
                pids_limit: Some(16),
                ..Default::default()
            }),
            ..Default::default()
        };
        let created = self.create(None, body).await;
        let container =
            created.map_err(|error| engine_failure("a network holder could not be created", &error))?;
        let attach = AttachContainerOptions { stream: true, stdin: true, stdout: true, ..Default::default() };
        let started = async {
            let streams = self.docker.attach_container(container.id(), Some(attach)).await?;
            self.docker.start_container(container.id(), None::<StartContainerOptions>).await?;
            Ok(streams)
        };
        let streams = started.await.map_err(|error| start_failure(image, &error))?;
        let streams = Mutex::new((streams.output, streams.input));
        Ok(NetworkHolder { id: container.into_id(), streams, engine: self.clone() })
    }
}
