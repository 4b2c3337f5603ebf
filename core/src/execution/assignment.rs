//! The assignment of a job to a worker.

use crate::execution::{
    debug::ShellRequest,
    discovery::{ChildRequest, Discovery},
    facts::Facts,
};
use crate::ids::{ArtifactId, ExecutionId, JobId, LeaseToken};
pub use crate::pipeline::{
    Artifacts, ArtifactsWhen, Cache, Checkout, CheckoutContent, ContainerOptions, ImageBuild, ImageOptions,
    PullPolicy, Resources, Service,
};
use crate::plan::PlannedJob;
use crate::repository::credential::SourceCredential;
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};

/// The origin of a job's sources.
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
        /// Branch or tag on which the commit was found, for shallow fetches and for the job's variables.
        #[serde(default)]
        branch: Option<String>,
        /// Full commit hash.
        commit: String,
        /// Whether its host may have a private address. Decided by the server, not by the request: the repository is
        /// registered with this host and port, or the operator allows them.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        private_host: bool,
        /// Whether the server has a credential for it, which comes with the assignment. Decided by the server.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        has_credential: bool,
    },
    /// A working tree on the disk of the machine that runs the jobs, passed to workers of the same data directory.
    Snapshot {
        /// Its id, 64 hex digits, which only processes of that data directory can create.
        snapshot: String,
        /// The name of the repository that it is a snapshot of.
        repository: String,
        /// Branch, for the job's variables.
        #[serde(default)]
        branch: Option<String>,
        /// Full hash of the commit that was checked out, or a hash derived from the tree.
        commit: String,
        /// Hash of the tree on disk, including uncommitted changes, if it differs from the commit's.
        #[serde(default)]
        tree: Option<String>,
    },
    /// A working tree of a user's machine, uploaded to the server.
    Uploaded {
        /// Identifies the upload ([`crate::execution::upload::UploadId`]): its repository, and the SHA-256 of its
        /// bytes.
        upload: String,
        /// The address of a git repository that workers can reach and that has `base`; absent: the upload is complete.
        url: Option<String>,
        /// Whether the host of `url` may have a private address; as in `Git`.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        private_host: bool,
        /// Whether the server has a credential for `url`; as in `Git`.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        has_credential: bool,
        /// The commit that the upload is based on.
        base: Option<String>,
        /// Branch, for the job's variables.
        branch: Option<String>,
        /// Full hash of the commit that was checked out.
        commit: String,
        /// Hash of the tree on disk, if it differs from the commit's.
        tree: Option<String>,
    },
}

impl Source {
    /// Whether the server has a credential for the repository.
    #[must_use]
    pub const fn has_credential(&self) -> bool {
        matches!(self, Self::Git { has_credential: true, .. } | Self::Uploaded { has_credential: true, .. })
    }
}

/// What a worker can prepare for a job before it holds the lease: enough to create a standby container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Preparation {
    /// The job that will likely run next.
    pub job_id: JobId,
    /// Its execution.
    pub execution_id: ExecutionId,
    /// Image reference.
    pub image: String,
    /// How the image is used.
    #[serde(default, skip_serializing_if = "ImageOptions::is_empty")]
    pub image_options: ImageOptions,
    /// When the image is pulled. `None`: as the worker is set up.
    #[serde(default)]
    pub pull_policy: Option<PullPolicy>,
    /// Container limits.
    #[serde(default)]
    pub resources: Resources,
    /// Working directory: absolute, or relative to the workspace; absent: the workspace.
    #[serde(default)]
    pub working_dir: Option<String>,
    /// The sources.
    pub source: Source,
    /// What the job asks of its container; the worker decides what it allows.
    #[serde(default, skip_serializing_if = "ContainerOptions::is_empty")]
    pub container: ContainerOptions,
    /// For whom the worker decides that.
    #[serde(default)]
    pub origin: Origin,
    /// How the sources are checked out.
    #[serde(default)]
    pub checkout: Checkout,
    /// The refs that the repository has besides its branch.
    #[serde(default)]
    pub refs: CheckoutRefs,
    /// The credential of the repository, which a worker takes from the assignment. It is never sent with the preparation.
    #[serde(skip)]
    #[schemars(skip)]
    pub credential: Option<Arc<SourceCredential>>,
}

/// Where a job comes from, which decides what it is allowed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Origin {
    /// The name of its repository.
    #[serde(default)]
    pub repository: String,
    /// Whether its commit is one of a fork.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_fork: bool,
}

/// The refs that a job's repository has besides its branch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct CheckoutRefs {
    /// The tag that the execution is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// The repository's default branch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_branch: Option<String>,
    /// The branch that the pull request targets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_branch: Option<String>,
}

impl CheckoutRefs {
    /// Returns the refs of an execution with these facts.
    #[must_use]
    pub fn new(facts: &Facts) -> Self {
        Self {
            tag: facts.tag.clone(),
            default_branch: facts.default_branch.clone(),
            target_branch: facts.pull_request.as_ref().map(|request| request.target_branch.clone()),
        }
    }
}

impl Preparation {
    /// Creates the preparation of `planned`, a job of a plan.
    #[must_use]
    pub fn new(
        planned: &PlannedJob,
        (source, facts): (&Source, &Facts),
        origin: Origin,
        execution_id: ExecutionId,
        job_id: JobId,
    ) -> Self {
        Self {
            job_id,
            execution_id,
            image: planned.image.clone(),
            image_options: planned.image_options.clone(),
            pull_policy: planned.pull_policy,
            resources: planned.resources,
            working_dir: planned.working_dir.clone(),
            source: source.clone(),
            container: planned.surroundings.container.clone(),
            origin,
            checkout: planned.surroundings.checkout.clone(),
            refs: CheckoutRefs::new(facts),
            credential: None,
        }
    }
}

