//! Checks of the statistics of ended executions, the overview and the search, over the adapters.

use crate::conformance::{
    StoresUnderTest,
    claims::{SLOT_PRICE, claim_at},
    samples,
};
use tidemill_core::execution::{
    facts::CommitDetails,
    failure::{FailureKind, FailureReason},
    status::ExecutionStatus,
    test_report::{TestCase, TestReport, TestsRequest},
};
use tidemill_core::{
    api::{
        AttemptEnd, BadgeRequest, ExecuteRequest, ExecutionKind, InsightQuery, Insights, JobReport,
        ListQuery, Overview, RepositoryOverview, RetryRequest, Trigger,
    },
    ids::ExecutionId,
};
use tidemill_services::ports::{DocumentKey, NewDocument};
use tidemill_services::{Error, Services, Settings, Stores};
use tokio_util::sync::CancellationToken;

const PIPELINE: &str =
    "name: check\njobs: { a: { image: i, script: x, retry: 1 }, b: { image: i, script: x } }\n";
const WITH_APPROVAL: &str =
    "name: deploy\njobs:\n  a: { image: i, script: x }\n  ship: { image: i, script: x, when: manual }\n";
const DAY_MS: i64 = 86_400_000;

fn services(stores: Stores) -> Services {
    Services::new(stores, Settings::default(), CancellationToken::new())
}

fn request(repo: &str, commit: &str) -> ExecuteRequest {
    ExecuteRequest {
        pipeline: PIPELINE.into(),
        repo: repo.into(),
        branch: Some("main".into()),
        default_branch: Some("main".into()),
        commit: Some(commit.into()),
        trigger: Trigger::Manual,
        force: true,
        ..ExecuteRequest::default()
    }
}

async fn start(services: &Services, request: ExecuteRequest) -> ExecutionId {
    services.pipelines.execute(request, None, None).await.unwrap().execution_id
}

/// Runs the job at a position for `ran_ms`.
async fn run(
    subject: &StoresUnderTest,
    services: &Services,
    at: (ExecutionId, usize),
    ok: bool,
    ran_ms: i64,
) {
    let assignment = claim_at(services, at.0, at.1).await.unwrap();
    subject.clock.advance(ran_ms);
    let failure = (!ok).then(|| FailureReason::new(FailureKind::ScriptFailed, "because"));
    let end = Some(AttemptEnd { failure, exit_code: Some(i32::from(!ok)), ..AttemptEnd::default() });
    let (job_id, lease) = (assignment.preparation.job_id, assignment.lease.token);
    let report = JobReport { job_id, lease, log: None, phase: None, steps: Vec::new(), end };
    services.jobs.report(report).await.unwrap();
}

async fn insights(services: &Services, repo: &str, pipeline: Option<&str>, days: u32) -> Insights {
    let query = InsightQuery { repo: repo.into(), pipeline: pipeline.map(str::to_owned), days: Some(days) };
    services.insights.insights(query).await.unwrap()
}

async fn overview(services: &Services, repo: &str) -> (Overview, Option<RepositoryOverview>) {
    let overview = services.pipelines.overview(Some(repo), None).await.unwrap();
    let of_repo = overview.repositories.first().cloned();
    assert!(overview.repositories.len() <= 1);
    (overview, of_repo)
}

