//! Holds one job at the points where its debugger says so.

use super::port::{Debugger, HeldJob};
use crate::{
    engine::{Container, DockerManager},
    job::{dispatcher::Event, reporter::Reporter},
};
use std::sync::Arc;
use tidemill_core::execution::{assignment::Assignment, debug::HoldPoint};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Holds one job.
#[derive(Debug)]
pub struct Holder {
    debugger: Arc<dyn Debugger>,
    assignment: Assignment,
    engine: Arc<DockerManager>,
    container: String,
    reporter: Reporter,
    events: mpsc::UnboundedSender<Event>,
}

impl Holder {
    /// Creates what holds the attempt at `assignment` in `container`; `None` without a debugger. It reports to `reporter` and sends
    /// to `events`.
    pub fn new(
        debugger: Option<&Arc<dyn Debugger>>,
        (assignment, reporter): (&Assignment, &Reporter),
        engine: &Arc<DockerManager>,
        container: &Container,
        events: &mpsc::UnboundedSender<Event>,
    ) -> Option<Self> {
        Some(Self {
            debugger: debugger?.clone(),
            assignment: assignment.clone(),
            engine: engine.clone(),
            container: container.id.clone(),
            reporter: reporter.clone(),
            events: events.clone(),
        })
    }

    /// Holds the job at `point` if its debugger says so. `ended` is cancelled once its container has ended.
    pub async fn hold_at(&self, point: HoldPoint, ended: &CancellationToken) {
        if !self.debugger.holds(&self.assignment, point) {
            return;
        }
        drop(self.events.send(Event::Held));
        self.reporter.phase("held for a shell");
        let job = HeldJob {
            name: self.assignment.job_name.clone(),
            point,
            ended: ended.clone(),
            engine: self.engine.clone(),
            container: self.container.clone(),
        };
        self.debugger.hold(job).await;
        self.reporter.phase("running");
        drop(self.events.send(Event::Released));
    }
}
