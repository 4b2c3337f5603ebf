//! Discovery: a worker reads the pipeline files and the changed paths of a commit before any job of it runs, so that
//! the control plane needs no git.

mod child;
mod report;
mod request;

pub use child::{ChildReply, ChildReport, ChildRequest};
pub use report::{
    DiscoveryReply, DiscoveryReport, MAX_CHANGED_PATHS, MAX_COMPARED_REFS, MAX_DIAGNOSTICS_BYTES,
    MAX_DIRECTORY_ENTRIES, MAX_FILES_BYTES, MAX_PATH_LEN, MAX_PATHS_BYTES, MAX_PIPELINE_FILES, PIPELINE_NAME,
    PipelineFile, ReportError, check_compared,
};
pub use request::Discovery;
