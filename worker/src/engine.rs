//! The container engine: containers, images, networks and volumes of a worker, managed through the Docker API.

mod certificates;
mod container;
mod creation;
mod exits;
mod failures;
mod images;
mod labels;
mod machine;
mod manager;
mod network;
mod pool;
mod removal;
mod resources;
mod services;
mod shell;
mod usage;
mod workspace_mount;

pub use container::Container;
pub use creation::{ContainerCreation, container_key};
pub use exits::{Exit, ExitError, ExitWaiter};
pub use failures::engine_failure;
pub(crate) use failures::{is_bad_request, is_not_found};
pub use images::{
    BUILT_NAME, BuildFailure, BuildRequest, BuiltImages, ImageConfig, JobLogins, PullReport, RegistrySettings,
};
pub use machine::local_machine;
pub use manager::{DockerManager, EngineFailure, Output, local_images};
pub use network::{BridgeNetwork, GuardError, JobNetwork, NetworkHolder, SharedHolder, metadata_guard};
pub(crate) use pool::{ContainerPool, OccupiedSlot};
pub(crate) use resources::OOM_SCORE;
pub use services::{ServiceContainer, ServiceState};
pub use shell::Shell;
pub use tidemill_core::execution::predefined::WORKSPACE_DIR;
pub(crate) use usage::disk_usage;
pub use workspace_mount::WorkspaceMount;
pub(crate) use workspace_mount::give_entries;
