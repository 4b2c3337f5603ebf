//! `gc`: removes what no rule of retention keeps, and says why.

use crate::{
    args::Gc,
    deployment::Deployment,
    failure::{Exit, Failure, Outcome},
    output::{self, Printable},
    settings::Settings,
    view::format,
};
use std::io::Write;
use tidemill_core::{
    api::path,
    retention::api::{GcReport, GcRequest, RemovedItem, RemovedPart},
};

/// Maximum number of items that are collected for the output.
const MAX_ITEMS: usize = 10_000;

/// `tidemill gc`.
pub async fn gc(settings: &Settings, args: &Gc) -> Outcome {
    let deployment = Deployment::connect(settings).await?;
    let mut total = GcReport { dry_run: args.dry_run, ..GcReport::default() };
    let mut request = GcRequest { dry_run: args.dry_run, repo: args.repo.clone(), after: None };
    loop {
        let report: GcReport = deployment.post(path::GC, &request).await?;
        let next = report.next;
        add(&mut total, report);
        request.after = next;
        if next.is_none() {
            break;
        }
    }
    deployment.close().await;
    if args.format.is_json() {
        output::print_json(&total)?;
    } else {
        print(&total)?;
    }
    if total.failed > 0 {
        return Err(Failure::silent(Exit::System));
    }
    Ok(())
}

/// Adds the report of the next part of a run.
fn add(total: &mut GcReport, part: GcReport) {
    total.read += part.read;
    total.executions += part.executions;
    total.logs += part.logs;
    total.artifacts += part.artifacts;
    total.artifact_bytes += part.artifact_bytes;
    total.failed += part.failed;
    for (reason, number) in part.kept {
        *total.kept.entry(reason).or_default() += number;
    }
    let room = MAX_ITEMS.saturating_sub(total.items.len());
    total.truncated |= part.truncated || part.items.len() > room;
    total.items.extend(part.items.into_iter().take(room));
}

fn print(report: &GcReport) -> Outcome {
    let mut out = output::stdout();
    for item in &report.items {
        writeln!(out, "{}", line(item))?;
    }
    if report.truncated {
        writeln!(out, "...")?;
    }
    let verb = if report.dry_run { "would remove" } else { "removed" };
    writeln!(
        out,
        "{verb} {} execution(s), the logs of {} and the artifacts of {} more; {} of artifacts",
        report.executions,
        report.logs,
        report.artifacts,
        format::size(report.artifact_bytes)
    )?;
    for (reason, number) in &report.kept {
        writeln!(out, "kept {number}: {}", Printable(reason))?;
    }
    if report.failed > 0 {
        writeln!(
            out,
            "{} could not be removed; the server's log says why, and the next run tries again",
            report.failed
        )?;
    }
    Ok(())
}

/// Formats an item as one line.
fn line(item: &RemovedItem) -> String {
    let part = match item.part {
        RemovedPart::Execution => "execution",
        RemovedPart::Logs => "logs of",
        RemovedPart::Artifacts => "artifacts of",
    };
    format!(
        "{part} {} #{} in {} ({}): {}",
        Printable(&item.pipeline_name),
        item.run_number,
        Printable(&item.repo),
        item.execution_id,
        Printable(&item.why)
    )
}

#[cfg(test)]
mod tests {
    use super::{add, line};
    use tidemill_core::{
        ids::ExecutionId,
        retention::api::{GcReport, RemovedItem, RemovedPart},
    };
    use uuid::Uuid;

    fn item(part: RemovedPart) -> RemovedItem {
        RemovedItem {
            execution_id: ExecutionId(Uuid::nil()),
            repo: "h/app\u{1b}".into(),
            pipeline_name: "ci".into(),
            run_number: 7,
            end_time: None,
            part,
            why: "ended more than 90 days ago".into(),
        }
    }

    #[test]
    fn line_says_what_goes_and_why() {
        let text = line(&item(RemovedPart::Logs));
        assert!(text.starts_with("logs of ci #7 in h/app") && text.ends_with("90 days ago"), "{text}");
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn parts_of_a_run_are_added_up() {
        let part = GcReport {
            read: 3,
            executions: 1,
            artifact_bytes: 5,
            kept: [("pinned".to_owned(), 2)].into(),
            items: vec![item(RemovedPart::Execution)],
            ..GcReport::default()
        };
        let mut total = GcReport::default();
        add(&mut total, part.clone());
        add(&mut total, part);
        assert_eq!((total.read, total.executions, total.artifact_bytes, total.kept["pinned"]), (6, 2, 10, 4));
        assert_eq!(total.items.len(), 2);
    }
}
