//! One attempt of a job, from its assignment to its reported end.

mod attempt;
mod caches;
mod collection;
pub mod debug;
mod discovery;
mod disk_watch;
pub mod dispatcher;
mod executor;
mod image;
mod job_executor;
mod preparation;
mod push_access;
pub mod reporter;
mod running_script;
pub mod script;
mod script_run;
mod services;

pub use attempt::{AdmittedJob, Attempt, EarlyEnd, PREPARATION_ALLOWANCE, preparation_timeout};
pub use caches::restore as restore_caches;
pub use collection::collect;
pub use discovery::start_child;
pub use disk_watch::{DiskWatch, JobDisk, directory_bytes};
pub use dispatcher::Event;
pub use executor::{Executor, decline_attempt, is_unexplained};
pub use job_executor::JobExecutor;
pub use preparation::{Environment, Prepared};
pub use reporter::ReportOutcome;
pub use running_script::{JobDirectories, Sandbox, ScriptSignal, Streams};
pub use script_run::run as run_script;
