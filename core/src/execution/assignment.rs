//! What a worker is told to run.

use crate::execution::discovery::Discovery;
use crate::ids::{ArtifactId, ExecutionId, JobId, LeaseToken};
pub use crate::pipeline::{Artifacts, ArtifactsWhen, Cache, PullPolicy, Resources, Service};
use crate::plan::PlannedJob;
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Where a job's sources come from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Source {
    /// No sources: the workspace starts empty.
    #[default]
    None,
    /// A git repository at a commit.
    Git {
        /// Its address ([`crate::repository::RepositoryAddress`]); never a path.
        url: String,
        /// Branch or tag the commit was found on, for shallow fetches and for the job's variables.
        #[serde(default)]
        branch: Option<String>,
        /// Full commit hash.
        commit: String,
        /// Whether its host may have a private address. The server decides it, whatever a request says: the repository is registered
        /// with this host and port, or the operator allows them.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        private_host: bool,
    },
    /// A working tree on the disk of the machine that runs the jobs, handed to workers of the same data directory.
    Snapshot {
        /// Its id, which only processes of that data directory can make: 64 hex digits.
        snapshot: String,
        /// The name of the repository that it is a snapshot of.
        repository: String,
        /// Branch, for the job's variables.
        #[serde(default)]
        branch: Option<String>,
        /// Full hash of the commit that was checked out, or one made up from the tree.
        commit: String,
        /// Hash of the tree as it was on disk, uncommitted changes included, if it differs from the commit's.
        #[serde(default)]
        tree: Option<String>,
    },
    /// A working tree as it was on somebody's disk, uploaded to the server.
    Uploaded {
        /// Names the upload ([`crate::execution::upload::UploadId`]): its repository, and the SHA-256 of its bytes.
        upload: String,
        /// The address of a git repository that workers can reach and that has `base`; absent: all is in the upload.
        url: Option<String>,
        /// Whether the host of `url` may have a private address; as of `Git`.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        private_host: bool,
        /// The commit that the upload builds on.
        base: Option<String>,
        /// Branch, for the job's variables.
        branch: Option<String>,
        /// Full hash of the commit that was checked out.
        commit: String,
        /// Hash of the tree as it was on disk, if it differs from the commit's.
        tree: Option<String>,
    },
}

/// All that can be got ready for a job before its lease is held: enough to make and park its container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Preparation {
    /// The job that will likely run next.
    pub job_id: JobId,
    /// Its execution.
    pub execution_id: ExecutionId,
    /// Image reference.
    pub image: String,
    /// When it is pulled.
    #[serde(default)]
    pub pull_policy: PullPolicy,
    /// Container limits.
    #[serde(default)]
    pub resources: Resources,
    /// Working directory: absolute, or below the workspace; absent: the workspace itself.
    #[serde(default)]
    pub working_dir: Option<String>,
    /// The sources.
    pub source: Source,
}

impl Preparation {
    /// What `planned`, a job of a plan, needs ahead of its lease.
    #[must_use]
    pub fn new(planned: &PlannedJob, source: &Source, execution_id: ExecutionId, job_id: JobId) -> Self {
        Self {
            job_id,
            execution_id,
            image: planned.image.clone(),
            pull_policy: planned.pull_policy,
            resources: planned.resources,
            working_dir: planned.working_dir.clone(),
            source: source.clone(),
        }
    }
}

/// A lease as its holder knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LeaseGrant {
    /// Named in every report on this attempt.
    pub token: LeaseToken,
    /// Milliseconds that the lease lasts from each accepted report on. Durations, not points in time, so that
    /// a worker's clock does not matter.
    pub ttl_ms: u64,
}

/// An artifact that a job gets laid into its workspace before its script runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ArtifactSource {
    /// Which one.
    pub artifact_id: ArtifactId,
    /// The job that left it.
    pub from_job: String,
    /// Where to GET it: an absolute URL, or a path on the API's own server (then with the API's token).
    pub url: String,
    /// Hash of the stored object, hex.
    pub sha256: String,
    /// Bytes of the stored object.
    pub size: u64,
}

/// One attempt at a job, given to one worker under a lease.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Assignment {
    /// What could be prepared ahead, again.
    pub preparation: Preparation,
    /// Job name, matrix values included.
    pub job_name: String,
    /// Its stage.
    pub stage: String,
    /// 1 for the first try.
    pub attempt: u32,
    /// The right to run it.
    pub lease: LeaseGrant,
    /// Commands, run in order in one shell.
    pub script: Vec<String>,
    /// Variables of pipeline, job, matrix, and the predefined ones.
    pub variables: IndexMap<String, String>,
    /// Seconds that the script may take.
    pub timeout_s: u64,
    /// What it leaves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifacts: Option<Artifacts>,
    /// What it gets.
    #[serde(default)]
    pub needs_artifacts: Vec<ArtifactSource>,
    /// The trace that its execution belongs to, as a `traceparent` header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// What it has around its script.
    #[serde(default, skip_serializing_if = "JobExtras::is_empty")]
    pub extras: JobExtras,
}

/// What an attempt has around its script.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobExtras {
    /// Shell lines that run after the script, however it ended; their end does not count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after_script: Vec<String>,
    /// Containers that run beside it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<Service>,
    /// What it fetches and keeps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub caches: Vec<Cache>,
    /// Whether it may keep caches: a fork's commit may only fetch them.
    #[serde(default)]
    pub may_keep_caches: bool,
    /// The secrets that it named. Nothing else of the API shows these, and a worker writes them nowhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretValue>,
    /// The pattern that finds the share of covered lines in what its script prints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage: Option<String>,
    /// Instead of a script: what to find out about the commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discovery: Option<Discovery>,
}

impl JobExtras {
    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Debug for JobExtras {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Extras")
            .field("services", &self.services.len())
            .field("caches", &self.caches.len())
            .field("secrets", &self.secrets.len())
            .finish_non_exhaustive()
    }
}

/// A secret as the job gets it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretValue {
    /// The environment variable that it comes in.
    pub variable: String,
    /// The value; a file's content where `file` is set.
    pub value: String,
    /// Whether the variable holds the path of a file with the value, not the value itself.
    #[serde(default)]
    pub file: bool,
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretValue").field("variable", &self.variable).finish_non_exhaustive()
    }
}
