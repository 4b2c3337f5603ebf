//! `status`: lists executions, or shows the jobs of one.

use crate::{
    args::{ConsentArgs, ExecutionArgs, StatusArgs},
    deployment::Deployment,
    execution::select::{self, Purpose, select},
    failure::Outcome,
    output::{self, Printable},
    settings::Settings,
    view::format,
};
use std::io::Write;
use tidemill_core::api::ExecutionView;

/// `tidemill status`.
pub async fn status(settings: &Settings, args: &StatusArgs) -> Outcome {
    let deployment = Deployment::connect(settings).await?;
    if args.execution.is_some() {
        let execution =
            ExecutionArgs { execution: args.execution.clone(), selectors: args.selectors.clone() };
        let view = select(&deployment, &execution, Purpose::Read, ConsentArgs::default()).await?.view;
        if args.format.is_json() {
            output::print_json(&view)?;
        } else {
            show(&view)?;
        }
    } else {
        let executions =
            select::list(&deployment, &args.selectors, args.all_repositories, args.all, args.limit).await?;
        if args.format.is_json() {
            output::print_json(&executions)?;
        } else {
            if executions.is_empty() {
                crate::output::outln!("no executions; `tidemill run` starts one");
            }
            let mut out = output::stdout();
            for execution in &executions {
                writeln!(out, "{}", format::list_line(execution))?;
            }
        }
    }
    deployment.close().await;
    Ok(())
}

fn show(view: &ExecutionView) -> std::io::Result<()> {
    let mut out = output::stdout();
    writeln!(out, "{}", format::title(&view.execution))?;
    for job in &view.jobs {
        let (sign, style) = format::status_symbol(job);
        writeln!(out, "{style}{sign}{style:#} {}: {}", Printable(&job.job_name), format::status_text(job))?;
    }
    let (verdict, style) = format::summary_line(view);
    writeln!(out, "{style}{verdict}{style:#}")
}
