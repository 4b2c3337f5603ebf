//! Identifiers of executions, jobs, artifacts and workers.

pub mod digest;
pub mod job_token;

use crate::guarded;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};
use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }
    };
}

id! {
    /// One run of a pipeline at one commit (UUIDv7, so that ids sort by creation time).
    ExecutionId
}
id! {
    /// One job of one execution.
    JobId
}
id! {
    /// A set of files that a job uploaded.
    ArtifactId
}
/// Number of low bits of a job's or an artifact's id that identify it within its execution.
const LOCAL_BITS: u32 = 32;
/// Number of low bits of these that identify something of one job: 8 for the attempt, 4 for a sequence number.
const JOB_SUFFIX_BITS: u32 = 12;

/// Creates an id within `execution`: the execution's time stamp and random bits, then `local`. It is a UUIDv8 (RFC
/// 9562, 5.8).
fn local_id(execution: ExecutionId, local: u32) -> Uuid {
    let [time_hi, time_lo, rand_a, rand_b] = id_parts(execution.0);
    let version = (rand_a & 0x0fff) | 0x8000;
    let high = (u64::from(time_hi) << 32) | (u64::from(time_lo) << 16) | u64::from(version);
    let low = (u64::from(rand_b) << LOCAL_BITS) | u64::from(local);
    Uuid::from_u64_pair(high, low)
}

/// Returns the upper 32 bits, the next 16, the 16 with the version, and the 32 with the variant.
fn id_parts(id: Uuid) -> [u32; 4] {
    let (high, low) = id.as_u64_pair();
    let part = |bits: u64| u32::try_from(bits & 0xffff_ffff).unwrap_or(u32::MAX);
    [part(high >> 32), part(high >> 16) & 0xffff, part(high) & 0xffff, part(low >> LOCAL_BITS)]
}

/// Returns the part that the ids of an execution, its jobs and its artifacts share, as 24 hex digits: a store can use
/// it as the partition of an execution, and compute it from any of these ids.
fn partition(id: Uuid) -> String {
    let [time_hi, time_lo, rand_a, rand_b] = id_parts(id);
    format!("{time_hi:08x}{time_lo:04x}{:04x}{rand_b:08x}", rand_a & 0x0fff)
}

impl ExecutionId {
    /// Returns the partition of this execution; see [`JobId::home`].
    #[must_use]
    pub fn partition(self) -> String {
        partition(self.0)
    }
}

impl JobId {
    /// Returns the id of the job at `ix` of `execution`.
    #[must_use]
    pub fn of(execution: ExecutionId, ix: u32) -> Self {
        Self(local_id(execution, ix << JOB_SUFFIX_BITS))
    }

    /// Returns the partition of its execution, if it was created by [`Self::of`].
    #[must_use]
    pub fn partition(self) -> String {
        partition(self.0)
    }

    /// Returns its index in the execution, if it was created by [`Self::of`].
    #[must_use]
    pub fn ix(self) -> u32 {
        local(self.0) >> JOB_SUFFIX_BITS
    }
}

impl ArtifactId {
    /// Returns the id of an artifact of attempt `attempt` of the job at `ix` of `execution`; `sequence` distinguishes
    /// several. An attempt that announces an artifact again gets the same id, and so replaces its upload.
    #[must_use]
    pub fn of(execution: ExecutionId, ix: u32, attempt: u32, sequence: u32) -> Self {
        Self(local_id(execution, (ix << JOB_SUFFIX_BITS) | ((attempt & 0xff) << 4) | (sequence & 0xf)))
    }

    /// Returns the partition of its execution, if it was created by [`Self::of`].
    #[must_use]
    pub fn partition(self) -> String {
        partition(self.0)
    }

    /// Returns the index of its job, if it was created by [`Self::of`].
    #[must_use]
    pub fn ix(self) -> u32 {
        local(self.0) >> JOB_SUFFIX_BITS
    }
}

fn local(id: Uuid) -> u32 {
    u32::try_from(id.as_u64_pair().1 & 0xffff_ffff).unwrap_or(u32::MAX)
}

id! {
    /// One worker process, created at each start.
    WorkerId
}
id! {
    /// The fencing token of one attempt: its holder may report on that attempt.
    LeaseToken
}

impl LeaseToken {
    /// Compares two tokens in constant time.
    #[must_use]
    pub fn constant_time_eq(self, other: Self) -> bool {
        std::hint::black_box(self.0.as_u128() ^ other.0.as_u128()) == 0
    }

    /// Derives the token of an `attempt` from this token of a request. If the request is repeated after the attempt has
    /// ended, it gets another token, and late reports of the first attempt are still rejected.
    #[must_use]
    pub fn for_attempt(self, attempt: u32) -> Self {
        let different = guarded!(TokenPerAttempt, attempt, without 0);
        Self(Uuid::from_u128(self.0.as_u128() ^ u128::from(different)))
    }
}

#[cfg(test)]
mod tests {
    use super::{ArtifactId, ExecutionId, JobId};
    use std::collections::HashSet;
    use uuid::Uuid;

    #[test]
    fn ids_share_execution_home() {
        let execution = ExecutionId(Uuid::from_u128(0x0190_f3c4_1111_7abc_b234_5678_9abc_def0));
        let mut seen = HashSet::from([execution.0]);
        for ix in [0, 1, 9_999, (1 << 20) - 1] {
            let job = JobId::of(execution, ix);
            assert_eq!((job.partition(), job.ix()), (execution.partition(), ix));
            assert_eq!((job.0.get_version_num(), job.0.get_variant()), (8, uuid::Variant::RFC4122));
            assert!(seen.insert(job.0));
            for attempt in [1, 2, 255] {
                let artifact = ArtifactId::of(execution, ix, attempt, 0);
                assert_eq!((artifact.partition(), artifact.ix()), (execution.partition(), ix));
                assert!(seen.insert(artifact.0));
            }
        }
        let other = ExecutionId(Uuid::from_u128(0x0190_f3c4_1111_7abc_b234_5679_9abc_def0));
        assert_ne!(other.partition(), execution.partition());
    }
}