/// Executions count on the day on which they end, with the times of their jobs, and once.
pub async fn ended_executions_are_counted_by_day(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let repo = samples::repo();
    for (ok, ran_ms) in [(true, 1_000), (true, 3_000), (false, 20_000)] {
        let id = start(&services, request(&repo, "c1")).await;
        subject.clock.advance(500);
        run(subject, &services, (id, 0), true, ran_ms).await;
        run(subject, &services, (id, 1), ok, ran_ms).await;
    }
    let canceled = start(&services, request(&repo, "c1")).await;
    services.pipelines.cancel(canceled).await.unwrap();
    // The end is recorded once, whoever repeats it.
    services.pipelines.cancel(canceled).await.unwrap();
    services.sweep.run().await.unwrap();
    subject.clock.advance(DAY_MS);
    let retried = start(&services, request(&repo, "c2")).await;
    run(subject, &services, (retried, 0), false, 100).await;
    run(subject, &services, (retried, 0), true, 100).await;
    run(subject, &services, (retried, 1), true, 100).await;

    let all = insights(&services, &repo, None, 2).await;
    assert!(!all.truncated);
    let [of_pipeline] = all.pipelines.as_slice() else { panic!("{all:?}") };
    let counts = &of_pipeline.executions;
    assert_eq!(of_pipeline.pipeline_name, "check");
    assert_eq!((counts.count, counts.succeeded, counts.failed, counts.canceled), (5, 3, 1, 1));
    assert_eq!(counts.retries, 1);
    let p95 = counts.p95_ms.unwrap();
    assert!((37_000..=43_000).contains(&p95), "{p95}");
    let queued = counts.queue_median_ms.unwrap();
    assert!((450..=550).contains(&queued), "{queued}");
    let jobs: Vec<_> = of_pipeline
        .jobs
        .iter()
        .map(|job| (job.job_name.as_str(), job.counts.count, job.counts.failed))
        .collect();
    // Of the canceled execution, both jobs were.
    assert_eq!(jobs, [("a", 5, 0), ("b", 5, 1)]);
    assert_eq!((of_pipeline.jobs[0].counts.retries, of_pipeline.jobs[1].counts.retries), (1, 0));
    let by_day: Vec<_> =
        of_pipeline.by_day.iter().map(|day| (day.day.0 % DAY_MS, day.counts.count)).collect();
    assert_eq!(by_day, [(0, 4), (0, 1)]);

    let today = insights(&services, &repo, Some("check"), 1).await;
    assert_eq!((today.pipelines[0].executions.count, today.pipelines[0].by_day.len()), (1, 1));
    assert_eq!(insights(&services, &repo, None, 1).await.pipelines, today.pipelines);
    let both = insights(&services, &repo, Some("check"), 2).await;
    assert_eq!((both.pipelines, both.truncated), (all.pipelines.clone(), false));
    assert_eq!(insights(&services, &repo, Some("other"), 90).await.pipelines, []);
    assert_eq!(insights(&services, &samples::repo(), None, 90).await.pipelines, []);
    for days in [0, 91] {
        let query = InsightQuery { repo: repo.clone(), pipeline: None, days: Some(days) };
        assert!(matches!(services.insights.insights(query).await, Err(Error::Invalid(_))), "{days}");
    }
}

/// Reports the tests of the job at a position, with these failed and passed ones, and runs it for a second.
async fn run_tests(
    subject: &StoresUnderTest,
    services: &Services,
    at: (ExecutionId, usize),
    (failed, passed): (&[&str], &[&str]),
    coverage: Option<f64>,
) {
    let assignment = claim_at(services, at.0, at.1).await.unwrap();
    subject.clock.advance(1_000);
    let mut report = TestReport { coverage, ..TestReport::default() };
    for name in failed {
        report.add_failed(TestCase { suite: "s".into(), name: (*name).into(), ..TestCase::default() });
    }
    for name in passed {
        report.add_passed("s", name);
    }
    let (job_id, lease) = (assignment.preparation.job_id, assignment.lease.token);
    services.test_reports.store(TestsRequest { job_id, lease, report }).await.unwrap();
    let failure = (!failed.is_empty()).then(|| FailureReason::new(FailureKind::ScriptFailed, "because"));
    let end = Some(AttemptEnd { failure, exit_code: Some(0), ..AttemptEnd::default() });
    let report = JobReport { job_id, lease, log: None, phase: None, steps: Vec::new(), end };
    services.jobs.report(report).await.unwrap();
}

