//! Containers that are made ahead of time for jobs that will likely come.

use crate::{
    engine::{DockerManager, shape},
    executor::Parking,
};
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tidemill_core::{
    assignment::{Preparation, PullPolicy},
    failure::{FailureKind, FailureReason},
};

/// The parked containers of one worker.
#[derive(Debug)]
pub struct ParkingLot {
    engine: Arc<DockerManager>,
    places: usize,
    parked: Mutex<VecDeque<(String, Parking)>>,
}

impl ParkingLot {
    /// An empty lot with this many places.
    pub fn new(engine: Arc<DockerManager>, places: usize) -> Self {
        Self { engine, places, parked: Mutex::default() }
    }

    /// Parks containers for the first of `upcoming`, and lets go of those that none of them can use.
    pub fn prepare(&self, upcoming: &[Preparation]) {
        let mut wanted: HashMap<String, usize> = HashMap::new();
        let mut missing = Vec::new();
        let mut parked = self.lock();
        for preparation in upcoming.iter().take(self.places) {
            let shape = shape(preparation);
            let count = wanted.entry(shape.clone()).or_default();
            *count += 1;
            if parked.iter().filter(|(other, _)| *other == shape).count() < *count {
                missing.push((shape, preparation.clone()));
            }
        }
        let mut kept = VecDeque::new();
        for (shape, parking) in parked.drain(..) {
            match wanted.get_mut(&shape) {
                Some(count) if *count > 0 => {
                    *count -= 1;
                    kept.push_back((shape, parking));
                }
                _ => self.let_go(parking),
            }
        }
        *parked = kept;
        for (shape, preparation) in missing {
            let engine = self.engine.clone();
            parked.push_back((shape, tokio::spawn(async move { park(&engine, &preparation).await })));
        }
    }

    /// A container for `preparation`, if one is parked or being made.
    pub fn take(&self, preparation: &Preparation) -> Option<Parking> {
        let shape = shape(preparation);
        let mut parked = self.lock();
        let at = parked.iter().position(|(other, _)| *other == shape)?;
        parked.remove(at).map(|(_, parking)| parking)
    }

    /// Lets go of all; they are removed when this returns.
    pub async fn clear(&self) {
        let all: Vec<_> = self.lock().drain(..).collect();
        for (_, parking) in all {
            if let Ok(Ok(container)) = parking.await {
                self.engine.dispose(container).await;
            }
        }
    }

    fn let_go(&self, parking: Parking) {
        let engine = self.engine.clone();
        tokio::spawn(async move {
            if let Ok(Ok(container)) = parking.await {
                engine.dispose(container).await;
            }
        });
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<(String, Parking)>> {
        self.parked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn park(
    engine: &Arc<DockerManager>,
    preparation: &Preparation,
) -> Result<crate::engine::Container, FailureReason> {
    // A pull is shown in the log of the job that needs it, so it is not made ahead.
    if preparation.pull_policy == PullPolicy::Always || !engine.has_image(&preparation.image).await? {
        return Err(FailureReason::new(
            FailureKind::ImageUnavailable,
            "not parked ahead: the image must be pulled",
        ));
    }
    engine.park(preparation).await
}
