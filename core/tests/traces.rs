//! Spans of executions, computed from hand-written records.

use serde_json::{Value, json};
use std::collections::HashMap;
use tidemill_core::{
    api::ExecutionView,
    ids::{ExecutionId, JobId},
    time::Timestamp,
    trace::{
        context::{SpanId, TraceContext, attempt_context, execution_context, job_context},
        spans::{AttributeValue, MAX_SPANS, Span, SpanOutcome, execution_spans},
    },
};
use uuid::Uuid;

const EXECUTION: ExecutionId = ExecutionId(Uuid::from_u128(0x0190_f3c4_1111_7abc_b234_5678_9abc_def0));
const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const ROOT: u64 = 0x00f0_67aa_0ba9_02b7;

fn at(second: i64) -> Timestamp {
    Timestamp(1_767_225_600_000 + second * 1_000)
}

/// Seconds since the creation of the execution.
fn seconds(span: &Span) -> (i64, i64) {
    let since = |time: Timestamp| (time.0 - at(0).0) / 1_000;
    (since(span.start), since(span.end))
}

fn step(index: u32, started: Option<i64>, ms: Option<u64>, code: Option<i32>) -> Value {
    json!({ "index": index, "exit_code": code, "duration_ms": ms, "started_at": started.map(at) })
}

fn attempt(number: u32, from: i64, to: i64, kind: &str) -> Value {
    json!({
        "attempt": number, "started_at": at(from), "ended_at": at(to), "exit_code": null, "worker": "w1",
        "failure": { "kind": kind, "message": "the worker is lost" },
    })
}

/// A job that was queued after 1 s, started after 4 s and ended after 10 s.
fn job(ix: u32, change: &Value) -> Value {
    let mut job = json!({
        "id": JobId::of(EXECUTION, ix), "pipeline_execution_id": EXECUTION, "stage": "test",
        "job_name": format!("job {ix}"), "docker_image": "i", "status": "SUCCESS", "needs": [],
        "allow_failure": false, "attempt": 1, "attempts": [], "queued_at": at(1), "start_time": at(4),
        "end_time": at(10), "exit_code": 0, "failure_reason": null, "steps": [], "phase": null, "log_bytes": 7,
    });
    for (key, value) in change.as_object().unwrap() {
        job[key] = value.clone();
    }
    job
}

fn view(jobs: &[Value], change: &Value) -> ExecutionView {
    let mut execution = json!({
        "id": EXECUTION, "kind": "run_pipeline", "pipeline_name": "build", "run_number": 3, "repo": "r",
        "branch": "main", "commit": "c0ffee", "status": "SUCCESS", "trigger": "push", "requested_by": null,
        "created_at": at(0), "start_time": at(4), "end_time": at(20),
    });
    for (key, value) in change.as_object().unwrap() {
        execution[key] = value.clone();
    }
    serde_json::from_value(json!({ "execution": execution, "stages": ["test"], "jobs": jobs })).unwrap()
}

/// Checks what holds for all spans, and returns names with their times, and the number of the span above.
fn checked(spans: &[Span]) -> Vec<(&str, (i64, i64), Option<usize>)> {
    let mut positions: HashMap<SpanId, usize> = HashMap::new();
    let mut all = Vec::new();
    for (position, span) in spans.iter().enumerate() {
        assert_eq!(span.trace_id, spans[0].trace_id);
        assert!(span.start <= span.end, "{span:?}");
        let above = span.parent.and_then(|parent| positions.get(&parent).copied());
        assert_eq!(above.is_none(), position == 0, "the span above comes first: {span:?}");
        if let Some(above) = above {
            let above = &spans[above];
            assert!(above.start <= span.start && span.end <= above.end, "{span:?} is not within {above:?}");
        }
        assert!(positions.insert(span.id, position).is_none(), "ids differ: {span:?}");
        all.push((span.name.as_str(), seconds(span), above));
    }
    all
}

fn text<'a>(span: &'a Span, name: &str) -> Option<&'a str> {
    span.attributes.iter().find(|(key, _)| *key == name).map(|(_, value)| match value {
        AttributeValue::Text(text) => text.as_str(),
        other => panic!("{name}: {other:?}"),
    })
}

