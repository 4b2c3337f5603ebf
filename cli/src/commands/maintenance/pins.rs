//! `pin` and `unpin`: keep an execution for ever, or as long as the rules of retention say.

use crate::{
    args::{ConsentArgs, ExecutionArgs, Pin, Unpin},
    deployment::Deployment,
    execution::select::{Purpose, select},
    failure::Outcome,
    output,
    settings::Settings,
};
use tidemill_core::{
    api::path,
    retention::api::{PinReply, PinRequest},
};

/// `tidemill pin`.
pub async fn pin(settings: &Settings, args: &Pin) -> Outcome {
    let request = PinRequest { pinned: true, note: args.note.clone() };
    change(settings, &args.execution, (args.consent, args.format.is_json()), &request).await
}

/// `tidemill unpin`.
pub async fn unpin(settings: &Settings, args: &Unpin) -> Outcome {
    let request = PinRequest { pinned: false, note: None };
    change(settings, &args.execution, (args.consent, args.format.is_json()), &request).await
}

async fn change(
    settings: &Settings,
    execution: &ExecutionArgs,
    (consent, is_json): (ConsentArgs, bool),
    request: &PinRequest,
) -> Outcome {
    let deployment = Deployment::connect(settings).await?;
    let selected = select(&deployment, execution, Purpose::Pin, consent).await?;
    let path = path::PIN.replace("{executionId}", &selected.id().to_string());
    let reply: PinReply = deployment.post(&selected.with_expected_repo(&path), request).await?;
    deployment.close().await;
    output::print_reply(is_json, &reply, || {
        let state = match (request.pinned, reply.changed) {
            (true, true) => "pinned: it is kept until it is unpinned",
            (true, false) => "was pinned already",
            (false, true) => "unpinned: the rules of retention decide about it",
            (false, false) => "was not pinned",
        };
        format!("{}: {state}", selected.title())
    })?;
    Ok(())
}
