//! The process in the background that finishes what an exiting command leaves.

use crate::env_vars;
use std::{
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, Stdio},
};
use tidemill_core::ids::{ExecutionId, WorkerId};

/// Starts `tidemill clean-up`, which removes the leftover containers and files of `worker` of this data directory, and awaits the end
/// of the execution `unfinished`.
pub fn start(data_dir: &Path, worker: WorkerId, unfinished: Option<ExecutionId>) {
    let spawned = std::env::current_exe().and_then(|program| {
        Command::new(program)
            .args(["clean-up", &worker.to_string()])
            .args(unfinished.map(|execution| format!("--execution={execution}")))
            .env(env_vars::DATA_DIR, data_dir)
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // An interrupt at the terminal must not stop it.
            .process_group(0)
            .spawn()
    });
    if let Err(error) = spawned {
        tracing::warn!(%error, "cannot start the clean-up process; the next start removes leftover containers");
    }
}
