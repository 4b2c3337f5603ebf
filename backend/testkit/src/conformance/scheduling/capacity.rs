//! Checks of the machines that are requested for jobs, over the adapters.

use super::fixture::{request, run, services, start_execution};
use crate::{
    conformance::{StoresUnderTest, samples::repo},
    memory::{GroupCall, MemoryWorkerGroup},
};
use std::sync::Arc;
use tidemill_core::{pipeline::labels::Labels, scheduler::FleetLimits};
use tidemill_services::ports::WorkerPool;

const MINUTE_MS: i64 = 60_000;

/// Queued and running jobs decide how many machines are requested, and nothing else: no gates, no jobs that wait for an approval or
/// for their time, and no messages.
pub async fn machines_follow_recorded_jobs(subject: &StoresUnderTest) {
    let services = services(subject.open().await);
    let group = Arc::new(MemoryWorkerGroup::default());
    let limits = FleetLimits { slots: 1, min: 0, max: 10 };
    services.scale_on(vec![WorkerPool { labels: Labels::new(), group: group.clone(), limits }]);
    let jobs = "
        a: { stage: one }
        b: { stage: one }
        manual: { stage: one, when: manual, allow_failure: true }
        later: { stage: one, start_in: 1h, allow_failure: true }
        c: { stage: two }
        d: { stage: three }
    ";
    let id = start_execution(&services, &request(&repo(), "", jobs)).await;
    assert_eq!(group.take_calls(), [GroupCall::State, GroupCall::SetDesired(2)]);
    let scale = async || {
        services.scaling.run().await.unwrap();
        group.take_changes()
    };
    let machines = group.start_machines();
    assert_eq!(scale().await, []);
    // Their messages are sent again.
    subject.clock.advance(MINUTE_MS);
    services.sweep.run().await.unwrap();
    assert_eq!(scale().await, []);
    run(&services, id, "a", 0).await;
    run(&services, id, "b", 0).await;
    assert_eq!(scale().await, [], "their workers may still start");
    subject.clock.advance(10 * MINUTE_MS);
    for machine in machines {
        assert_eq!(
            scale().await,
            [GroupCall::Remove(machine, false)],
            "no worker reported, and no job needs it"
        );
    }
    assert_eq!(scale().await, []);
    subject.clock.advance(60 * MINUTE_MS);
    assert_eq!(scale().await, [GroupCall::SetDesired(1)], "the time of `later` has come");
    assert_eq!(scale().await, []);
    assert_eq!(services.workers.list().await.unwrap().fleet.map(|fleet| fleet.machines), Some(0));
}