/// Tests that fail and then pass, in a later attempt or a retry, count as flaky once for each execution; the coverage of a day is
/// that of the default branch; and the time of all attempts has its price.
pub async fn flaky_tests_coverage_and_cost_are_counted(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let repo = samples::repo();
    let of_pipeline = async |days| insights(&services, &repo, None, days).await.pipelines.remove(0);
    // The job `a` has a second attempt; `b` fails, and is run again by a retry of the execution, which carries `a` over.
    let first = start(&services, request(&repo, "c1")).await;
    run_tests(subject, &services, (first, 0), (&["x", "broken"], &[]), Some(10.0)).await;
    run_tests(subject, &services, (first, 0), (&[], &["x", "y"]), Some(80.0)).await;
    run_tests(subject, &services, (first, 1), (&["z"], &[]), None).await;
    let of_first = of_pipeline(1).await;
    let names = |tests: &[tidemill_core::api::FlakyTest]| -> Vec<(String, String, u32)> {
        tests.iter().map(|test| (test.job_name.clone(), test.name.clone(), test.count)).collect()
    };
    let flaky = |job: &str, name: &str, count| (job.to_owned(), name.to_owned(), count);
    assert_eq!(names(&of_first.flaky_tests), [flaky("a", "x", 1)]);
    assert_eq!(of_first.flaky_tests[0].last_execution, first);
    let percents = |days: &[tidemill_core::api::DayCoverage]| -> Vec<f64> {
        days.iter().map(|day| day.percent).collect()
    };
    assert_eq!(percents(&of_first.coverage), [80.0]);
    // Three attempts of a second.
    let second = f64::from(u32::try_from(SLOT_PRICE).unwrap()) / 1e6 / 3_600.0;
    let near =
        |cost: Option<f64>, seconds: f64| cost.is_some_and(|cost| (cost - seconds * second).abs() < 1e-9);
    assert!(near(of_first.cost_usd, 3.0), "{:?}", of_first.cost_usd);
    assert!(near(of_first.jobs[0].cost_usd, 2.0) && near(of_first.jobs[1].cost_usd, 1.0), "{of_first:?}");

    let retry = services.pipelines.retry(first, RetryRequest::default(), None).await.unwrap().execution_id;
    run_tests(subject, &services, (retry, 1), (&[], &["z"]), Some(90.0)).await;
    let of_retry = of_pipeline(1).await;
    let expected = [flaky("b", "z", 1), flaky("a", "x", 1)];
    assert_eq!(names(&of_retry.flaky_tests), expected, "what was carried over counts once");
    assert_eq!(of_retry.flaky_tests[0].last_execution, retry);
    assert_eq!(percents(&of_retry.coverage), [85.0], "the mean of both jobs");
    assert!(near(of_retry.cost_usd, 4.0), "{:?}", of_retry.cost_usd);

    let topic = ExecuteRequest { branch: Some("topic".into()), ..request(&repo, "c2") };
    let of_topic = start(&services, topic.clone()).await;
    run_tests(subject, &services, (of_topic, 0), (&["x"], &[]), Some(20.0)).await;
    run_tests(subject, &services, (of_topic, 0), (&[], &["x"]), Some(20.0)).await;
    run(subject, &services, (of_topic, 1), true, 1).await;
    let both = of_pipeline(1).await;
    assert_eq!(names(&both.flaky_tests), [flaky("a", "x", 2), flaky("b", "z", 1)]);
    assert_eq!(both.flaky_tests[0].last_execution, of_topic);
    assert_eq!(percents(&both.coverage), [85.0], "of the default branch");
    // A day without an execution of the default branch does not show in a time that has one.
    subject.clock.advance(DAY_MS);
    let next_day = start(&services, topic).await;
    run_tests(subject, &services, (next_day, 0), (&[], &[]), Some(30.5)).await;
    run(subject, &services, (next_day, 1), true, 1).await;
    assert_eq!(percents(&of_pipeline(2).await.coverage), [85.0]);
    assert_eq!(percents(&of_pipeline(1).await.coverage), [30.5]);
    assert_eq!(names(&of_pipeline(2).await.flaky_tests), names(&both.flaky_tests));
}

