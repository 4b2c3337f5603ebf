//! All services of a deployment. Decisions are pure functions in `core`; a service reads, lets `core` decide, writes one conditional
//! batch, and starts over when another writer committed first.

use crate::{
    Stores,
    access::{
        audit::AuditService,
        id_tokens::IdTokenService,
        protections::ProtectionService,
        registries::RegistryService,
        roles::RoleService,
        secrets::SecretService,
        sessions::SessionService,
        sign_in::{service::SignInService, settings::ProviderSettings},
        tokens::TokenService,
        variables::VariableService,
    },
    context::{service_context::Context, settings::Settings},
    environments::EnvironmentService,
    executions::{
        approvals::ApprovalService, dead_letters::DeadLetterService, jobs::service::JobExecutionService,
        pipeline::service::PipelineExecutionService, sweep::Sweep,
    },
    forge::{
        delivery::Notifiers, discoveries::DiscoveryService, follow_ups::FollowUpService, outbox::Outbox,
        reports::reruns::Reruns, schedules::ScheduleService, webhooks::WebhookService,
    },
    ports::{Compute, ProviderClient, WorkerPool},
    repositories::{service::RepositoryService, source_policy::SourcePolicy},
    seal::SecretSealer,
    storage::{
        artifacts::ArtifactService,
        badges::BadgeService,
        caches::CacheService,
        export::ExportService,
        file_access::FileAccess,
        health::{Disk, HealthService},
        insights::InsightService,
        retention::service::RetentionService,
        scaling::ScalingService,
        sources::SourceService,
        summaries::SummaryService,
        test_reports::TestReportService,
        workers::WorkerService,
    },
};
use std::sync::Arc;
use tidemill_core::ids::ExecutionId;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

mod observation;

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
    /// Logins of repositories at registries of images.
    pub registries: RegistryService,
    /// Secrets and variables of repositories.
    pub secrets: SecretService,
    /// The variables of executions.
    pub variables: VariableService,
    /// Registered repositories.
    pub repositories: RepositoryService,
    /// Webhooks of git providers.
    pub webhooks: WebhookService,
    /// Discovery of pipelines at commits.
    pub discoveries: DiscoveryService,
    /// Schedules of pipelines.
    pub schedules: ScheduleService,
    /// Pipelines that follow others.
    pub follow_ups: FollowUpService,
    /// Commit statuses and notifications to deliver.
    pub outbox: Outbox,
    /// Approvals of executions and manual jobs.
    pub approvals: ApprovalService,
    /// Environments.
    pub environments: EnvironmentService,
    /// The rules of protected environments.
    pub protections: ProtectionService,
    /// Dead letters.
    pub dead_letters: DeadLetterService,
    /// Tokens in the store.
    pub tokens: TokenService,
    /// Sessions of browsers.
    pub sessions: SessionService,
    /// Signing in with a provider.
    pub sign_in: SignInService,
    /// Roles of people.
    pub roles: RoleService,
    /// ID tokens of jobs.
    pub id_tokens: IdTokenService,
    /// Test reports of jobs.
    pub test_reports: TestReportService,
    /// Summaries and annotations of jobs.
    pub summaries: SummaryService,
    /// Statistics of ended executions.
    pub insights: InsightService,
    /// Exports of records.
    pub exports: ExportService,
    /// Badges of repositories.
    pub badges: BadgeService,
    /// The workers.
    pub workers: WorkerService,
    /// The machines of workers.
    pub scaling: ScalingService,
    /// Retention of executions and what they stored.
    pub retention: RetentionService,
    /// The audit log.
    pub audit: AuditService,
    /// The sweep for due nodes and expired data.
    pub sweep: Sweep,
    /// Health of the server.
    pub health: HealthService,
}

