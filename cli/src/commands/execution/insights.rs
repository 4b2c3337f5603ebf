//! `insights`: shows how long the pipelines and jobs of a repository take, and how often they fail.

use crate::{
    args::InsightsArgs,
    deployment::{Deployment, query_encoded},
    execution::repository,
    failure::Outcome,
    output::{self, Printable},
    settings::Settings,
    view::format,
};
use std::{fmt::Write as _, io::Write};
use tidemill_core::api::{CountsView, Insights, path};

/// `tidemill insights`.
pub async fn insights(settings: &Settings, args: &InsightsArgs) -> Outcome {
    let repo = repository::address(args.repo.as_deref())?;
    let deployment = Deployment::connect(settings).await?;
    let mut path = format!("{}?repo={}&days={}", path::INSIGHTS, query_encoded(&repo), args.days);
    if let Some(pipeline) = &args.pipeline {
        // Writing to a string cannot fail.
        let _ = write!(path, "&pipeline={}", query_encoded(pipeline));
    }
    let insights: Insights = deployment.get(&path).await?;
    deployment.close().await;
    if args.format.is_json() {
        return Ok(output::print_json(&insights)?);
    }
    let mut out = output::stdout();
    if insights.pipelines.is_empty() {
        writeln!(out, "no executions of {} ended in {} day(s)", Printable(&repo), insights.days)?;
    }
    for pipeline in &insights.pipelines {
        writeln!(out, "{}", line(&pipeline.pipeline_name, &pipeline.executions))?;
        for job in &pipeline.jobs {
            writeln!(out, "  {}", line(&job.job_name, &job.counts))?;
        }
    }
    if insights.truncated {
        output::errln!(
            "there are more pipelines and days than one reply has; select a pipeline with --pipeline"
        );
    }
    Ok(())
}

/// Formats the statistics of a pipeline or job as one line.
fn line(name: &str, counts: &CountsView) -> String {
    let mut line = format!("{}  {} ended", Printable(name), counts.count);
    let decided = counts.succeeded.saturating_add(counts.failed);
    if decided > 0 {
        let per_mille = u64::from(counts.failed) * 1_000 / u64::from(decided);
        // Writing to a string cannot fail.
        let _ = write!(line, ", {}.{}% failed", per_mille / 10, per_mille % 10);
    }
    for (what, number) in [("canceled", counts.canceled), ("retries", counts.retries)] {
        if number > 0 {
            let _ = write!(line, ", {number} {what}");
        }
    }
    for (what, ms) in [
        ("median", counts.median_ms),
        ("95% within", counts.p95_ms),
        ("queued", counts.queue_median_ms),
        ("95% queued within", counts.queue_p95_ms),
    ] {
        if let Some(ms) = ms {
            let _ = write!(line, ", {what} {}", format::duration(ms));
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::line;
    use tidemill_core::api::CountsView;

    #[test]
    fn line_has_what_is_known() {
        let none = CountsView {
            count: 1,
            succeeded: 0,
            failed: 0,
            canceled: 1,
            retries: 0,
            median_ms: None,
            p95_ms: None,
            queue_median_ms: None,
            queue_p95_ms: None,
        };
        assert_eq!(line("ci", &none), "ci  1 ended, 1 canceled");
        let some = CountsView {
            count: 9,
            succeeded: 7,
            failed: 1,
            retries: 2,
            median_ms: Some(65_000),
            p95_ms: Some(90_000),
            queue_median_ms: Some(400),
            ..none
        };
        assert_eq!(
            line("ci", &some),
            "ci  9 ended, 12.5% failed, 1 canceled, 2 retries, median 1m05s, 95% within 1m30s, queued 0.4s"
        );
    }
}
