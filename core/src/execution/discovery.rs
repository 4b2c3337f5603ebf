//! What a worker finds out about a commit before anything of it runs: its pipeline files, and what it changed. So the
//! control plane needs no git.

mod report;
mod request;

pub use report::{
    DiscoveryReply, DiscoveryReport, MAX_CHANGED_PATHS, MAX_DIAGNOSTICS_BYTES, MAX_DIRECTORY_ENTRIES,
    MAX_FILES_BYTES, MAX_PATH_LEN, MAX_PATHS_BYTES, MOST_FILES, PIPELINE_NAME, PipelineFile, ReportError,
};
pub use request::Discovery;
