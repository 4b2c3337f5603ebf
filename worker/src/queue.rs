//! Sources of jobs, and admission of jobs within the capacity of this machine.

pub mod admission;
pub mod capacity;
pub mod job_source;
