//! `insights`: shows how long the pipelines and jobs of a repository take, how often they fail and what they cost, their coverage,
//! and their flakiest tests.

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
use tidemill_core::api::{CountsView, DayCoverage, FlakyTest, Insights, PipelineInsight, path};

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
        for line in lines(pipeline) {
            writeln!(out, "{line}")?;
        }
    }
    if insights.truncated {
        output::errln!(
            "there are more pipelines and days than one reply has; select a pipeline with --pipeline"
        );
    }
    Ok(())
}

/// Formats the statistics of a pipeline.
fn lines(pipeline: &PipelineInsight) -> Vec<String> {
    let mut lines = vec![line(&pipeline.pipeline_name, &pipeline.executions, pipeline.cost_usd)];
    lines.extend(
        pipeline.jobs.iter().map(|job| format!("  {}", line(&job.job_name, &job.counts, job.cost_usd))),
    );
    lines.extend(coverage(&pipeline.coverage).map(|text| format!("  {text}")));
    if !pipeline.flaky_tests.is_empty() {
        lines.push("  flaky tests:".to_owned());
    }
    lines.extend(pipeline.flaky_tests.iter().map(|test| format!("    {}", flaky_test(test))));
    lines
}

/// Formats the last coverage, and the change since the first one.
fn coverage(days: &[DayCoverage]) -> Option<String> {
    let (first, last) = (days.first()?, days.last()?);
    let mut text = format!("coverage {} %", last.percent);
    if days.len() > 1 {
        let date = first.day.to_string();
        let date = date.split('T').next().unwrap_or_default();
        // Writing to a string cannot fail.
        let _ = write!(text, ", {:+.1} since {date}", last.percent - first.percent);
    }
    Some(text)
}

fn flaky_test(test: &FlakyTest) -> String {
    let names = [&test.suite, &test.name].into_iter().filter(|name| !name.is_empty());
    let name: Vec<String> = names.map(|name| Printable(name).to_string()).collect();
    format!(
        "{} of {}  {} execution(s), last {}",
        name.join(" "),
        Printable(&test.job_name),
        test.count,
        test.last_execution
    )
}

/// Formats an amount: `$1.24`, or `$0.0031` if it is small.
fn dollars(amount: f64) -> String {
    if amount >= 0.1 { format!("${amount:.2}") } else { format!("${amount:.4}") }
}

/// Formats the statistics of a pipeline or job as one line.
fn line(name: &str, counts: &CountsView, cost_usd: Option<f64>) -> String {
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
    if let Some(amount) = cost_usd {
        let _ = write!(line, ", {}", dollars(amount));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::{line, lines};
    use tidemill_core::api::{CountsView, DayCoverage, FlakyTest, JobInsight, PipelineInsight};
    use tidemill_core::ids::ExecutionId;
    use tidemill_core::time::Timestamp;
    use uuid::Uuid;

    const CANCELED: CountsView = CountsView {
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

    #[test]
    fn pipeline_shows_cost_coverage_and_flaky_tests() {
        let id = ExecutionId(Uuid::nil());
        let flaky = |suite: &str, name: &str, count| FlakyTest {
            job_name: "unit".into(),
            suite: suite.into(),
            name: name.into(),
            count,
            last_execution: id,
        };
        let day = |day: i64, percent| DayCoverage { day: Timestamp(day * 86_400_000), percent };
        let mut pipeline = PipelineInsight {
            pipeline_name: "ci".into(),
            executions: CANCELED,
            jobs: vec![JobInsight { job_name: "unit".into(), counts: CANCELED, cost_usd: Some(0.0031) }],
            by_day: Vec::new(),
            flaky_tests: vec![flaky("gate", "opens\nslowly", 3), flaky("", "alone", 1)],
            coverage: vec![day(0, 81.0), day(3, 80.25)],
            cost_usd: Some(1.238),
        };
        let expected = [
            "ci  1 ended, 1 canceled, $1.24",
            "  unit  1 ended, 1 canceled, $0.0031",
            "  coverage 80.25 %, -0.8 since 1970-01-01",
            "  flaky tests:",
            "    gate opens\\nslowly of unit  3 execution(s), last 00000000-0000-0000-0000-000000000000",
            "    alone of unit  1 execution(s), last 00000000-0000-0000-0000-000000000000",
        ];
        assert_eq!(lines(&pipeline), expected);
        pipeline.coverage.pop();
        pipeline.flaky_tests.clear();
        assert_eq!(lines(&pipeline)[2..], ["  coverage 81 %"]);
    }

    #[test]
    fn line_has_what_is_known() {
        let none = CANCELED;
        assert_eq!(line("ci", &none, None), "ci  1 ended, 1 canceled");
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
            line("ci", &some, None),
            "ci  9 ended, 12.5% failed, 1 canceled, 2 retries, median 1m05s, 95% within 1m30s, queued 0.4s"
        );
    }
}
