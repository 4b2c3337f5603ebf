//! `watch`: shows an execution until it ends.

use crate::{
    args::{ViewFormat, WatchArgs},
    deployment::Deployment,
    execution::{
        select::{Purpose, select},
        show_failures,
        watch::{self, OnInterrupt},
    },
    failure::Outcome,
    output,
    settings::Settings,
    view,
};

/// `tidemill watch`.
pub async fn watch(settings: &Settings, args: &WatchArgs) -> Outcome {
    let deployment = Deployment::connect(settings).await?;
    // With --cancel, select only executions that `tidemill cancel` would select.
    let purpose = if args.cancel { Purpose::Cancel } else { Purpose::Watch };
    let selected = select(&deployment, &args.execution, purpose, args.consent).await?;
    let on_interrupt = if args.cancel { OnInterrupt::Cancel } else { OnInterrupt::Detach };
    let mut view = view::for_stdout(args.view);
    if args.view.has_progress() {
        view.note(&selected.title())?;
    }
    let last = watch::watch(&deployment, selected.id(), &mut *view, on_interrupt).await?;
    if args.view.format == ViewFormat::Json {
        output::print_json_line(&last)?;
    } else {
        show_failures(&deployment, &last).await?;
    }
    deployment.close().await;
    watch::exit_outcome(&last)
}
