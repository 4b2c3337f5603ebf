//! Tidemill's services over ports, and the HTTP router.
//!
//! Layers, from the top: `http` calls `services`; below it are `forge`, `environments`, `executions`, `repositories` with `storage` and `access`, and
//! `context`. All of them reach storage, queues and the network through `ports`.

mod access;
mod context;
mod environments;
pub mod error;
mod executions;
mod forge;
pub mod http;
pub mod pack;
pub mod ports;
mod repositories;
pub mod seal;
mod services;
mod storage;
mod stores;
mod system;

pub use access::{
    audit::AuditService,
    caller::Caller,
    protections::ProtectionService,
    registries::RegistryService,
    roles::RoleService,
    secrets::SecretService,
    sessions::SessionService,
    sign_in::{
        service::SignInService,
        settings::{ProviderOptions, ProviderSettings, ProviderSettingsError},
    },
    tokens::{TokenService, stored_tokens},
};
pub use context::settings::Settings;
pub use environments::EnvironmentService;
pub use error::{Error, ErrorReport, Result};
pub use executions::{
    approvals::ApprovalService,
    dead_letters::DeadLetterService,
    idempotency_keys::{CallerKey, RecordedKey},
    jobs::{log_bytes::unpack as unpack_log, logs::LogPart, service::JobExecutionService},
    pipeline::{
        service::{PipelineExecutionService, VersionedView},
        start::InternalStart,
    },
    sweep::Sweep,
};
pub use forge::{
    delivery::Notifiers,
    discoveries::DiscoveryService,
    notices::NOTIFICATION_KIND,
    outbox::{Outbox, STATUS_KIND},
    schedules::ScheduleService,
    webhooks::{DeliverySender, WebhookService},
};
pub use repositories::{service::RepositoryService, source_policy::SourcePolicy};
pub use services::Services;
pub use storage::{
    artifacts::ArtifactService,
    badges::BadgeService,
    caches::CacheService,
    download::Download,
    health::{Disk, DiskState, HealthService},
    insights::InsightService,
    retention::{service::RetentionService, usage::DiskMeter},
    scaling::{ScalingOutcome, ScalingService},
    sources::SourceService,
    summaries::SummaryService,
    test_reports::TestReportService,
    workers::WorkerService,
};
pub use stores::Stores;
pub use system::{clock::SystemClock, ids::RandomIds, messenger::HttpMessenger};
