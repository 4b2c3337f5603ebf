//! One attempt of a job, from its assignment to its reported end.

mod attempt;
mod caches;
mod collect;
mod discover;
mod disk_watch;
pub mod dispatch;
mod executor;
mod job_executor;
mod prepare;
pub mod reporter;
mod run;
mod running;
pub mod script;
mod services;

pub use attempt::AdmittedJob;
pub use executor::Executor;
pub use job_executor::JobExecutor;
