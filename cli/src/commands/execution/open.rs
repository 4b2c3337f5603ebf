//! `open`: prints the address of an execution's page, or opens it in a browser.

use crate::{
    args::{ConsentArgs, Open},
    deployment::Deployment,
    execution::select::{Purpose, select},
    failure::{Failure, Outcome},
    output,
    settings::Settings,
    view::hint::page_address,
};
use serde_json::json;
use std::process::{Command, Stdio};

/// Programs that open an address in the user's browser, in the order in which they are tried.
const OPENERS: [&str; 2] = ["xdg-open", "open"];

/// `tidemill open`.
pub async fn open(settings: &Settings, args: &Open) -> Outcome {
    let deployment = Deployment::connect(settings).await?;
    let Some(url) = deployment.server_url(settings).await? else {
        return Err(Failure::usage(
            "executions of this machine have no page without a server: start one on this data directory with \
             `tidemill server`, or select a server with --server or --profile",
        ));
    };
    let selected = select(&deployment, &args.execution, Purpose::Read, ConsentArgs::default()).await?;
    let address = page_address(&url, selected.id());
    deployment.close().await;
    if args.format.is_json() {
        output::print_json(&json!({ "execution": selected.view.execution, "url": address }))?;
    } else {
        crate::output::outln!("{address}");
    }
    if !args.browser || try_browser(&address) {
        return Ok(());
    }
    Err(Failure::system(format!("no browser could be opened: neither {} works here", OPENERS.join(" nor "))))
}

/// Opens an address in the user's browser. Returns false if no program does so.
pub fn try_browser(address: &str) -> bool {
    OPENERS.iter().any(|program| {
        let mut command = Command::new(program);
        command.arg(address).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    })
}
