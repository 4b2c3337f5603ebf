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

pub use attempt::AdmittedJob;
pub use executor::Executor;
pub use job_executor::JobExecutor;
