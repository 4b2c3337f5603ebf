//! Executions from their start to their end.

use super::server::{DIAMOND, Server, statuses};
use axum::http::StatusCode;
use serde_json::{Value, json};
use tidemill_core::execution::{cost::MAX_SLOT_PRICE, test_report::TestReport};

#[tokio::test(flavor = "multi_thread")]
async fn diamond_runs_in_order_and_ends_once() {
    let server = Server::start(30_000);
    let (status, created) = server.execute(DIAMOND).await;
    assert_eq!((status, created["run_number"].as_u64()), (StatusCode::CREATED, Some(1)), "{created}");
    let id = created["execution_id"].as_str().unwrap();
    let mut order = Vec::new();
    while let Some(assignment) = server.claim().await {
        order.push(assignment["job_name"].as_str().unwrap().to_owned());
        server.finish(&assignment, 0).await;
    }
    assert_eq!(order, ["first", "left", "right", "last"]);
    let view = server.view(id).await;
    assert_eq!(view["execution"]["status"], "SUCCESS", "{view}");
    assert!(view["execution"]["end_time"].is_string());
    assert!(statuses(&view).iter().all(|(_, status)| status == "SUCCESS"));
    // An ended execution is not joined: the next request creates run 2.
    let (status, again) = server.execute(DIAMOND).await;
    assert_eq!((status, again["run_number"].as_u64()), (StatusCode::CREATED, Some(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn failure_skips_dependents_and_retry_reuses_successes() {
    let server = Server::start(30_000);
    let id = server.execute(DIAMOND).await.1["execution_id"].as_str().unwrap().to_owned();
    while let Some(assignment) = server.claim().await {
        let code = i32::from(assignment["job_name"] == "left");
        server.finish(&assignment, code).await;
    }
    let view = server.view(&id).await;
    assert_eq!(view["execution"]["status"], "FAILED");
    let status_of = |name: &str| statuses(&view).into_iter().find(|(job, _)| job == name).unwrap().1;
    assert_eq!((status_of("left").as_str(), status_of("last").as_str()), ("FAILED", "SKIPPED"));
    assert!(view["jobs"][3]["failure_reason"]["message"].as_str().unwrap().contains("`left`"), "{view}");

    let (status, retried) = server.post(&format!("/api/pipeline/retry/{id}"), json!({})).await;
    assert_eq!(status, StatusCode::CREATED, "{retried}");
    let mut order = Vec::new();
    while let Some(assignment) = server.claim().await {
        order.push(assignment["job_name"].as_str().unwrap().to_owned());
        server.finish(&assignment, 0).await;
    }
    assert_eq!(order, ["left", "last"]);
    let view = server.view(retried["execution_id"].as_str().unwrap()).await;
    assert_eq!(view["execution"]["status"], "SUCCESS", "{view}");
    assert_eq!(view["jobs"][0]["carried_from"].as_str().map(str::len), Some(36));
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_identical_requests_create_one_execution() {
    let server = Server::start(30_000);
    let replies = futures_util::future::join_all((0..16).map(|_| server.execute(DIAMOND))).await;
    let ids: std::collections::BTreeSet<&str> =
        replies.iter().map(|(_, created)| created["execution_id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(replies.iter().filter(|(status, _)| *status == StatusCode::CREATED).count(), 1);
    assert!(replies.iter().filter(|(_, created)| created["attached"] == true).count() == 15);
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_prevents_starts_and_signals_running_jobs() {
    let server = Server::start(30_000);
    let id = server.execute(DIAMOND).await.1["execution_id"].as_str().unwrap().to_owned();
    let running = server.claim().await.unwrap();
    let (_, reply) = server.post(&format!("/api/pipeline/cancel/{id}"), Value::Null).await;
    assert_eq!(reply["canceled"], true, "{reply}");
    assert!(server.claim().await.is_none());
    let (_, reply) = server.report(&running, json!({})).await;
    assert_eq!(reply["cancel"], true);
    server.finish(&running, 143).await;
    let view = server.view(&id).await;
    assert_eq!(view["execution"]["status"], "CANCELED", "{view}");
    assert!(statuses(&view).iter().all(|(_, status)| status == "CANCELED"), "{view}");
    let (_, reply) = server.post(&format!("/api/pipeline/cancel/{id}"), Value::Null).await;
    assert_eq!(reply["canceled"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_about_many_executions_read_filters_from_the_query() {
    let server = Server::start(30_000);
    let created = server.execute(DIAMOND).await.1;
    let repo = created["repo"].as_str().unwrap().to_owned();
    while let Some(assignment) = server.claim().await {
        server.finish(&assignment, 0).await;
    }
    for (query, count) in [
        ("event=manual&kind=run_pipeline", 1),
        ("event=merge_group", 0),
        ("kind=discover_pipelines", 0),
        ("status=SUCCESS&text=nowhere", 0),
    ] {
        let list = server.get(&format!("/api/pipeline/executions?{query}")).await;
        assert_eq!(list["executions"].as_array().unwrap().len(), count, "{query}: {list}");
    }
    let overview = server.get("/api/overview").await;
    assert_eq!(overview["repositories"][0]["repo"], repo.as_str());
    assert_eq!(overview["repositories"][0]["recent"][0]["id"], created["execution_id"]);
    assert_eq!((&overview["running"], &overview["approvals"]), (&json!([]), &json!([])));
    let insights = server.get(&format!("/api/insights?repo={repo}&days=7")).await;
    let pipeline = &insights["pipelines"][0];
    assert_eq!(
        (&pipeline["executions"]["succeeded"], pipeline["jobs"].as_array().unwrap().len()),
        (&json!(1), 4)
    );
    assert_eq!(pipeline["by_day"][0]["counts"]["count"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn insights_have_flaky_tests_and_coverage_and_no_cost_without_a_price() {
    let server = Server::start(30_000);
    let pipeline = "name: tested\njobs: { unit: { image: i, script: [a], retry: 1 } }\n";
    let repo = server.execute(pipeline).await.1["repo"].as_str().unwrap().to_owned();
    let case = json!({ "suite": "gate", "name": "opens" });
    let counts =
        json!({ "tests": 1, "failures": 1, "errors": 0, "skipped": 0, "flaky": 0, "duration_ms": 1 });
    let mut passed = TestReport { coverage: Some(87.5), ..TestReport::default() };
    passed.add_passed("gate", "opens");
    for (report, exit_code) in
        [(json!({ "counts": counts, "failed": [case] }), 1), (serde_json::to_value(passed).unwrap(), 0)]
    {
        let assignment = server.claim().await.unwrap();
        let request = json!({ "job_id": assignment["preparation"]["job_id"], "lease": assignment["lease"]["token"],
                              "report": report });
        assert_eq!(server.post("/api/job/tests", request).await.0, StatusCode::OK);
        server.finish(&assignment, exit_code).await;
    }
    let insights = server.get(&format!("/api/insights?repo={repo}&days=1")).await;
    let pipeline = &insights["pipelines"][0];
    let flaky = &pipeline["flaky_tests"][0];
    assert_eq!(
        (&flaky["job_name"], &flaky["suite"], &flaky["name"], &flaky["count"]),
        (&json!("unit"), &json!("gate"), &json!("opens"), &json!(1)),
        "{insights}"
    );
    assert_eq!(pipeline["coverage"][0]["percent"], 87.5, "{insights}");
    assert_eq!((&pipeline["cost_usd"], &pipeline["jobs"][0]["cost_usd"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn price_of_a_worker_is_bounded() {
    let server = Server::start(30_000);
    let worker = json!({ "id": uuid::Uuid::now_v7(), "name": "w" });
    for (price, expected) in [(MAX_SLOT_PRICE, StatusCode::OK), (MAX_SLOT_PRICE + 1, StatusCode::BAD_REQUEST)]
    {
        let request = json!({ "worker": worker, "slot_price": price });
        let (status, reply) = server.post("/api/job/execute", request).await;
        assert_eq!(status, expected, "{reply}");
    }
}
