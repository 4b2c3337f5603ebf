//! `open`: prints the address of an execution's page, or opens it in a browser.

use crate::{
    args::{ConsentArgs, Open},
    deployment::Deployment,
    execution::select::{Purpose, select},
    failure::{Failure, Outcome},
    settings::Settings,
};
use std::process::{Command, Stdio};

/// Programs that open an address in the user's browser, in the order in which they are tried.
const OPENERS: [&str; 2] = ["xdg-open", "open"];

/// `tidemill open`.
pub async fn open(settings: &Settings, args: &Open) -> Outcome {
    let without_page = || {
        Failure::usage(
            "executions of this machine have no page without a server: start one on this data directory with \
             `tidemill server`, and use `tidemill open` with --server, or select a server with --profile",
        )
    };
    if !settings.is_remote() {
        return Err(without_page());
    }
    let deployment = Deployment::connect(settings).await?;
    let selected = select(&deployment, &args.execution, Purpose::Read, ConsentArgs::default()).await?;
    let address = deployment.hints().page(selected.id()).ok_or_else(without_page)?;
    deployment.close().await;
    crate::output::outln!("{address}");
    if args.browser { open_in_browser(&address) } else { Ok(()) }
}

fn open_in_browser(address: &str) -> Outcome {
    for program in OPENERS {
        let mut command = Command::new(program);
        command.arg(address).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if command.status().is_ok_and(|status| status.success()) {
            return Ok(());
        }
    }
    Err(Failure::system(format!("no browser could be opened: neither {} works here", OPENERS.join(" nor "))))
}
