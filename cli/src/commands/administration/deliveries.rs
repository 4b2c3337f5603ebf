//! `repo deliveries`, `repo schedules` and `repo run`: the last deliveries of a webhook, the schedules of pipelines, and starting a
//! pipeline of a branch.

use crate::{
    args::{Deliveries, RunOfRepo, Schedules},
    deployment::{Deployment, query_encoded},
    failure::Outcome,
    output::{self, Printable},
    pipeline::file,
};
use std::io::Write;
use tidemill_core::api::{
    DeliveryList, DeliveryOutcome, DeliveryView, ExecuteReply, InputValue, RedeliverRequest,
    RunPipelineRequest, RunScheduleRequest, ScheduleList, path,
};
use tidemill_core::repository::registration::WebhookReply;

/// Lists the last deliveries of a repository, or processes one of them again.
pub async fn deliveries(deployment: &Deployment, args: &Deliveries) -> Outcome {
    if let Some(id) = &args.redeliver {
        let request = RedeliverRequest { repo: args.url.clone(), id: id.clone() };
        let reply: WebhookReply = deployment.start(path::REDELIVER_DELIVERY, &request, true).await?;
        output::print_reply(args.format.is_json(), &reply, || {
            let lines: Vec<String> = reply.lines.iter().map(|line| Printable(line).to_string()).collect();
            lines.join("\n")
        })?;
        return Ok(());
    }
    let path = format!("{}?repo={}", path::DELIVERIES, query_encoded(&args.url));
    let list: DeliveryList = deployment.get(&path).await?;
    if args.format.is_json() {
        return Ok(output::print_json(&list)?);
    }
    let mut out = output::stdout();
    if list.deliveries.is_empty() {
        writeln!(out, "no deliveries within 7 days")?;
    }
    for delivery in &list.deliveries {
        writeln!(out, "{}", line(delivery))?;
        for text in &delivery.lines {
            writeln!(out, "    {}", Printable(text))?;
        }
    }
    if list.rejected.count > 0 {
        let last = list.rejected.last_at.map(|at| format!(", the last at {at}")).unwrap_or_default();
        let why = list.rejected.last_reason.as_deref().unwrap_or_default();
        writeln!(out, "{} without a valid signature{last}: {}", list.rejected.count, Printable(why))?;
    }
    Ok(out.flush()?)
}

/// Formats a delivery as one line.
fn line(delivery: &DeliveryView) -> String {
    let outcome = match delivery.outcome {
        DeliveryOutcome::Started => "started",
        DeliveryOutcome::Skipped => "started nothing",
        DeliveryOutcome::Refused => "refused",
        DeliveryOutcome::Failed => "failed",
    };
    let action = delivery.action.as_ref().map(|action| format!(" {}", Printable(action))).unwrap_or_default();
    let again = if delivery.redelivery_of.is_some() { ", redelivered" } else { "" };
    let gone = if delivery.can_redeliver { "" } else { ", body not kept" };
    let event = delivery.event.as_deref().unwrap_or("unknown event");
    format!(
        "{}  {}  {}{action}: {outcome}{again}{gone}",
        Printable(&delivery.id),
        delivery.received_at,
        Printable(event)
    )
}

/// Starts a pipeline of a registered repository at the head of a branch. A repeated request of the same command starts it once.
pub async fn run(deployment: &Deployment, args: &RunOfRepo) -> Outcome {
    let inputs = file::input_pairs(&args.inputs)?;
    let request = RunPipelineRequest {
        repo: args.url.clone(),
        path: args.file.clone(),
        branch: args.branch.clone(),
        inputs: inputs.into_iter().map(|(name, value)| (name, InputValue::Text(value))).collect(),
    };
    let reply: ExecuteReply = deployment.start(path::RUN_PIPELINE, &request, true).await?;
    output::print_reply(args.format.is_json(), &reply, || {
        let branch = args.branch.as_deref().map(|name| format!(" of {}", Printable(name)));
        format!(
            "execution {} reads {}{} and starts it; its log names what it started:\n  {}",
            reply.execution_id,
            Printable(&args.file),
            branch.unwrap_or_else(|| " of the default branch".to_owned()),
            deployment.hints().logs(reply.execution_id)
        )
    })?;
    Ok(())
}

/// Lists schedules, or starts one of them.
pub async fn schedules(deployment: &Deployment, args: &Schedules) -> Outcome {
    if let (Some(path), Some(url)) = (&args.run, &args.url) {
        let request = RunScheduleRequest { repo: url.clone(), path: path.clone(), index: args.index };
        let reply: ExecuteReply = deployment.start(path::RUN_SCHEDULE, &request, true).await?;
        output::print_reply(args.format.is_json(), &reply, || {
            format!("execution {} starts {}", reply.execution_id, Printable(path))
        })?;
        return Ok(());
    }
    let query = args.url.as_ref().map(|url| format!("?repo={}", query_encoded(url))).unwrap_or_default();
    let list: ScheduleList = deployment.get(&format!("{}{query}", path::SCHEDULES)).await?;
    if args.format.is_json() {
        return Ok(output::print_json(&list)?);
    }
    let mut out = output::stdout();
    if list.schedules.is_empty() {
        writeln!(out, "no schedules")?;
    }
    for schedule in &list.schedules {
        let next: Vec<String> = schedule.next_times.iter().map(ToString::to_string).collect();
        let next = if next.is_empty() { "never".to_owned() } else { next.join(", ") };
        writeln!(
            out,
            "{}  {} [{}]  {}  `{}` ({}): next {next}",
            Printable(&schedule.repo),
            Printable(&schedule.path),
            schedule.index,
            Printable(&schedule.pipeline_name),
            Printable(&schedule.cron),
            Printable(&schedule.time_zone)
        )?;
        if let Some(at) = schedule.missed_at {
            writeln!(out, "    could not start at {at}; it is tried again")?;
        }
        if let Some(last) = schedule.last_execution {
            writeln!(out, "    last started {last}")?;
        }
    }
    if list.truncated {
        output::errln!("there are more schedules; name a repository");
    }
    Ok(out.flush()?)
}