/// Executions that end at the same moment on two servers are all counted.
pub async fn concurrent_ends_are_all_counted(subject: &StoresUnderTest) {
    let servers = [services(subject.open().await), services(subject.open().await)];
    let repo = samples::repo();
    let mut ids = Vec::new();
    // As many as there are attempts: each conflict means that another one was counted.
    for _ in 0..5 {
        ids.push(start(&servers[0], request(&repo, "c")).await);
    }
    let cancels = ids.iter().enumerate().map(|(n, id)| servers[n % 2].pipelines.cancel(*id));
    for canceled in futures_util::future::join_all(cancels).await {
        canceled.unwrap();
    }
    let all = insights(&servers[1], &repo, None, 1).await;
    assert_eq!((all.pipelines[0].executions.count, all.pipelines[0].executions.canceled), (5, 5));
    let (_, of_repo) = overview(&servers[1], &repo).await;
    let recent: Vec<ExecutionId> = of_repo.unwrap().recent.iter().map(|one| one.id).collect();
    ids.reverse();
    assert_eq!(recent, ids, "newest first");
}

/// The overview has the latest executions, the state of the default branch, what runs, and what waits for an approval.
pub async fn overview_shows_latest_executions_and_approvals(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let repo = samples::repo();
    let failed = start(&services, request(&repo, "c1")).await;
    run(subject, &services, (failed, 0), true, 1).await;
    run(subject, &services, (failed, 1), false, 1).await;
    let (_, of_repo) = overview(&services, &repo).await;
    assert_eq!(of_repo.unwrap().status, Some(ExecutionStatus::Failed));
    let fixed = start(&services, request(&repo, "c2")).await;
    run(subject, &services, (fixed, 0), true, 1).await;
    run(subject, &services, (fixed, 1), true, 1).await;
    let topic = ExecuteRequest { branch: Some("topic".into()), ..request(&repo, "c3") };
    let of_topic = start(&services, topic).await;
    services.pipelines.cancel(of_topic).await.unwrap();
    let running = start(&services, request(&repo, "c4")).await;
    let assignment = claim_at(&services, running, 0).await.unwrap();
    let manual = ExecuteRequest { pipeline: WITH_APPROVAL.into(), ..request(&repo, "c5") };
    let waiting = start(&services, manual).await;
    run(subject, &services, (waiting, 0), true, 1).await;

    let (overview, of_repo) = overview(&services, &repo).await;
    let of_repo = of_repo.unwrap();
    assert_eq!(of_repo.default_branch.as_deref(), Some("main"));
    assert_eq!(of_repo.status, Some(ExecutionStatus::Success));
    let recent: Vec<_> = of_repo.recent.iter().map(|one| (one.id, one.status)).collect();
    let expected = [
        (of_topic, ExecutionStatus::Canceled),
        (fixed, ExecutionStatus::Success),
        (failed, ExecutionStatus::Failed),
    ];
    assert_eq!(recent, expected);
    let on_default: Vec<_> = of_repo.of_default_branch.iter().map(|one| one.id).collect();
    assert_eq!(on_default, [fixed]);
    let live: Vec<_> = overview.running.iter().chain(&overview.pending).map(|one| one.id).collect();
    assert!(live.contains(&running) && live.contains(&waiting) && live.len() == 2, "{live:?}");
    let [approval] = overview.approvals.as_slice() else { panic!("{:?}", overview.approvals) };
    let [job] = approval.jobs.as_slice() else { panic!("{approval:?}") };
    assert_eq!((approval.execution.id, job.name.as_str()), (waiting, "ship"));
    assert_eq!((&job.approvals, job.caller_approval), (&None, None), "nobody in particular asked");
    let everything = services.pipelines.overview(None, None).await.unwrap();
    assert!(everything.repositories.iter().any(|one| one.repo == of_repo.repo));
    drop(assignment);
    for id in [running, waiting] {
        services.pipelines.cancel(id).await.unwrap();
    }
}

