//! Identifiers of executions, jobs, artifacts and workers.

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
    /// One run of a pipeline at one commit (UUIDv7, so that ids sort by creation).
    ExecutionId
}
id! {
    /// One job of one execution.
    JobId
}
id! {
    /// One file set that a job left.
    ArtifactId
}
id! {
    /// One worker process, made anew at each of its starts.
    WorkerId
}
id! {
    /// The fencing token of one attempt: who holds it, holds the right to report on that attempt.
    LeaseToken
}
