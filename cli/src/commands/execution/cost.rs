//! `report --cost`: an execution's cloud usage, and its cost at list prices.

use crate::{
    args::ReportFormat,
    deployment::Deployment,
    failure::{Failure, Outcome},
    output,
    view::format::{duration, title},
};
use serde::Serialize;
use std::io::Write;
use tidemill_core::api::{ExecutionSummary, ExecutionView, path};
use tidemill_core::execution::cost::{Cost, Prices, Usage, cost, worker_ms};
use tidemill_worker::client::ApiError;

/// The cost report, also as printed JSON.
#[derive(Debug, Serialize)]
struct CostReport<'a> {
    execution: &'a ExecutionSummary,
    usage: Usage,
    /// Time in milliseconds for which attempts occupied a worker's slot.
    worker_ms: u64,
    /// Absent without cloud usage.
    bill: Option<PricedCost>,
}

/// Cost in dollars, and the prices used to compute it.
#[derive(Debug, Serialize)]
struct PricedCost {
    cost: Cost,
    total: f64,
    prices: Prices,
}

/// Prints the cost of an execution.
pub async fn print(deployment: &Deployment, view: &ExecutionView, format: ReportFormat) -> Outcome {
    if format == ReportFormat::Junit {
        return Err(Failure::usage("JUnit XML cannot represent costs: use --format human or json"));
    }
    let usage = usage(deployment, view).await?;
    let report = cost_report(view, usage)?;
    let mut out = output::stdout();
    if format == ReportFormat::Json {
        output::print_json(&report)?;
    } else {
        table(&mut out, &report)?;
    }
    Ok(out.flush()?)
}

async fn usage(deployment: &Deployment, view: &ExecutionView) -> Outcome<Usage> {
    if deployment.is_embedded() {
        // A server in this process uses no cloud.
        return Ok(Usage::default());
    }
    let path = path::USAGE.replace("{executionId}", &view.execution.id.to_string());
    let fetched = deployment.with_retries(async || deployment.api.fetch(&path, None).await).await;
    let fetched = fetched.map_err(|error| match error {
        // The execution exists, so the endpoint is missing.
        ApiError::Rejected { status: 404, .. } => {
            Failure::usage(format!("{} does not record usage: upgrade it to this version", deployment.url))
        }
        other => other.into(),
    })?;
    let body = fetched.map(|fetched| fetched.body).unwrap_or_default();
    serde_json::from_slice(&body).map_err(|error| {
        let error = output::printable(&error.to_string());
        Failure::system(format!("{}{path} returned an invalid reply: {error}", deployment.url))
    })
}

fn cost_report(view: &ExecutionView, usage: Usage) -> Outcome<CostReport<'_>> {
    let worker_ms = worker_ms(view);
    let bill = if usage.is_empty() {
        None
    } else {
        let prices = Prices::us_east_1()
            .map_err(|error| Failure::system(format!("the price list cannot be read: {error}")))?;
        let cost = cost(&usage, worker_ms, &prices);
        Some(PricedCost { cost, total: cost.total(), prices })
    };
    Ok(CostReport { execution: &view.execution, usage, worker_ms, bill })
}

fn table(out: &mut impl Write, report: &CostReport<'_>) -> std::io::Result<()> {
    let execution = report.execution;
    writeln!(out, "{}  {}", title(execution), execution.status.as_str())?;
    let Some(bill) = &report.bill else {
        return writeln!(
            out,
            "no cloud usage; the jobs occupied a worker for {}",
            duration(report.worker_ms)
        );
    };
    let usage = &report.usage;
    let rows = [
        ("API requests", usage.api_requests.to_string()),
        ("function time", format!("{} GB-s", thousandths(usage.function_mib_ms / 1024))),
        ("table requests", usage.table_requests.to_string()),
        ("  items written", usage.table_writes.to_string()),
        ("  write units", halves(usage.table_write_halves)),
        ("  read units", halves(usage.table_read_halves)),
        ("queue requests", usage.queue_requests.to_string()),
        ("object PUTs", usage.object_puts.to_string()),
        ("object GETs", usage.object_gets.to_string()),
        ("worker time", duration(report.worker_ms)),
    ];
    writeln!(out, "\nusage")?;
    for (name, amount) in rows {
        writeln!(out, "  {name:16}  {amount:>12}")?;
    }
    let prices = &bill.prices;
    writeln!(out, "\ndollars at list prices ({}, {})", prices.region, prices.as_of)?;
    let dollars = [
        ("control plane", bill.cost.control_plane),
        ("storage", bill.cost.storage),
        ("workers", bill.cost.workers),
        ("total", bill.total),
    ];
    for (name, amount) in dollars {
        writeln!(out, "  {name:16}  {amount:>12.6}")?;
    }
    writeln!(out, "\n{}", prices.note)
}

/// Formats a number of thousandths as a decimal.
fn thousandths(count: u64) -> String {
    format!("{}.{:03}", count / 1000, count % 1000)
}

/// Formats a number of halves as a decimal.
fn halves(count: u64) -> String {
    format!("{}.{}", count / 2, count % 2 * 5)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{cost_report, table};
    use tidemill_core::api::ExecutionView;
    use tidemill_core::execution::cost::Usage;

    fn shown(usage: Usage) -> String {
        let job = serde_json::json!({
            "id": uuid::Uuid::nil(), "pipeline_execution_id": uuid::Uuid::nil(), "stage": "a", "job_name": "j",
            "docker_image": "i", "status": "SUCCESS", "needs": [], "allow_failure": false, "attempt": 1, "attempts": [],
            "queued_at": null, "start_time": "2026-11-25T10:00:00Z", "end_time": "2026-11-25T10:01:02.5Z",
            "exit_code": 0, "failure_reason": null, "steps": [], "phase": null, "log_bytes": 0,
        });
        let view: ExecutionView = serde_json::from_value(serde_json::json!({
            "execution": {
                "id": uuid::Uuid::nil(), "kind": "run_pipeline", "pipeline_name": "ci", "run_number": 12, "repo": "r", "branch": null,
                "commit": null, "status": "SUCCESS", "trigger": "manual", "requested_by": null,
                "created_at": "2026-11-25T10:00:00Z", "start_time": null, "end_time": null,
            },
            "stages": ["a"], "jobs": [job],
        }))
        .unwrap();
        let mut out = Vec::new();
        table(&mut out, &cost_report(&view, usage).unwrap()).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn cost_report_lists_usage_and_splits_dollars() {
        insta::assert_snapshot!(shown(Usage {
            api_requests: 12,
            function_mib_ms: 12 * 256 * 20,
            table_requests: 20,
            table_writes: 15,
            table_write_halves: 31,
            table_read_halves: 17,
            queue_requests: 3,
            object_puts: 2,
            object_gets: 1,
        }));
    }

    #[test]
    fn cost_report_without_cloud_usage_has_no_bill() {
        insta::assert_snapshot!(shown(Usage::default()), @r"
        ci #12 of r  SUCCESS
        no cloud usage; the jobs occupied a worker for 1m02s
        ");
    }
}
