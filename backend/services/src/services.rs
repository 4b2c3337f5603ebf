//! The services: what the API does, over ports. Whatever decides is in `core`; these read, let it decide, and write in one conditional batch, and read
//! again when somebody else was faster.

mod admission;
mod advance;
mod approvals;
mod artifacts;
mod assignment;
mod audit;
mod backoff;
mod budget;
mod caches;
mod caller;
mod context;
mod dead_letters;
mod discoveries;
mod health;
mod held;
mod jobs;
mod keys;
mod outbox;
mod page;
mod pipeline;
mod planning;
mod recent;
mod repositories;
mod request_texts;
mod schedules;
mod secrets;
mod sources;
mod sweep;
mod test_reports;
mod tokens;
mod view;
mod webhooks;

pub use admission::SourcePolicy;
pub use approvals::ApprovalService;
pub use artifacts::{ArtifactService, Download};
pub use audit::AuditService;
pub use caches::CacheService;
pub use caller::Caller;
pub use context::Settings;
pub use dead_letters::DeadLetterService;
pub use discoveries::DiscoveryService;
pub use health::{Disk, DiskState, HealthService};
pub use jobs::unpack as unpack_log;
pub use jobs::{JobExecutionService, LogPart};
pub use keys::{CallerKey, Key};
pub use outbox::{NOTIFICATION_KIND as NOTICE_KIND, STATUS as STATUS_KIND};
pub use outbox::{Notifiers, Outbox};
pub use pipeline::InternalStart;
pub use pipeline::{PipelineExecutionService, Seen};
pub use repositories::RepositoryService;
pub(crate) use request_texts::check_artifact;
pub use schedules::ScheduleService;
pub use secrets::SecretService;
pub use sources::SourceService;
pub use sweep::Sweep;
pub use test_reports::TestReportService;
pub use tokens::TokenService;
pub use webhooks::{DeliverySender, WebhookService};

use crate::{Stores, ports::Compute, seal::SecretSealer};
use context::Context;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// All services of one deployment; cheap to clone.
#[derive(Debug, Clone)]
pub struct Services {
    /// Executions.
    pub pipelines: PipelineExecutionService,
    /// Jobs.
    pub jobs: JobExecutionService,
    /// Artifacts.
    pub artifacts: ArtifactService,
    /// Caches.
    pub caches: CacheService,
    /// Uploaded sources.
    pub sources: SourceService,
    /// Secrets of repositories.
    pub secrets: SecretService,
    /// Repositories that are known.
    pub repositories: RepositoryService,
    /// What git providers post.
    pub webhooks: WebhookService,
    /// What workers find at commits.
    pub discoveries: DiscoveryService,
    /// Times at which pipelines start.
    pub schedules: ScheduleService,
    /// What is to be told to others.
    pub outbox: Outbox,
    /// What waits for a person.
    pub approvals: ApprovalService,
    /// Jobs that ended for reasons not their own.
    pub dead_letters: DeadLetterService,
    /// Tokens that people make.
    pub tokens: TokenService,
    /// Reports of the tests of jobs.
    pub test_reports: TestReportService,
    /// Who did what.
    pub audit: AuditService,
    /// What is late.
    pub sweep: Sweep,
    /// How this server is.
    pub health: HealthService,
}

impl Services {
    /// The services over `stores`; `closing` ends every held reply.
    #[must_use]
    pub fn new(stores: Stores, settings: Settings, closing: CancellationToken) -> Self {
        let seal = SecretSealer::new(stores.keys.clone());
        let context = Arc::new(Context::new(stores, settings, closing));
        let secrets = SecretService::new(context.clone(), seal.clone());
        let pipelines = PipelineExecutionService::new(context.clone());
        let repositories = RepositoryService::new(context.clone(), seal);
        let outbox = Outbox::new(context.clone(), repositories.clone(), Notifiers::default());
        let schedules = ScheduleService::new(context.clone(), pipelines.clone(), repositories.clone());
        let caches = CacheService::new(context.clone());
        let artifacts = ArtifactService::new(context.clone(), caches.clone());
        let sources = SourceService::new(context.clone());
        Self {
            webhooks: WebhookService::new(context.clone(), pipelines.clone(), repositories.clone()),
            discoveries: DiscoveryService::new(
                context.clone(),
                pipelines.clone(),
                repositories.clone(),
                schedules.clone(),
                outbox.clone(),
            ),
            outbox,
            repositories,
            schedules,
            jobs: JobExecutionService::new(context.clone(), secrets.clone()),
            secrets,
            sources: sources.clone(),
            approvals: ApprovalService::new(context.clone(), pipelines.clone()),
            pipelines,
            dead_letters: DeadLetterService::new(context.clone()),
            tokens: TokenService::new(context.clone()),
            test_reports: TestReportService::new(context.clone()),
            audit: AuditService::new(context.clone()),
            health: HealthService::new(context.clone()),
            sweep: Sweep::new(context, artifacts.clone(), caches.clone(), sources),
            caches,
            artifacts,
        }
    }

    /// The same, that reach others in this way.
    #[must_use]
    pub fn reaching(self, outside: Notifiers) -> Self {
        Self { outbox: self.outbox.with(outside), ..self }
    }

    /// The same, that take sources as `policy` says.
    #[must_use]
    pub fn taking(self, policy: SourcePolicy) -> Self {
        Self { pipelines: self.pipelines.taking(policy), ..self }
    }

    /// The same, whose stores are on this disk.
    #[must_use]
    pub fn on(self, disk: Arc<dyn Disk>) -> Self {
        Self { health: self.health.on(disk), ..self }
    }

    /// Has what takes the processor for long run on `compute`, for all copies of these services; where nobody says so, it runs where it is
    /// asked for.
    pub fn compute_on(&self, compute: Arc<dyn Compute>) {
        self.pipelines.context().compute_on(compute);
    }

    /// What `work` comes to, which takes the processor for long.
    pub(crate) async fn compute<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> crate::Result<T> {
        self.pipelines.context().compute(doing, work).await
    }

    /// Forgets a repository and its schedules. False: it was not known.
    pub async fn remove_repository(&self, repo: &str) -> crate::Result<bool> {
        let removed = self.repositories.remove(repo).await?;
        // Without it none of them would start anything; they go all the same.
        self.schedules.forget(&tidemill_core::repository::canonical(repo)).await?;
        Ok(removed)
    }
}