#[test]
fn execution_has_jobs_attempts_phases_and_commands() {
    let steps = [step(0, Some(5), Some(1_000), Some(0)), step(1, Some(6), Some(3_000), Some(0))];
    let view = view(&[job(0, &json!({ "steps": steps }))], &json!({}));
    let spans = execution_spans(&view, None);
    assert_eq!(
        checked(&spans),
        [
            ("build", (0, 20), None),
            ("job 0", (1, 10), Some(0)),
            ("attempt 1", (4, 10), Some(1)),
            ("queue", (1, 4), Some(1)),
            ("prepare", (4, 5), Some(2)),
            ("script", (5, 9), Some(2)),
            ("collect", (9, 10), Some(2)),
            ("command 1", (5, 6), Some(5)),
            ("command 2", (6, 9), Some(5)),
        ]
    );
    assert_eq!(spans[0].trace_id, EXECUTION.0.as_u128(), "the trace has the id of the execution");
    assert_eq!(spans[0].parent, None);
    assert_eq!(text(&spans[0], "vcs.ref.head.revision"), Some("c0ffee"));
    assert_eq!(text(&spans[0], "cicd.pipeline.result"), Some("success"));
    assert_eq!(text(&spans[1], "cicd.pipeline.task.run.result"), Some("success"));
    assert!(spans.iter().all(|span| matches!(span.outcome, SpanOutcome::Ok | SpanOutcome::Unset)));
}

#[test]
fn spans_are_those_that_jobs_and_children_got() {
    let view =
        view(&[job(3, &json!({ "attempt": 2, "attempts": [attempt(1, 2, 3, "worker_lost")] }))], &json!({}));
    for (trace, root) in [(None, None), (Some(CALLER), Some(SpanId(ROOT))), (Some("invalid"), None)] {
        let spans = execution_spans(&view, trace);
        let id = |name: &str| spans.iter().find(|span| span.name == name).unwrap().id;
        assert_eq!(spans[0].parent, root, "{trace:?}");
        let trace_id = root.map_or(EXECUTION.0.as_u128(), |_| TraceContext::parse(CALLER).unwrap().trace_id);
        let of = |parent| TraceContext { trace_id, parent, sampled: true };
        assert_eq!(execution_context(EXECUTION, trace), of(spans[0].id));
        assert_eq!(job_context(EXECUTION, trace, 3), of(id("job 3")));
        assert_eq!(attempt_context(EXECUTION, trace, 3, 1), of(id("attempt 1")));
        assert_eq!(attempt_context(EXECUTION, trace, 3, 2), of(id("attempt 2")));
        assert_eq!(execution_spans(&view, trace), spans, "a repeated export has the same spans");
    }
}

#[test]
fn only_ended_executions_of_recorded_traces_have_spans() {
    let jobs = [job(0, &json!({}))];
    let running = view(&jobs, &json!({ "status": "RUNNING", "end_time": null }));
    assert!(execution_spans(&running, None).is_empty());
    let unsampled = CALLER.replace("-01", "-00");
    assert!(execution_spans(&view(&jobs, &json!({})), Some(&unsampled)).is_empty());
}

#[test]
fn failures_have_kind_message_and_result() {
    let failed =
        |kind: &str| json!({ "status": "FAILED", "failure_reason": { "kind": kind, "message": "why" } });
    let cases = [
        (failed("script_failed"), "failure", SpanOutcome::Error("why".into())),
        (failed("timed_out"), "timeout", SpanOutcome::Error("why".into())),
        (failed("worker_lost"), "error", SpanOutcome::Error("why".into())),
        (
            json!({ "status": "CANCELED", "failure_reason": { "kind": "canceled", "message": "c" } }),
            "cancellation",
            SpanOutcome::Unset,
        ),
    ];
    for (change, result, outcome) in cases {
        let spans = execution_spans(&view(&[job(0, &change)], &json!({ "status": "FAILED" })), None);
        for span in &spans[1..3] {
            assert_eq!(span.outcome, outcome, "{span:?}");
            assert_eq!(text(span, "error.type"), change["failure_reason"]["kind"].as_str());
        }
        assert_eq!(text(&spans[1], "cicd.pipeline.task.run.result"), Some(result));
        assert_eq!(text(&spans[0], "cicd.pipeline.result"), Some("failure"));
        assert!(matches!(spans[0].outcome, SpanOutcome::Error(_)));
    }
    let long =
        json!({ "status": "FAILED", "failure_reason": { "kind": "internal", "message": "ü".repeat(9_000) } });
    let spans =
        execution_spans(&view(&[job(0, &long)], &json!({ "status": "CANCELED", "timed_out": true })), None);
    assert_eq!(spans[1].outcome, SpanOutcome::Error("ü".repeat(500)), "messages are bounded");
    assert_eq!(text(&spans[0], "cicd.pipeline.result"), Some("timeout"));
}

