//! `watch`: shows an execution until it ends.

use crate::{
    args::{ExecutionArgs, WatchArgs},
    deployment::Deployment,
    execution::{
        select::{Purpose, select},
        show_failures,
        watch::{self, OnInterrupt},
    },
    failure::Outcome,
    settings::Settings,
    view,
};

/// `tidemill watch`.
pub async fn watch(settings: &Settings, args: &WatchArgs) -> Outcome {
    let deployment = Deployment::connect(settings).await?;
    let selection =
        ExecutionArgs { execution: args.id.or(args.selection.execution), ..args.selection.clone() };
    // With --cancel, select only executions that `tidemill cancel` would select.
    let purpose = if args.cancel { Purpose::Cancel } else { Purpose::Watch };
    let selected = select(&deployment, &selection, purpose).await?;
    let on_interrupt = if args.cancel { OnInterrupt::Cancel } else { OnInterrupt::Detach };
    let mut view = view::for_stdout(args.quiet);
    if !args.quiet {
        view.note(&selected.title())?;
    }
    let last = watch::watch(&deployment, selected.id(), &mut *view, on_interrupt).await?;
    show_failures(&deployment, &last).await?;
    deployment.close().await;
    watch::exit_outcome(&last)
}
