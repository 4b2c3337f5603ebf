//! Reports computed from hand-written records.

use serde_json::{Value, json};
use tidemill_core::execution::report::{JobFilter, jobs_named, report};
use tidemill_core::{api::ExecutionView, time::Timestamp};

fn at(second: u64) -> Value {
    json!(format!("2026-01-01T00:00:{second:02}Z"))
}

fn job(name: &str, stage: &str, needs: &[&str], times: Option<(u64, u64, u64)>) -> Value {
    json!({
        "id": uuid::Uuid::now_v7(), "pipeline_execution_id": uuid::Uuid::nil(), "stage": stage, "job_name": name,
        "docker_image": "i", "status": if times.is_some() { "SUCCESS" } else { "SKIPPED" }, "needs": needs,
        "allow_failure": false, "attempt": 1, "attempts": [],
        "queued_at": times.map(|times| at(times.0)), "start_time": times.map(|times| at(times.1)),
        "end_time": times.map(|times| at(times.2)), "exit_code": 0, "failure_reason": null, "steps": [],
        "phase": null, "log_bytes": 0,
    })
}

fn view(jobs: &[Value]) -> ExecutionView {
    let execution = json!({
        "id": uuid::Uuid::nil(), "kind": "run_pipeline", "pipeline_name": "p", "run_number": 1, "repo": "r", "branch": null, "commit": null,
        "status": "SUCCESS", "trigger": "manual", "requested_by": null, "created_at": at(0),
        "start_time": at(0), "end_time": at(20),
    });
    serde_json::from_value(json!({ "execution": execution, "stages": ["a", "b", "c"], "jobs": jobs }))
        .unwrap()
}

#[test]
fn critical_path_follows_last_dependency() {
    let view = view(&[
        job("quick", "a", &[], Some((0, 0, 3))),
        job("slow", "a", &[], Some((0, 1, 9))),
        job("needs-quick", "b", &["quick"], Some((3, 5, 6))),
        job("needs-both", "b", &["quick", "slow"], Some((9, 10, 15))),
        job("never", "c", &["needs-quick"], None),
        job("last", "c", &[], Some((15, 16, 20))),
    ]);
    let report = report(&view, &JobFilter::default(), Timestamp(0));
    assert_eq!(report.critical_path, ["slow", "needs-both", "last"]);
    assert_eq!((report.critical_path_ms, report.duration_ms), (8_000 + 5_000 + 4_000, 20_000));
    let waited: Vec<Option<&str>> = report.jobs.iter().map(|job| job.waited_on.as_deref()).collect();
    assert_eq!(waited, [None, None, Some("quick"), Some("slow"), None, Some("needs-both")]);
    let needs_quick = &report.jobs[2];
    assert_eq!(
        (needs_quick.needs_ms, needs_quick.worker_ms, needs_quick.run_ms),
        (Some(3_000), Some(2_000), Some(1_000))
    );
}

#[test]
fn filter_narrows_rows_and_keeps_matrix_variants() {
    let view = view(&[
        job("unit [os=a]", "a", &[], Some((0, 0, 3))),
        job("unit [os=b]", "a", &[], Some((0, 0, 4))),
        job("unite", "b", &[], Some((4, 4, 5))),
    ]);
    let of = |stage: Option<&str>, job: Option<&str>| {
        let selection = JobFilter { stage: stage.map(str::to_owned), job: job.map(str::to_owned) };
        report(&view, &selection, Timestamp(0)).jobs.into_iter().map(|job| job.name).collect::<Vec<_>>()
    };
    assert_eq!(of(None, Some("unit")), ["unit [os=a]", "unit [os=b]"]);
    assert_eq!(of(None, Some("unit [os=b]")), ["unit [os=b]"]);
    assert_eq!(of(Some("b"), None), ["unite"]);
    assert_eq!(of(Some("b"), Some("unit")), Vec::<String>::new());
}

#[test]
fn exact_name_of_a_job_selects_no_variant() {
    let names = |all: &[&str], name: &str| {
        let jobs: Vec<Value> = all.iter().map(|name| job(name, "a", &[], None)).collect();
        let view = view(&jobs);
        let selected = jobs_named(&view.jobs, name);
        selected.into_iter().map(|job| job.job_name.clone()).collect::<Vec<_>>().join(", ")
    };
    // The variants of a matrix, and a job that is only named like one of them.
    assert_eq!(names(&["unit 1/2", "unit 2/2", "other"], "unit"), "unit 1/2, unit 2/2");
    assert_eq!(names(&["unit 1/2", "unit 2/2", "unit"], "unit"), "unit");
    assert_eq!(names(&["unit 1/2", "unit 1/2 [os=a]", "unit 1/2 [os=b]"], "unit 1/2"), "unit 1/2");
    assert_eq!(names(&["unit [os=a]", "unit: [b]"], "unit"), "unit [os=a], unit: [b]");
    assert_eq!(names(&["unit"], "unite"), "");
}
