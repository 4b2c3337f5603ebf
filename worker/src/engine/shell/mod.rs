//! A shell in a running container of a job, in a terminal of its own.

mod copy;

use super::{images::EngineHttp, manager::DockerManager};
use bollard::{exec::ResizeExecOptions, models::ExecConfig};
use http::{Method, Request};
use reqwest::{Body, Upgraded};
use std::{sync::Arc, time::Duration};
use tidemill_core::execution::{
    debug::TerminalSize,
    failure::{FailureKind, FailureReason},
};

/// Becomes the shell; see the file.
const SHELL_SCRIPT: &str = include_str!("shell.sh");
/// Ends a shell and what it runs; see the file.
const END_SCRIPT: &str = include_str!("end.sh");
/// How long that may take.
const END_TIMEOUT: Duration = Duration::from_secs(10);
/// Keys after which an engine leaves a process with a terminal, and holds the first of them back until the next key. Some are
/// always set, by default Ctrl-P Ctrl-Q. These are no keys that programs use in this order.
const DETACH_KEYS: &str = "ctrl-^,ctrl-],ctrl-^,ctrl-],ctrl-@";
/// Where images have a shell that can run it.
const SHELLS: [&str; 6] = ["sh", "/bin/sh", "/usr/bin/sh", "/bin/bash", "/usr/local/bin/bash", "/busybox/sh"];
/// The longest name of a type of terminal.
const MAX_TERM_LEN: usize = 64;

/// A shell in a container. Its connection carries the bytes of its terminal, in both directions.
#[derive(Debug)]
pub struct Shell {
    engine: Arc<DockerManager>,
    id: String,
    container: String,
    /// The program in the container that runs [`END_SCRIPT`].
    program: &'static str,
    /// Names the file in the container that has the id of the shell's process.
    name: String,
    connection: Option<Upgraded>,
}

impl DockerManager {
    /// Opens a shell in `container`, which runs a job of this status, with the job's environment. `term` is the type of the
    /// user's terminal.
    pub async fn open_shell(
        self: &Arc<Self>,
        container: &str,
        job_status: &str,
        term: &str,
        size: TerminalSize,
    ) -> Result<Shell, FailureReason> {
        let shell = self.shell_of(container).await?;
        let name = uuid::Uuid::new_v4().simple().to_string();
        let words =
            [shell, "-c", SHELL_SCRIPT, "shell", job_status, name.as_str()].map(str::to_owned).to_vec();
        let config = ExecConfig {
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            tty: Some(true),
            detach_keys: Some(DETACH_KEYS.to_owned()),
            env: Some(vec![format!("TERM={}", term_type(term))]),
            cmd: Some(words),
            ..Default::default()
        };
        let created = self.docker.create_exec(container, config).await;
        let id = created.map_err(|error| failed(&error.to_string()))?.id;
        let request = Request::builder()
            .method(Method::POST)
            .header("Connection", "Upgrade")
            .header("Upgrade", "tcp")
            .header("Content-Type", "application/json");
        // Not by bollard, whose decoder takes some bytes of a terminal for headers.
        let body = Body::from(r#"{"Detach":false,"Tty":true}"#);
        let path = format!("/exec/{id}/start");
        let connection = EngineHttp::new(self)?.upgrade(&path, request, body).await?;
        let Some(connection) = connection else {
            return Err(failed("the engine did not open a connection"));
        };
        let (container, connection) = (container.to_owned(), Some(connection));
        let mut shell = Shell { engine: self.clone(), id, container, program: shell, name, connection };
        shell.resize(size).await;
        Ok(shell)
    }

    /// Returns the first shell that a container has.
    async fn shell_of(&self, container: &str) -> Result<&'static str, FailureReason> {
        for shell in SHELLS {
            let config = ExecConfig {
                attach_stdout: Some(true),
                cmd: Some([shell, "-c", ":"].map(str::to_owned).to_vec()),
                ..Default::default()
            };
            if matches!(self.exec(container, config).await, Ok(Some(0))) {
                return Ok(shell);
            }
        }
        Err(failed("the container runs no longer, or has no shell"))
    }
}

impl Shell {
    /// Takes the connection, the first time.
    pub fn take_connection(&mut self) -> Option<Upgraded> {
        self.connection.take()
    }

    /// Ends its processes, which the end of its connection does not. Processes that it moved to a session of their own stay until the
    /// script has ended.
    pub async fn end(self) {
        let words = [self.program, "-c", END_SCRIPT, "end", self.name.as_str()].map(str::to_owned).to_vec();
        let config = ExecConfig { attach_stdout: Some(true), cmd: Some(words), ..Default::default() };
        // They end with the container as well.
        let _ = tokio::time::timeout(END_TIMEOUT, self.engine.exec(&self.container, config)).await;
    }

    /// Changes the size of its terminal.
    pub async fn resize(&mut self, size: TerminalSize) {
        let options = ResizeExecOptions { height: size.rows, width: size.columns };
        if let Err(error) = self.engine.docker.resize_exec(&self.id, options).await {
            tracing::debug!(%error, "the terminal of a shell could not be resized");
        }
    }
}

/// Returns the type of a terminal if its name is one, otherwise a usual one.
fn term_type(term: &str) -> &str {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '+' | '_');
    let is_usual = !term.is_empty() && term.len() <= MAX_TERM_LEN && term.chars().all(is_name);
    if is_usual { term } else { "xterm" }
}

fn failed(why: &str) -> FailureReason {
    FailureReason::new(FailureKind::EngineFailed, format!("the shell could not be opened: {why}"))
}

#[cfg(test)]
mod tests {
    use super::term_type;

    #[test]
    fn unusual_terminal_types_are_replaced() {
        assert_eq!(term_type("screen.xterm-256color"), "screen.xterm-256color");
        for unusual in ["", "a b", "x\ny", &"x".repeat(65)] {
            assert_eq!(term_type(unusual), "xterm");
        }
    }
}
