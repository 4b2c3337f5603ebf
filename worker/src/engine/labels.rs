//! Labels of the containers, networks and volumes of a worker.

/// Marks everything that a worker creates.
pub const LABEL: &str = "tidemill";
/// The id of the worker.
pub const LABEL_WORKER: &str = "tidemill.worker";
/// The data directory of the worker.
pub const LABEL_DATA: &str = "tidemill.data";
