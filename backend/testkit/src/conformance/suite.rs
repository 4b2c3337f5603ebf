//! Macros that create a test of each check.

/// Creates a test of each check that only a queue of one process, or of several on one file, must pass; see
/// [`crate::conformance::exact_queue`].
#[macro_export]
macro_rules! exact_queue_suite {
    ($subject:expr) => {
        $crate::conformance_suite! { $subject, {};
            queue_with_labels {
                message_with_labels_goes_to_matching_worker
            }
            exact_queue {
                delayed_message_is_not_visible_early
                stale_receipt_does_nothing
                receipt_is_invalid_after_give_back
                repeated_send_makes_one_visible_message
                concurrent_receivers_get_distinct_messages
                dropped_receiver_returns_its_messages
                groups_of_messages_take_turns
            }
        }
    };
}

/// Creates a test of each check. The expression creates a [`crate::conformance::StoresUnderTest`]. After `@async` it may await, and the second
/// expression runs before it and may return.
#[macro_export]
macro_rules! conformance_suite {
    ($subject:expr) => {
        $crate::conformance_suite! { @async $subject, {} }
    };
    (@async $subject:expr, $before:expr) => {
        $crate::conformance_suite! { $subject, $before;
            records {
                created_execution_is_readable
                id_is_created_once
                nodes_are_added_to_unplanned_execution_once
                run_numbers_count_by_repository_and_pipeline
                concurrent_creates_get_distinct_run_numbers
                put_requires_read_version
                put_of_missing_node_conflicts
                setting_due_time_keeps_version
                concurrent_writes_have_one_winner
                batch_is_atomic
                last_arrival_makes_node_due
                continuation_is_written_with_last_arrival
                arrival_does_not_wake_finished_node
                concurrent_arrivals_count_exactly
                arrival_at_missing_node_fails
                idempotency_key_is_unique
                idempotency_key_replace_requires_current_value
                every_write_changes_revision
                acknowledged_writes_survive_reopen
                second_handle_sees_writes_of_first
                changed_returns_after_commit
            }
            removal {
                removed_execution_is_gone
                key_of_removed_execution_can_be_replaced
                removed_log_is_empty
            }
            listing {
                pages_are_newest_first_and_complete
                all_filters_apply repository_addresses_are_normalized
                invalid_cursor_returns_validation_error
                live_lists_unfinished_executions
                due_nodes_are_listed_in_order
                upcoming_jobs_follow_statuses
                nodes_and_specs_are_found_by_index
                artifacts_are_listed_by_execution_and_job
                expired_artifacts_are_listed_by_expiry
                postpone_requires_unchanged_due_time
            }
            documents {
                document_put_is_readable
                document_put_requires_read_version
                document_delete_requires_read_version
                concurrent_puts_have_one_winner
                documents_are_listed_by_name
                due_documents_are_listed_by_due_time
            }
            queue {
                message_is_delivered_and_deleted
                message_reappears_after_visibility_timeout
                delayed_message_is_delivered_later
                given_back_message_is_visible_at_once
                resent_job_is_delivered_again
                receive_returns_message_of_requested_execution
                concurrent_receivers_get_every_message
                waiting_receiver_is_woken
                messages_survive_reopen
                unknown_receipt_is_ignored
            }
            objects {
                object_put_is_readable
                interrupted_put_stores_nothing
                dropped_put_stores_nothing
                second_put_replaces_object
                put_with_wrong_checksum_stores_nothing
                deleting_twice_is_no_error
                key_can_be_prefix_of_another
                bad_keys_are_rejected
                objects_survive_reopen
            }
            logs {
                log_bytes_are_returned_unchanged
                repeated_append_stores_nothing
                append_after_gap_returns_error
                reads_are_bounded
                each_attempt_has_its_own_log
                concurrent_repeated_appends_store_once
                logs_survive_reopen
                many_logs_are_written_at_once
            }
            scheduling {
                job_runs_according_to_when
                machines_follow_recorded_jobs
                allowed_exit_code_is_tolerated
                manual_job_waits_for_approval_and_needs
                optional_manual_job_blocks_no_other_job
                execution_without_approval_is_canceled
                execution_over_timeout_fails
                parent_waits_for_child_and_takes_its_outcome
                job_starts_one_child_or_fails
                depth_of_children_is_bounded
                descendants_of_an_execution_are_bounded
                status_of_child_changes_revision_of_parent
                child_gets_variables_of_its_job
                child_has_rights_of_its_parent
                child_joins_trace_of_its_job
                worker_knows_of_file_that_a_job_made
                cancel_of_parent_cancels_children
                cancel_of_job_cancels_its_child
                retry_starts_unsuccessful_child_again
                sweep_continues_parent_of_ended_child
                job_starts_pipeline_of_another_repository
                refused_repository_looks_like_an_unknown_one
                fork_starts_nothing_in_another_repository
                cycle_of_repositories_ends_at_maximum_depth
                cycle_of_followed_repositories_ends
                discovery_of_moved_branch_keeps_its_child
                variables_of_a_repository_stay_there
                cancel_and_retry_reach_other_repository
                pipeline_without_file_is_that_of_a_push
                executions_of_group_run_in_order
                concurrent_executions_of_group_run_in_order
                execution_after_superseding_one_waits
                canceled_group_members_keep_order
                on_failure_job_without_needs_is_skipped
                execution_without_runnable_jobs_ends
                held_execution_runs_nothing
                held_execution_records_jobs_on_approval
                approved_execution_has_no_approval_deadline
                job_is_assigned_only_to_worker_with_labels
                jobs_of_group_run_one_at_a_time_in_order
                limit_of_job_group_is_kept
                retried_job_keeps_its_place
                canceled_job_leaves_its_group
                repositories_do_not_share_job_groups
                manual_job_holds_no_place_before_approval
                delayed_job_holds_no_place_while_it_waits
                many_jobs_wait_for_one_place
                conflicting_request_for_a_place_is_repeated
                place_is_not_lost_if_a_process_dies
                deployments_are_recorded_in_order
                sweep_records_end_of_lost_deployment
                environment_is_stopped_by_its_job
                stop_approves_job_of_live_execution
                environment_is_stopped_when_its_time_has_come
                auto_stop_without_its_job_is_tried_once
                deployment_runs_again_alone
                fork_changes_no_environment
                environments_are_listed_in_pages
                condition_on_outputs_is_decided_when_job_is_due
                condition_on_outputs_precedes_approval_and_holds_in_retry
                protected_environment_requires_approvals_of_different_people
                rule_of_environment_holds_at_once
                large_execution_is_recorded_and_canceled_after_the_reply
                sweep_records_and_cancels_jobs_of_large_execution
                large_execution_can_be_canceled_before_its_jobs_are_recorded
                large_executions_of_group_run_in_order
                large_held_execution_starts_after_the_reply_to_its_approval
                retry_of_large_execution_is_recorded_after_the_reply
                protected_job_waits_in_retries_and_held_executions
                protections_are_listed_and_bounded
                retention_removes_only_what_no_rule_keeps
                retried_execution_stays_with_its_retry
                retry_reuses_no_artifacts_that_are_being_removed
                logs_go_first_and_newest_of_branch_last
            }
            caches {
                cache_is_found_by_jobs_of_its_repository
                fork_cannot_store_cache
                unused_cache_is_removed
                cache_is_bound_to_its_repository_and_key
                completing_cache_again_changes_nothing
                artifact_of_other_job_cannot_be_overwritten
            }
            sources {
                upload_must_match_its_hash
                unused_upload_is_removed
                damaged_upload_is_replaced
            }
            sweep {
                failing_nodes_do_not_block_sweep
                undeletable_artifacts_do_not_block_expiry
            }
            summaries {
                summary_requires_lease_and_is_that_of_newest_attempt
                summary_beyond_limits_is_rejected_or_counted
            }
            test_reports {
                test_report_requires_lease_and_compares_retried_execution
            }
            insights {
                ended_executions_are_counted_by_day
                flaky_tests_coverage_and_cost_are_counted
                concurrent_ends_are_all_counted
                overview_shows_latest_executions_and_approvals
                incomplete_executions_do_not_set_state_of_default_branch
                badge_shows_default_branch_until_revoked
                executions_are_found_by_commit_author_and_event
            }
            workers {
                workers_are_listed_while_they_report
                worker_drains_when_asked
            }
            outside_worker {
                worker_of_the_examples_runs_jobs
            }
            registries {
                job_gets_logins_of_its_images
                fork_gets_no_logins
                stored_login_is_sealed
                login_requires_registry_name_and_password
            }
            repositories {
                job_gets_credential_of_its_repository
                fork_gets_no_credential
                stored_credential_is_sealed_and_rekeyed
                credential_fits_address_and_lasts_until_removed
            }
            secrets {
                job_gets_only_secrets_that_it_names
                missing_secret_fails_job_without_retry
                sealed_value_opens_only_under_its_name
                fork_gets_no_secrets
                secret_requires_name_and_value
                secrets_of_job_are_bounded
                encryption_key_is_created_once
                rekey_seals_secrets_with_newest_key
            }
            id_tokens {
                signing_key_is_created_once
                only_jobs_that_ask_get_id_tokens
                signing_key_follows_keys_of_deployment
                resealed_signing_key_expires
            }
            variables {
                variables_reach_every_job_and_conditions
                hidden_variables_reach_only_workers
                services_get_the_variables_of_a_job_with_all_secrets
                protected_variables_and_forks_are_kept_apart
                variable_of_a_secrets_name_is_a_conflict
                repeated_request_is_the_same_after_a_change_of_variables
                login_of_the_only_registry_is_predefined
                job_token_reads_its_repository_until_attempt_ends
            }
            executions {
                fifty_concurrent_requests_create_one_execution
                idempotency_key_reuse_returns_409
                included_files_are_recorded_and_kept_by_a_retry
                newer_execution_of_group_cancels_older
                concurrent_executions_of_group_leave_one
                job_losing_three_workers_is_dead_letter
                heartbeat_is_written_only_when_renewal_is_due
                export_has_every_row_once
            }
            reports {
                batched_reports_write_at_a_third_of_the_lease
                reader_of_a_log_makes_its_worker_report_more_often
                cancel_and_lost_worker_are_seen_between_writes
            }
            events {
                comment_needs_rights
                pipeline_follows_another_once
                inputs_are_recorded_and_kept_by_a_retry
            }
            access {
                token_is_valid_until_expiry_or_revocation
                audit_log_is_listed_newest_first
                session_is_valid_in_every_process_until_it_ends
                concurrent_changes_of_roles_are_all_kept
                code_is_exchanged_once
            }
        }
    };
    ($subject:expr, $before:expr; $($module:ident { $($check:ident)* })*) => {
        $(mod $module {
            use super::*;
            $(
                #[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $check() {
                    $before;
                    $crate::conformance::$module::$check(&$subject).await;
                }
            )*
        })*
    };
}