/// A lease as sent to its holder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LeaseGrant {
    /// Token that every report on this attempt must contain.
    pub token: LeaseToken,
    /// Duration of the lease from each accepted report, in milliseconds. A duration, not a point in time, so that the
    /// worker's clock does not matter.
    pub ttl_ms: u64,
    /// Milliseconds for which the worker collects log bytes, phases and steps before it reports them, unless a reply says otherwise.
    pub report_interval_ms: u64,
}

/// An artifact to extract into a job's workspace before its script runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ArtifactSource {
    /// The artifact.
    pub artifact_id: ArtifactId,
    /// The job that produced it.
    pub from_job: String,
    /// Where to GET it: an absolute URL, or a path on the API server (which then requires the API token).
    pub url: String,
    /// SHA-256 of the stored object, in hex.
    pub sha256: String,
    /// Size of the stored object in bytes.
    pub size: u64,
    /// How the tar is stored.
    #[serde(default)]
    pub encoding: ArtifactEncoding,
    /// Number of bytes of the tar before it was compressed.
    #[serde(default)]
    pub unpacked_size: u64,
    /// For an image that the job built: its id. It is loaded into the engine instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
}

/// How the tar of an artifact is stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ArtifactEncoding {
    /// As it is.
    #[default]
    Identity,
    /// Compressed with zstd.
    Zstd,
    /// In a way that this version does not know.
    #[serde(other)]
    Unknown,
}

/// One attempt of a job, assigned to one worker under a lease.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Assignment {
    /// The data for the preparation, repeated.
    pub preparation: Preparation,
    /// Job name, including matrix values.
    pub job_name: String,
    /// Its stage.
    pub stage: String,
    /// The attempt's number, from 1.
    pub attempt: u32,
    /// The lease.
    pub lease: LeaseGrant,
    /// Commands, run in order in one shell.
    pub script: Vec<String>,
    /// Variables of pipeline, job and matrix, and the predefined ones.
    pub variables: IndexMap<String, String>,
    /// Time limit of the script, in seconds.
    pub timeout_s: u64,
    /// The artifacts to upload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifacts: Option<Artifacts>,
    /// The artifacts to extract.
    #[serde(default)]
    pub needs_artifacts: Vec<ArtifactSource>,
    /// The trace that the execution belongs to, as a `traceparent` header value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// Everything besides the script.
    #[serde(default, skip_serializing_if = "JobExtras::is_empty")]
    pub extras: JobExtras,
}

impl Assignment {
    /// Returns the artifacts with files to extract, and not those that are images.
    pub fn files(&self) -> impl Iterator<Item = &ArtifactSource> {
        self.needs_artifacts.iter().filter(|artifact| artifact.image.is_none())
    }
}

/// The parts of an attempt besides its script.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobExtras {
    /// Shell commands that run after the script, however it ended; their exit code is ignored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after_script: Vec<String>,
    /// Containers that run next to the job.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<Service>,
    /// Caches to fetch and save.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub caches: Vec<Cache>,
    /// Whether the job may save caches: for a commit of a fork it may only fetch them.
    #[serde(default)]
    pub may_keep_caches: bool,
    /// The secrets that the job names. No other API reply contains them, and a worker does not store them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretValue>,
    /// The logins of the job's images, as stored on the server. No other API reply contains them, and a worker does not store
    /// them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub registries: Vec<RegistryLogin>,
    /// The credential of the job's repository. No other API reply contains it, and a worker does not store it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<SourceCredential>,
    /// Pattern that finds the line coverage in the script's output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage: Option<String>,
    /// Globs of files with variables for the jobs that need this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<String>,
    /// The image to build after the script, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<ImageBuild>,
    /// Whether another job runs in the image that it builds, which therefore must reach that job's worker.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shares_image: bool,
    /// A shell in the job that a user asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shell: Option<ShellRequest>,
    /// For a discovery job, which has no script: what to find out about the commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discovery: Option<Discovery>,
    /// For a job that starts another pipeline, which has no script: that pipeline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub child: Option<Box<ChildRequest>>,
}

impl JobExtras {
    /// Whether all parts are empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Debug for JobExtras {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobExtras")
            .field("services", &self.services.len())
            .field("caches", &self.caches.len())
            .field("secrets", &self.secrets.len())
            .field("registries", &self.registries)
            .finish_non_exhaustive()
    }
}

/// A secret as passed to a job.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretValue {
    /// The environment variable that holds it.
    pub variable: String,
    /// The value, or the file's content if `file` is set.
    pub value: String,
    /// Whether the variable holds the path of a file that contains the value.
    #[serde(default)]
    pub file: bool,
    /// Whether it is shown in logs, because it is a variable of the repository that is not masked.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unmasked: bool,
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretValue").field("variable", &self.variable).finish_non_exhaustive()
    }
}

/// A login at a registry of images.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RegistryLogin {
    /// The registry, or a path of it ([`crate::pipeline::RegistryScope`]).
    pub registry: String,
    /// The user's name.
    pub username: String,
    /// The password or token.
    pub password: String,
}

impl fmt::Debug for RegistryLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryLogin").field("registry", &self.registry).finish_non_exhaustive()
    }
}
