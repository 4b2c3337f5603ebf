//! Checks of the conditions under which jobs run, over the adapters.

mod approvals;
mod children;
mod conditions;
mod fixture;
mod groups;

pub use approvals::{
    approved_execution_has_no_approval_deadline, execution_without_approval_is_canceled,
    held_execution_records_jobs_on_approval, held_execution_runs_nothing,
    manual_job_waits_for_approval_and_needs, optional_manual_job_blocks_no_other_job,
};
pub use children::{
    cancel_of_parent_cancels_children, child_gets_variables_of_its_job, child_has_rights_of_its_parent,
    depth_of_children_is_bounded, job_starts_one_child_or_fails,
    parent_waits_for_child_and_takes_its_outcome, retry_starts_unsuccessful_child_again,
    sweep_continues_parent_of_ended_child,
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
