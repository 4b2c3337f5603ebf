//! Jobs that wait for an approval because their environment is protected.

use super::{job, plan};
use std::collections::BTreeMap;
use tidemill_core::access::protection::{EnvironmentProtection, ProtectEnvironmentRequest};
use tidemill_core::execution::status::JobStatus::{Pending, Queued};
use tidemill_core::ids::ExecutionId;
use tidemill_core::pipeline::{Environment, Job, When};
use tidemill_core::plan::Plan;
use tidemill_core::scheduler::{NewExecution, StartConditions, new_execution, protected_jobs};
use tidemill_core::time::Timestamp;

fn rule(environment: &str) -> EnvironmentProtection {
    let request = ProtectEnvironmentRequest {
        repo: "r".to_owned(),
        environment: environment.to_owned(),
        approvals: 1,
        ..ProtectEnvironmentRequest::default()
    };
    let request = request.checked().unwrap();
    EnvironmentProtection {
        repo: request.repo,
        environment: request.environment,
        approvals: request.approvals,
        by: request.by,
        exclude_starter: false,
        set_at: Timestamp(0),
        set_by: "admin".to_owned(),
    }
}

fn on(environment: &str, when: When) -> Job {
    let mut job = Job { when, ..job(&format!("{environment}-{}", when as u8), 0, None) };
    job.surroundings.environment = Some(Environment {
        name: environment.to_owned(),
        url: None,
        action: tidemill_core::pipeline::EnvironmentAction::default(),
        on_stop: None,
        auto_stop_in_s: None,
        tier: None,
        auto_stop_in_reference: None,
    });
    job
}

fn created(plan: &Plan, approved: &[String], protected: &[u32]) -> NewExecution {
    let conditions = StartConditions { approved, protected, ..StartConditions::default() };
    new_execution(plan, ExecutionId(uuid::Uuid::nil()), &BTreeMap::new(), conditions, Timestamp(0))
}

#[test]
fn jobs_of_protected_environments_are_found_by_name_and_pattern() {
    let jobs = vec![
        job("plain", 0, None),
        on("production", When::OnSuccess),
        on("review/1", When::Always),
        on("staging", When::OnSuccess),
        on("production", When::OnFailure),
    ];
    let plan = plan(1, jobs).unwrap();
    assert_eq!(protected_jobs(&plan, &[rule("production"), rule("review/*")]), [1, 2]);
    assert_eq!(protected_jobs(&plan, &[rule("*")]), [1, 2, 3]);
    assert_eq!(protected_jobs(&plan, &[]), [0; 0]);
}

#[test]
fn protected_job_waits_for_its_approval_and_other_jobs_do_not() {
    let jobs = vec![job("a", 0, None), on("production", When::OnSuccess), job("b", 1, None)];
    let plan = plan(2, jobs).unwrap();
    let statuses =
        |new: &NewExecution| new.nodes.iter().filter_map(|node| node.state.status()).collect::<Vec<_>>();
    let new = created(&plan, &[], &[1]);
    assert_eq!(statuses(&new), [Queued, Pending, Pending]);
    assert_eq!(new.approvals.iter().map(|approval| approval.job).collect::<Vec<_>>(), [Some(1)]);
    assert!(new.nodes.iter().all(|node| !node.spec.optional), "the execution waits for it");
    assert_eq!(statuses(&created(&plan, &[], &[])), [Queued, Queued, Pending]);
}

#[test]
fn approved_name_neither_opens_the_gate_nor_leaves_the_job_optional() {
    let manual = Job { allow_failure: true, ..on("production", When::Manual) };
    let name = manual.name.clone();
    let plan = plan(1, vec![manual]).unwrap();
    let waiting = created(&plan, &[], &[0]);
    assert!(waiting.nodes[0].spec.optional, "nobody asked for it");
    let requested = created(&plan, std::slice::from_ref(&name), &[0]);
    assert_eq!(requested.approvals.len(), 1);
    assert!(!requested.nodes[0].spec.optional && requested.nodes[0].state.status() == Some(Pending));
    let open = created(&plan, &[name], &[]);
    assert!(open.approvals.is_empty() && open.nodes[0].state.status() == Some(Queued));
}
