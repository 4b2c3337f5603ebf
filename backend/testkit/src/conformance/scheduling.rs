//! Checks of the conditions under which jobs run, over the adapters.

mod approvals;
mod capacity;
mod children;
mod conditions;
mod environments;
mod fixture;
mod groups;
mod job_groups;
mod large;
mod other_repositories;
mod outputs;
mod protection;
mod retention;

pub use approvals::{
    approved_execution_has_no_approval_deadline, execution_without_approval_is_canceled,
    held_execution_records_jobs_on_approval, held_execution_runs_nothing,
    manual_job_waits_for_approval_and_needs, optional_manual_job_blocks_no_other_job,
};
pub use capacity::machines_follow_recorded_jobs;
pub use children::{
    cancel_of_job_cancels_its_child, cancel_of_parent_cancels_children, child_gets_variables_of_its_job,
    child_has_rights_of_its_parent, child_joins_trace_of_its_job, depth_of_children_is_bounded,
    descendants_of_an_execution_are_bounded, job_starts_one_child_or_fails,
    parent_waits_for_child_and_takes_its_outcome, retry_starts_unsuccessful_child_again,
    status_of_child_changes_revision_of_parent, sweep_continues_parent_of_ended_child,
    worker_knows_of_file_that_a_job_made,
};
pub use conditions::{
    allowed_exit_code_is_tolerated, execution_over_timeout_fails, execution_without_runnable_jobs_ends,
    job_is_assigned_only_to_worker_with_labels, job_runs_according_to_when,
    on_failure_job_without_needs_is_skipped,
};
pub use environments::{
    auto_stop_without_its_job_is_tried_once, deployment_runs_again_alone, deployments_are_recorded_in_order,
    environment_is_stopped_by_its_job, environment_is_stopped_when_its_time_has_come,
    environments_are_listed_in_pages, fork_changes_no_environment, stop_approves_job_of_live_execution,
    sweep_records_end_of_lost_deployment,
};
pub use groups::{
    canceled_group_members_keep_order, concurrent_executions_of_group_run_in_order,
    execution_after_superseding_one_waits, executions_of_group_run_in_order,
};
pub use job_groups::{
    canceled_job_leaves_its_group, conflicting_request_for_a_place_is_repeated,
    delayed_job_holds_no_place_while_it_waits, jobs_of_group_run_one_at_a_time_in_order,
    limit_of_job_group_is_kept, manual_job_holds_no_place_before_approval, many_jobs_wait_for_one_place,
    place_is_not_lost_if_a_process_dies, repositories_do_not_share_job_groups, retried_job_keeps_its_place,
};
pub use large::{
    large_execution_can_be_canceled_before_its_jobs_are_recorded,
    large_execution_is_recorded_and_canceled_after_the_reply, large_executions_of_group_run_in_order,
    large_held_execution_starts_after_the_reply_to_its_approval,
    retry_of_large_execution_is_recorded_after_the_reply, sweep_records_and_cancels_jobs_of_large_execution,
};
pub use other_repositories::{
    cancel_and_retry_reach_other_repository, cycle_of_followed_repositories_ends,
    cycle_of_repositories_ends_at_maximum_depth, discovery_of_moved_branch_keeps_its_child,
    fork_starts_nothing_in_another_repository, job_starts_pipeline_of_another_repository,
    pipeline_without_file_is_that_of_a_push, refused_repository_looks_like_an_unknown_one,
    variables_of_a_repository_stay_there,
};
pub use outputs::{
    condition_on_outputs_is_decided_when_job_is_due,
    condition_on_outputs_precedes_approval_and_holds_in_retry,
};
pub use protection::{
    protected_environment_requires_approvals_of_different_people,
    protected_job_waits_in_retries_and_held_executions, protections_are_listed_and_bounded,
    rule_of_environment_holds_at_once,
};
pub use retention::{
    logs_go_first_and_newest_of_branch_last, retention_removes_only_what_no_rule_keeps,
    retried_execution_stays_with_its_retry, retry_reuses_no_artifacts_that_are_being_removed,
};
