//! `debug`: opens a shell in the container of a job on a server.

use crate::{
    args::{ConsentArgs, DebugShell},
    deployment::{Deployment, find_job},
    execution::{
        select::{Purpose, select_job},
        shells,
    },
    failure::{Failure, Outcome},
    output::{Printable, has_terminal},
    settings::Settings,
};
use tidemill_core::api::path;

/// `tidemill debug`.
pub async fn debug(settings: &Settings, args: &DebugShell) -> Outcome {
    if !settings.is_remote() {
        return Err(Failure::usage(
            "debug opens a shell in a job of a server (--server or --profile); for a run on this machine, use: tidemill run --debug",
        ));
    }
    if !has_terminal() {
        return Err(Failure::usage(
            "debug opens a shell, which needs a terminal, but standard input or output is not one",
        ));
    }
    let deployment = Deployment::connect(settings).await?;
    let selected = select_job(&deployment, &args.job, Purpose::Watch, ConsentArgs::default()).await?;
    let job = find_job(&selected.view, selected.job.as_deref())?;
    let path = path::JOB_SHELL.replace("{jobId}", &job.id.to_string());
    let path = selected.with_expected_repo(&path);
    let path = if args.on_failure { format!("{path}&on_failure=true") } else { path };
    let mut socket = deployment.api.open_socket(&path).await?;
    crate::output::errln!(
        "waiting for a shell in `{}` of {}; Ctrl-C gives up",
        Printable(&job.job_name),
        selected.title()
    );
    let ended = shells::run_session(&mut socket).await;
    socket.sender.close().await;
    deployment.close().await;
    ended
}
