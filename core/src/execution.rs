//! Executions of pipelines: states, attempts and results, and the data that workers, commit statuses and reports
//! receive.

pub mod assignment;
pub mod attempt;
pub mod cost;
pub mod coverage;
pub mod debug;
pub mod discovery;
pub mod facts;
pub mod failure;
pub mod outputs;
pub mod predefined;
pub mod report;
pub mod retry;
pub mod status;
pub mod test_report;
pub mod transition;
pub mod upload;
