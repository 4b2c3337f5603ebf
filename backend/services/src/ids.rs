//! Identifiers from the machine's clock and its randomness.

use crate::ports::Ids;
use tidemill_core::ids::{ExecutionId, LeaseToken};
use uuid::Uuid;

/// Identifiers from the machine's clock and its randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct RandomIds;

impl Ids for RandomIds {
    fn execution(&self) -> ExecutionId {
        ExecutionId(Uuid::now_v7())
    }

    fn lease(&self) -> LeaseToken {
        LeaseToken(Uuid::new_v4())
    }
}