/// Executions that do not tell the state of a commit on the default branch change neither its state nor its name, and texts of
/// commits are cut.
pub async fn incomplete_executions_do_not_set_state_of_default_branch(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let repo = samples::repo();
    let passed = start(&services, request(&repo, "c1")).await;
    run(subject, &services, (passed, 0), true, 1).await;
    run(subject, &services, (passed, 1), true, 1).await;
    let of_other = || ExecuteRequest { default_branch: Some("topic".into()), ..request(&repo, "c2") };
    let dirty = CommitDetails { dirty: true, ..CommitDetails::new(&"é".repeat(1_000), "Ann") };
    let requests = [
        ExecuteRequest { jobs: vec!["a".into()], ..of_other() },
        ExecuteRequest { trigger: Trigger::Push, ..of_other() },
        ExecuteRequest { commit_details: dirty.clone(), ..of_other() },
        ExecuteRequest { commit_details: dirty, ..request(&repo, "c3") },
        ExecuteRequest { branch: Some("topic".into()), trigger: Trigger::Push, ..of_other() },
    ];
    for request in requests {
        let canceled = start(&services, request).await;
        services.pipelines.cancel(canceled).await.unwrap();
    }
    let of_repo = overview(&services, &repo).await.1.unwrap();
    let state = (of_repo.default_branch.as_deref(), of_repo.status, of_repo.recent.len());
    assert_eq!(state, (Some("main"), Some(ExecutionStatus::Success), 6));
    let on_default: Vec<_> = of_repo.of_default_branch.iter().map(|one| one.id).collect();
    assert_eq!(on_default, [passed]);
    assert_eq!(of_repo.recent[1].title, Some("é".repeat(200)));

    // A pipeline that is not run any more does not count for ever.
    let removed = ExecuteRequest { pipeline: PIPELINE.replace("check", "removed"), ..request(&repo, "c4") };
    let canceled = start(&services, removed).await;
    services.pipelines.cancel(canceled).await.unwrap();
    assert_eq!(overview(&services, &repo).await.1.unwrap().status, Some(ExecutionStatus::Canceled));
    subject.clock.advance(31 * DAY_MS);
    let latest = start(&services, request(&repo, "c5")).await;
    run(subject, &services, (latest, 0), true, 1).await;
    run(subject, &services, (latest, 1), true, 1).await;
    let of_repo = overview(&services, &repo).await.1.unwrap();
    assert_eq!((of_repo.status, of_repo.of_default_branch.len()), (Some(ExecutionStatus::Success), 1));
}

/// A badge shows the state of the default branch to who has its key, until that is revoked.
pub async fn badge_shows_default_branch_until_revoked(subject: &StoresUnderTest) {
    let stores = subject.open().await;
    let services = services(stores.clone());
    let badge = BadgeRequest { repo: samples::repo() };
    let key = services.badges.publish(&badge).await.unwrap().key;
    assert_eq!(services.badges.publish(&badge).await.unwrap().key, key, "the key stays");
    let svg = async |pipeline| services.badges.svg(&key, pipeline).await.unwrap();
    let unknown = svg(None).await;
    assert!(unknown.contains("build: unknown"), "{unknown}");
    let id = start(&services, request(&badge.repo, "c1")).await;
    run(subject, &services, (id, 0), true, 1).await;
    run(subject, &services, (id, 1), true, 1).await;
    let topic =
        start(&services, ExecuteRequest { branch: Some("topic".into()), ..request(&badge.repo, "c2") });
    services.pipelines.cancel(topic.await).await.unwrap();
    assert!(svg(None).await.contains("build: passing"));
    assert!(svg(Some("check")).await.contains("check: passing"));
    assert_eq!(svg(Some("other")).await, unknown);
    for wrong in ["", "x", "../badge", &"0".repeat(32), &key[..31], &key.to_uppercase()[..31]] {
        assert_eq!(services.badges.svg(wrong, Some("check")).await.unwrap(), unknown, "{wrong}");
    }
    let document = DocumentKey::new("badge", &*key);
    let of_key = stores.documents.get(&document).await.unwrap().unwrap();
    assert!(services.badges.revoke(&badge).await.unwrap().revoked);
    // Written by another server that published the badge at the same moment.
    let late = NewDocument { key: document.clone(), value: of_key.value, due_at: None, expires_at: None };
    assert!(stores.documents.put(late, None).await.unwrap());
    assert_eq!(svg(Some("check")).await, unknown);
    assert!(stores.documents.delete(&document, None).await.unwrap());
    assert!(!services.badges.revoke(&badge).await.unwrap().revoked);
    assert_eq!(svg(Some("check")).await, unknown);
    assert_ne!(services.badges.publish(&badge).await.unwrap().key, key);
}