impl Services {
    /// Creates the services over `stores`. Cancelling `closing` ends every held reply.
    #[must_use]
    pub fn new(stores: Stores, settings: Settings, closing: CancellationToken) -> Self {
        let seal = SecretSealer::new(stores.keys.clone());
        let context = Context::new(stores, settings, closing);
        let secrets = SecretService::new(context.clone(), seal.clone());
        let registries = RegistryService::new(context.clone(), seal.clone());
        let id_tokens = IdTokenService::new(context.clone(), seal.clone());
        let variables = VariableService::new(secrets.clone(), registries.clone());
        let pipelines = PipelineExecutionService::new(context.clone(), variables.clone());
        let repositories = RepositoryService::new(context.clone(), seal.clone());
        let outbox = Outbox::new(context.clone(), repositories.clone(), Notifiers::default());
        let schedules = ScheduleService::new(context.clone(), pipelines.clone(), repositories.clone());
        let follow_ups = FollowUpService::new(context.clone(), pipelines.clone(), repositories.clone());
        let caches = CacheService::new(context.clone());
        let artifacts = ArtifactService::new(context.clone(), caches.clone(), FileAccess::new(seal.clone()));
        let sources = SourceService::new(context.clone());
        let approvals = ApprovalService::new(context.clone(), pipelines.clone());
        let exports = ExportService::new(context.clone(), pipelines.clone());
        let audit = AuditService::new(context.clone());
        let tokens = TokenService::new(context.clone());
        let workers = WorkerService::new(context.clone());
        Self {
            webhooks: WebhookService::new(
                context.clone(),
                pipelines.clone(),
                repositories.clone(),
                Reruns::new(context.clone(), pipelines.clone(), follow_ups.clone(), outbox.clone()),
                seal.clone(),
            ),
            discoveries: DiscoveryService::new(
                context.clone(),
                pipelines.clone(),
                repositories.clone(),
                schedules.clone(),
                outbox.clone(),
                follow_ups.clone(),
            ),
            follow_ups,
            outbox,
            jobs: JobExecutionService::new(
                context.clone(),
                secrets.clone(),
                registries.clone(),
                repositories.clone(),
                variables.clone(),
                id_tokens.clone(),
            ),
            id_tokens,
            variables,
            repositories,
            schedules,
            registries,
            secrets,
            sources: sources.clone(),
            environments: EnvironmentService::new(
                context.clone(),
                pipelines.clone(),
                approvals.clone(),
                audit.clone(),
            ),
            protections: ProtectionService::new(context.clone()),
            approvals,
            pipelines,
            dead_letters: DeadLetterService::new(context.clone()),
            sessions: SessionService::new(context.clone(), tokens.clone()),
            sign_in: SignInService::new(context.clone(), seal),
            roles: RoleService::new(context.clone()),
            tokens,
            test_reports: TestReportService::new(context.clone()),
            summaries: SummaryService::new(context.clone()),
            exports,
            insights: InsightService::new(context.clone()),
            badges: BadgeService::new(context.clone()),
            retention: RetentionService::new(context.clone(), artifacts.clone(), caches.clone()),
            scaling: ScalingService::new(context.clone(), workers.clone()),
            workers,
            audit,
            health: HealthService::new(context.clone()),
            sweep: Sweep::new(context, artifacts.clone(), caches.clone(), sources),
            caches,
            artifacts,
        }
    }

    /// Replaces the notifiers.
    #[must_use]
    pub fn with_notifiers(self, notifiers: Notifiers) -> Self {
        if let Some(url) = &notifiers.public_url {
            self.set_public_url(url);
            self.set_issuer_url(url);
        }
        let outbox = self.outbox.with_notifiers(notifiers);
        Self { webhooks: self.webhooks.with_outbox(outbox.clone()), outbox, ..self }
    }

    /// Sets the address of the server that jobs get with links to their execution; only the first call has an effect.
    pub fn set_public_url(&self, url: &str) {
        self.pipelines.context().set_public_url(url);
    }

    /// Sets the address under which others reach the server to verify the ID tokens of jobs; only the first call has an effect.
    /// Without it, no ID tokens are issued.
    pub fn set_issuer_url(&self, url: &str) {
        self.pipelines.context().set_issuer_url(url);
    }

    /// Lets people sign in with these providers, which `client` calls; only the first call has an effect. The public address must be
    /// set, and use TLS unless it is one of this machine.
    pub fn enable_sign_in(
        &self,
        providers: Vec<ProviderSettings>,
        client: Arc<dyn ProviderClient>,
    ) -> crate::Result<()> {
        self.sign_in.enable(providers, client)
    }

    /// Replaces the policy for sources of requests.
    #[must_use]
    pub fn with_source_policy(self, policy: SourcePolicy) -> Self {
        let pipelines = self.pipelines.with_source_policy(policy);
        // It runs jobs of earlier executions again, whose sources must be admitted.
        let environments = self.environments.with_pipelines(pipelines.clone());
        Self { pipelines, environments, ..self }
    }

    /// Reports the state of `disk`, which holds the stores, as part of the health.
    #[must_use]
    pub fn with_disk(self, disk: Arc<dyn Disk>) -> Self {
        Self { health: self.health.with_disk(disk), ..self }
    }

    /// Requests machines of these pools for workers when jobs are queued, and scales them with [`Self::scaling`]; only the first call
    /// has an effect.
    pub fn scale_on(&self, pools: Vec<WorkerPool>) {
        self.pipelines.context().scale(pools);
    }

    /// Sends the id of each execution that ends here to the export of traces; only the first call has an effect. An id that does not fit
    /// into the channel is dropped.
    pub fn send_ended_to(&self, sender: mpsc::Sender<ExecutionId>) {
        let _ = self.pipelines.context().ended.set(sender);
    }

    /// Runs CPU-bound work on `compute`, for all clones of these services. Without it, the calling task runs the work.
    pub fn compute_on(&self, compute: Arc<dyn Compute>) {
        self.pipelines.context().compute_on(compute);
    }

    /// Runs CPU-bound `work` and returns its result.
    pub(crate) async fn compute<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> crate::Result<T> {
        self.pipelines.context().compute(doing, work).await
    }

    /// Removes a repository and its schedules. Returns false if it is not registered.
    pub async fn remove_repository(&self, repo: &str) -> crate::Result<bool> {
        let removed = self.repositories.remove(repo).await?;
        let name = tidemill_core::repository::canonical_name(repo);
        // No schedule starts without its repository; removing them frees storage.
        self.schedules.remove_all(&name).await?;
        self.webhooks.forget(&name).await?;
        Ok(removed)
    }
}
