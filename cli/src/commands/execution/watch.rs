//! `watch`: shows an execution until it ends.

use crate::{
    args::{ExecutionArgs, WatchArgs},
    deployment::Deployment,
    execution::{
        select::{Purpose, select},
        show_end, show_failures,
        watch::{self, OnInterrupt},
    },
    failure::{Exit, Outcome},
    interrupts::or_exit_on_interrupt,
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
    let mut view = view::for_stdout(args.quiet, deployment.hints().clone());
    let last = watch::watch(&deployment, selected.id(), &mut *view, on_interrupt).await?;
    let end = async {
        if args.quiet { show_failures(&deployment, &last).await } else { show_end(&deployment, &last).await }
    };
    or_exit_on_interrupt(end, Exit::Canceled as i32).await??;
    deployment.close().await;
    watch::exit_outcome(&last)
}
