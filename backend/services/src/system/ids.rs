//! Random ids.

use crate::ports::Ids;
use tidemill_core::ids::{ExecutionId, LeaseToken};
use uuid::Uuid;

/// Generates UUIDs: version 7 for executions, version 4 for leases.
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
