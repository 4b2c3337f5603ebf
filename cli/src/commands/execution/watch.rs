//! `watch`: shows an execution until it ends.

use crate::{
    args::WatchArgs,
    deployment::Deployment,
    execution::{
        select::{Purpose, select},
        show_result,
        watch::{self, OnInterrupt},
    },
    failure::{Exit, Outcome},
    interrupts::{Interrupts, or_exit_on_interrupt},
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
    let mut view = view::for_stdout(args.view, deployment.hints().clone());
    let interrupts = (&mut Interrupts::listen()?, on_interrupt);
    let last = watch::watch(&deployment, selected.id(), &mut *view, interrupts).await?;
    let end = show_result(&deployment, &last, args.view);
    or_exit_on_interrupt(end, Exit::Canceled as i32).await??;
    deployment.close().await;
    watch::exit_outcome(&last)
}
