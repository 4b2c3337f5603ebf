//! Jobs with `start_in`.

use super::{Run, job, plan};
use std::collections::BTreeMap;
use tidemill_core::execution::status::{ExecutionStatus, JobStatus};
use tidemill_core::execution::transition::JobEvent;
use tidemill_core::ids::LeaseToken;
use tidemill_core::pipeline::{Job, Rule, labels::Labels};
use tidemill_core::plan::Plan;
use tidemill_core::records::{ExecutionState, MAX_MESSAGE_DELAY_MS, Node, NodeBody, QueuedJob, Write};
use tidemill_core::scheduler::{
    ClaimDecision, ClaimRequest, NextStep, Transition, apply_event, claim, next_step, precompute,
};
use tidemill_core::time::Timestamp;

fn delayed(name: &str, stage: usize, seconds: u64) -> Job {
    Job { start_in_s: Some(seconds), ..job(name, stage, None) }
}

fn claimed_at(node: &Node, now: Timestamp) -> ClaimDecision {
    let state = ExecutionState {
        status: ExecutionStatus::Running,
        start_time: None,
        end_time: None,
        cancel_requested: false,
        unplanned: false,
        approved_at: None,
        superseded_by: None,
        timed_out: false,
        followed_by: None,
        retention: tidemill_core::retention::decision::RetentionState::default(),
    };
    let token = LeaseToken(uuid::Uuid::from_u128(1));
    let request = ClaimRequest { worker: "w", token, ttl_ms: 1_000, labels: &Labels::new(), slot_price: 0 };
    claim(node, (&state, 1), None, request, now)
}

fn message_delay(node: &Node, now: Timestamp) -> Option<u64> {
    QueuedJob::of(node.key, &node.state, now).map(|message| message.delay_ms)
}

#[test]
fn delayed_job_is_queued_and_cannot_be_claimed_early() {
    let run = Run::new(&plan(1, vec![delayed("late", 0, 60), job("soon", 0, None)]).unwrap());
    assert_eq!(run.queued(), [0, 1]);
    let [late, soon] = [0, 1].map(|ix: usize| &run.nodes.nodes()[ix]);
    assert_eq!(
        (message_delay(late, Timestamp(0)), message_delay(soon, Timestamp(0))),
        (Some(60_000), Some(0))
    );
    assert_eq!(message_delay(late, Timestamp(50_000)), Some(10_000));
    assert!(matches!(claimed_at(late, Timestamp(58_000)), ClaimDecision::NotClaimable(_)));
    assert!(matches!(claimed_at(late, Timestamp(60_000)), ClaimDecision::Grant(..)));
    assert!(matches!(claimed_at(soon, Timestamp(0)), ClaimDecision::Grant(..)));
    // A lost message is sent again.
    assert!(late.due_at.is_some_and(|due| due > Timestamp(60_000)));
    let NextStep::Apply(Transition { send_after, .. }) = next_step(late, late.due_at.unwrap()) else {
        panic!("no message")
    };
    assert_eq!(send_after, Some(0));
}

#[test]
fn message_of_a_long_delay_is_sent_by_the_sweep() {
    let day_ms = 86_400_000_i64;
    let run = Run::new(&plan(1, vec![delayed("late", 0, 86_400)]).unwrap());
    let late = &run.nodes.nodes()[0];
    assert_eq!((message_delay(late, Timestamp(0)), late.due_at), (None, Some(Timestamp(day_ms))));
    assert!(matches!(next_step(late, Timestamp(day_ms - 1)), NextStep::Wait(at) if at == Timestamp(day_ms)));
    let NextStep::Apply(sent) = next_step(late, Timestamp(day_ms)) else { panic!("no message") };
    assert_eq!(sent.send_after, Some(0));
    let [Write::SetDue { due_at: Some(again), .. }] = sent.writes.as_slice() else { panic!("{sent:?}") };
    assert!(*again > Timestamp(day_ms));
}

#[test]
fn delay_begins_when_the_needs_have_ended() {
    let minutes_15 = MAX_MESSAGE_DELAY_MS / 1000;
    let mut run = Run::new(&plan(2, vec![job("first", 0, None), delayed("late", 1, minutes_15)]).unwrap());
    run.now = Timestamp(5_000);
    run.end(0, false);
    let late = run.nodes.nodes().iter().find(|node| node.spec.name == "late").unwrap();
    let NodeBody::Job(record) = &late.state.body else { panic!("not a job") };
    assert_eq!(record.job.status, JobStatus::Queued);
    assert_eq!(record.job.not_before, Some(Timestamp(905_000)));
    assert_eq!(message_delay(late, run.now), Some(MAX_MESSAGE_DELAY_MS));
}

#[test]
fn delayed_job_is_not_queued_in_the_batch_of_its_need() {
    // The messages of that batch have no delay.
    for (seconds, continued) in [(None, true), (Some(1), false)] {
        let last = Job { start_in_s: seconds, ..job("last", 0, Some(&["first"])) };
        let run = Run::new(&plan(1, vec![job("first", 0, Some(&[])), last]).unwrap());
        let nodes: BTreeMap<u32, Node> =
            run.nodes.nodes().iter().map(|node| (node.key.ix, node.clone())).collect();
        let NodeBody::Job(first) = &nodes[&0].state.body else { panic!("not a job") };
        let transition = apply_event(&nodes[&0], first, JobEvent::Cancel, Timestamp(0)).unwrap();
        let mut writes = transition.writes;
        for write in &mut writes {
            if let Write::Arrive { ok, .. } = write {
                *ok = true;
            }
        }
        precompute(&mut writes, &nodes, &mut 50, Timestamp(0));
        let is_continued = writes
            .iter()
            .any(|write| matches!(write, Write::Arrive { key, continuation: Some(_), .. } if key.ix == 1));
        assert_eq!(is_continued, continued, "{seconds:?}");
    }
}

#[test]
fn rule_overrides_the_delay() {
    let rule = |condition: &str, start_in_s| Rule {
        condition: Some(condition.to_owned()),
        start_in_s,
        ..Rule::default()
    };
    for (rules, expected) in [
        (vec![rule("true", None)], Some(60)),
        (vec![rule("false", Some(5)), rule("true", Some(0))], Some(0)),
        (vec![rule("true", Some(5))], Some(5)),
    ] {
        let planned: Plan = plan(1, vec![Job { rules, ..delayed("late", 0, 60) }]).unwrap();
        assert_eq!(planned.jobs[0].start_in_s, expected);
    }
}