#[test]
fn every_combination_of_records_gives_a_tree_of_spans_within_their_parents() {
    let times = [None, Some(-50), Some(3), Some(5), Some(9), Some(500)];
    let mut combinations = 0;
    for status in ["PENDING", "QUEUED", "RUNNING", "SUCCESS", "FAILED", "CANCELED", "SKIPPED"] {
        for earlier in 0..3_u32 {
            for queued_at in [None, Some(at(1))] {
                for start_time in [None, Some(at(4))] {
                    for first in times {
                        for ms in [None, Some(0), Some(2_500), Some(900_000)] {
                            combinations += 1;
                            let kinds = ["worker_lost", "script_failed", "canceled"];
                            let attempts: Vec<Value> = (1..=earlier)
                                .map(|n| attempt(n, i64::from(n), i64::from(n) + 1, kinds[n as usize]))
                                .collect();
                            let steps =
                                [step(0, first, ms, Some(0)), step(1, first.map(|at| at + 1), None, None)];
                            let of_job = job(
                                5,
                                &json!({
                                    "status": status, "attempt": earlier + u32::from(start_time.is_some()),
                                    "attempts": attempts, "queued_at": queued_at, "start_time": start_time,
                                    "steps": steps,
                                }),
                            );
                            let spans = execution_spans(&view(&[of_job], &json!({})), Some(CALLER));
                            let names: Vec<&str> = checked(&spans).iter().map(|(name, ..)| *name).collect();
                            let begun = queued_at.is_some() || start_time.is_some() || earlier > 0;
                            let has_job = begun && status != "SKIPPED";
                            assert_eq!(names.contains(&"job 5"), has_job, "{names:?}");
                            let number = names.iter().filter(|name| name.starts_with("attempt")).count();
                            let expected = earlier as usize + usize::from(start_time.is_some());
                            assert_eq!(number, if has_job { expected } else { 0 }, "{names:?}");
                            let has_commands = has_job && start_time.is_some() && first.is_some();
                            assert_eq!(names.contains(&"script"), has_commands, "{names:?}");
                            assert_eq!(names.contains(&"command 2"), has_commands, "{names:?}");
                        }
                    }
                }
            }
        }
    }
    assert_eq!(combinations, 7 * 3 * 2 * 2 * 6 * 4);
}

#[test]
fn carried_over_jobs_belong_to_the_trace_of_the_retried_execution() {
    let carried = job(0, &json!({ "carried_from": JobId::of(EXECUTION, 9) }));
    assert_eq!(checked(&execution_spans(&view(&[carried], &json!({})), None)).len(), 1);
}

#[test]
fn spans_are_bounded_and_commands_are_left_out_first() {
    let steps: Vec<Value> = (0..3_000).map(|index| step(index, Some(5), Some(1), Some(0))).collect();
    let jobs: Vec<Value> = (0..4).map(|ix| job(ix, &json!({ "steps": steps }))).collect();
    let spans = execution_spans(&view(&jobs, &json!({})), None);
    let names = checked(&spans);
    assert_eq!(names.len(), MAX_SPANS);
    assert_eq!(names.iter().filter(|(name, ..)| *name == "collect").count(), 4);
    let all = 1 + 4 * (1 + 1 + 4 + 3_000);
    let left_out = spans[0].attributes.iter().find(|(name, _)| *name == "tidemill.spans.left_out").unwrap();
    assert_eq!(left_out.1, AttributeValue::Number(all - i64::try_from(MAX_SPANS).unwrap()));
}