/// A search finds executions by event, author, commit, message and kind, page by page.
pub async fn executions_are_found_by_commit_author_and_event(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let repo = samples::repo();
    let mut ids = Vec::new();
    for (commit, message, author, trigger) in [
        ("ab12", "Add the thing\n\nIt was MISSING.", "Ann <ann@example.org>", Trigger::Push),
        ("ab34", "Fix the thing", "Bob <bob@example.org>", Trigger::Schedule),
        ("cd56", "Remove it", "Ann <ann@example.org>", Trigger::Push),
    ] {
        let commit_details = CommitDetails::new(message, author);
        let request = ExecuteRequest { commit_details, trigger, ..request(&repo, commit) };
        ids.push(start(&services, request).await);
    }
    let of_repo = || ListQuery { repo: Some(repo.clone()), ..ListQuery::default() };
    let text = |text: &str| Some(text.to_owned());
    for (query, expected) in [
        (ListQuery { text: text("missing"), ..of_repo() }, vec![ids[0]]),
        (ListQuery { text: text("the THING"), ..of_repo() }, vec![ids[1], ids[0]]),
        (ListQuery { author: text("ANN"), ..of_repo() }, vec![ids[2], ids[0]]),
        (ListQuery { commit: text("AB"), ..of_repo() }, vec![ids[1], ids[0]]),
        (ListQuery { commit: text("b1"), ..of_repo() }, vec![]),
        (ListQuery { event: Some(Trigger::Schedule), ..of_repo() }, vec![ids[1]]),
        (ListQuery { author: text("ann"), commit: text("cd"), ..of_repo() }, vec![ids[2]]),
        (ListQuery { kind: Some(ExecutionKind::DiscoverPipelines), ..of_repo() }, vec![]),
        (ListQuery { text: text(""), ..of_repo() }, vec![ids[2], ids[1], ids[0]]),
    ] {
        let list = services.pipelines.list(query.clone()).await.unwrap();
        let found: Vec<_> = list.executions.iter().map(|execution| execution.id).collect();
        assert_eq!((found, list.next_cursor), (expected, None), "{query:?}");
    }
    let first = ListQuery { author: text("ann"), limit: Some(1), ..of_repo() };
    let page = services.pipelines.list(first.clone()).await.unwrap();
    assert_eq!(page.executions[0].id, ids[2]);
    assert_eq!(page.executions[0].commit_details.author.as_deref(), Some("Ann <ann@example.org>"));
    assert!(page.next_cursor.is_some());
    let next = services.pipelines.list(ListQuery { cursor: page.next_cursor, ..first }).await.unwrap();
    assert_eq!((next.executions[0].id, next.executions.len(), next.next_cursor), (ids[0], 1, None));
    let long = ListQuery { text: Some("x".repeat(201)), ..of_repo() };
    assert!(matches!(services.pipelines.list(long).await, Err(Error::Invalid(_))));
    for id in ids {
        services.pipelines.cancel(id).await.unwrap();
    }
}
