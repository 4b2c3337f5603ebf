//! Checks of what decides when a job runs, over the adapters.

mod approvals;
mod conditions;
mod fixture;
mod groups;

pub use approvals::{
    a_manual_job_that_is_optional_holds_nobody_up, approved_execution_has_no_approval_deadline,
    execution_without_approval_is_canceled, held_execution_records_its_jobs_when_it_is_approved,
    held_execution_runs_nothing, manual_job_waits_for_approval_and_needs,
};
pub use conditions::{
    allowed_exit_code_is_tolerated, execution_over_timeout_fails, execution_without_runnable_jobs_ends,
    job_is_assigned_only_to_worker_with_labels, job_runs_according_to_when,
    on_failure_job_without_needs_is_skipped,
};
pub use groups::{
    canceled_group_members_keep_order, concurrent_executions_of_group_run_in_order,
    execution_after_superseding_one_waits, executions_of_group_run_in_order,
};
