//! Holds one job at the points where its debugger says so.

use super::port::{Debugger, HeldJob};
use crate::{
    engine::{Container, DockerManager},
    job::{dispatcher::Event, reporter::Reporter, script::script_directory, services::ServiceAddress},
};
use std::sync::Arc;
use tidemill_core::execution::{
    assignment::Assignment,
    debug::{HoldPoint, ShellRequest},
    predefined::WORKSPACE_DIR,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Holds one job.
#[derive(Debug)]
pub struct Holder {
    debugger: Arc<dyn Debugger>,
    assignment: Assignment,
    engine: Arc<DockerManager>,
    container: String,
    services: Vec<ServiceAddress>,
    reporter: Reporter,
    events: mpsc::UnboundedSender<Event>,
    /// Cancelled when the job is not to be held any longer.
    end_of_hold: CancellationToken,
}

impl Holder {
    /// Creates what holds the attempt at `assignment` in `container`, which reaches `services`; `None` without a debugger. It reports
    /// to `reporter` and sends to `events`.
    pub fn new(
        debugger: Option<&Arc<dyn Debugger>>,
        (assignment, reporter): (&Assignment, &Reporter),
        engine: &Arc<DockerManager>,
        (container, services): (&Container, Vec<ServiceAddress>),
        events: &mpsc::UnboundedSender<Event>,
    ) -> Option<Self> {
        Some(Self {
            debugger: debugger?.clone(),
            assignment: assignment.clone(),
            engine: engine.clone(),
            container: container.id.clone(),
            services,
            reporter: reporter.clone(),
            events: events.clone(),
            end_of_hold: CancellationToken::new(),
        })
    }

    /// Returns what lets the job go on when it is cancelled.
    pub fn end_of_hold(&self) -> CancellationToken {
        self.end_of_hold.clone()
    }

    /// Holds the job at `point` if its debugger says so. `ended` is cancelled once its container has ended.
    pub async fn hold_at(&self, point: HoldPoint, ended: &CancellationToken) {
        let request = *self.reporter.shell_requests().borrow();
        if !self.debugger.holds(&self.assignment, point, request) {
            return;
        }
        let has_ended = matches!(point, HoldPoint::AfterScript { .. });
        drop(self.events.send(Event::Held { has_ended }));
        self.reporter.phase("held for a shell");
        let hold_ended = ended.child_token();
        let mut hold = self.debugger.hold(self.job(point, request, &hold_ended));
        tokio::select! {
            () = &mut hold => {}
            () = self.end_of_hold.cancelled() => {
                hold_ended.cancel();
                hold.await;
            }
        }
        self.reporter.phase("running");
        drop(self.events.send(Event::Released));
    }

    /// Opens the shells that users ask for while the script runs, one after another, until `ended` is cancelled.
    pub async fn open_shells(&self, ended: &CancellationToken) {
        if self.assignment.preparation.origin.is_fork {
            return;
        }
        let mut requests = self.reporter.shell_requests();
        loop {
            let request = *requests.borrow_and_update();
            if let Some(request) = request.filter(|request| !request.on_failure) {
                self.debugger.hold(self.job(HoldPoint::DuringScript, Some(request), ended)).await;
            }
            tokio::select! {
                changed = requests.changed() => if changed.is_err() { return },
                () = ended.cancelled() => return,
            }
        }
    }

    fn job(&self, point: HoldPoint, request: Option<ShellRequest>, ended: &CancellationToken) -> HeldJob {
        HeldJob {
            name: self.assignment.job_name.clone(),
            point,
            ended: ended.clone(),
            request,
            reporter: self.reporter.clone(),
            engine: self.engine.clone(),
            container: self.container.clone(),
            directory: script_directory(self.assignment.preparation.working_dir.as_deref(), WORKSPACE_DIR),
            services: self.services.clone(),
        }
    }
}
