//! `debug`, `cp` and `forward`: work in the container of a job on a server.

pub mod copy;
pub mod forward;

use crate::{
    args::{ConsentArgs, DebugShell, JobArgs},
    deployment::{Deployment, find_job},
    execution::{
        select::{Purpose, select_job},
        shells,
    },
    failure::{Failure, Outcome},
    output::{Printable, errln, has_terminal, printable_lines},
    settings::Settings,
};
use tidemill_core::{api::path, execution::debug::ShellMessage};
use tidemill_worker::client::{Socket, SocketMessage};

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
    let (deployment, mut socket) = connect(settings, &args.job, args.on_failure, "a shell").await?;
    let ended = shells::run_session(&mut socket).await;
    socket.sender.close().await;
    deployment.close().await;
    ended
}

/// Asks the server for a session in a job, `on_failure` once that has failed. `what` it is for is shown.
async fn connect(
    settings: &Settings,
    job: &JobArgs,
    on_failure: bool,
    what: &str,
) -> Outcome<(Deployment, Socket)> {
    let deployment = Deployment::connect(settings).await?;
    let selected = select_job(&deployment, job, Purpose::Watch, ConsentArgs::default()).await?;
    let job = find_job(&selected.view, selected.job.as_deref())?;
    let path = path::JOB_SHELL.replace("{jobId}", &job.id.to_string());
    let path = selected.with_expected_repo(&path);
    let path = if on_failure { format!("{path}&on_failure=true") } else { path };
    let socket = deployment.api.open_socket(&path).await?;
    errln!("waiting for {what} in `{}` of {}; Ctrl-C gives up", Printable(&job.job_name), selected.title());
    Ok((deployment, socket))
}

/// Returns the failure of a session that ended with `message`, or without one, before what it was for was done.
fn ended_early(message: Option<SocketMessage>) -> Failure {
    match message {
        Some(SocketMessage::Shell(ShellMessage::Note { text, .. })) => {
            Failure::system(printable_lines(&text))
        }
        _ => Failure::system("the connection to the server was lost"),
    }
}
