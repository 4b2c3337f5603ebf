//! What a worker finds out about a commit before anything of it runs: its pipeline files, and what it changed. So the
//! control plane needs no git.

mod report;
mod request;

pub use report::{
    DiscoveryReply, DiscoveryReport, MAX_FILES_BYTES, MAX_FOLDER_ENTRIES, MAX_MISTAKE_BYTES, MAX_PATH_LEN,
    MAX_PATHS_BYTES, MOST_CHANGED, MOST_FILES, PIPELINE_NAME, PipelineFile, ReportError,
};
pub use request::Discovery;
