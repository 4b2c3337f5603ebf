//! Arguments of `workers`.

use super::shared::{ConnectionArgs, FormatArgs};
use clap::{Args, Subcommand};

/// `workers`.
#[derive(Debug, Args)]
pub struct Workers {
    /// The action.
    #[command(subcommand)]
    pub action: Option<WorkersAction>,
    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// Actions of `workers`.
#[derive(Debug, Subcommand)]
pub enum WorkersAction {
    /// List the workers that reported within a day
    List {
        #[command(flatten)]
        format: FormatArgs,
    },
    /// Remove a worker that is not there any more from the list
    Remove {
        /// Name or id of the worker; all workers of this name that do not report are removed
        worker: String,
        #[command(flatten)]
        format: FormatArgs,
    },
    /// Let a worker take no more jobs, and end when its jobs have
    Drain {
        /// Name or id of the worker; all workers of this name drain
        worker: String,
        #[command(flatten)]
        format: FormatArgs,
    },
}
