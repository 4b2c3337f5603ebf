//! One suite for every set of adapters: each function is a check of the ports' contract and panics when it is broken.
//!
//! [`crate::conformance_suite`] makes a test of each. Ids are made anew in each check, so that a store may be shared.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::missing_panics_doc, reason = "these are tests")]

pub mod access;
pub mod caches;
mod claims;
pub mod documents;
pub mod exact_queue;
pub mod listing;
pub mod logs;
pub mod objects;
pub mod queue;
pub mod queue_with_labels;
pub mod records;
pub mod samples;
pub mod scheduling;
pub mod secrets;
pub mod services;
pub mod sources;
pub mod sweep;
pub mod tests;

use futures_util::future::BoxFuture;
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};
use tidemill_core::time::Timestamp;
use tidemill_services::Stores;
use tidemill_services::ports::Clock;

/// A clock that stands still until it is turned.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock at this time.
    #[must_use]
    pub fn new(start: Timestamp) -> Self {
        Self(AtomicI64::new(start.0))
    }

    /// Turns it on (back when negative) by milliseconds.
    pub fn turn(&self, ms: i64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Default for ManualClock {
    /// A clock somewhere in 2026.
    fn default() -> Self {
        Self::new(Timestamp(1_780_000_000_000))
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

type Open = Box<dyn Fn(Arc<ManualClock>) -> BoxFuture<'static, Stores> + Send + Sync>;

/// What is checked: a place where stores are, which can be opened again and again.
pub struct Subject {
    /// The clock of all its stores.
    pub clock: Arc<ManualClock>,
    /// Whether its queue goes by a clock of its own, which nobody can turn.
    real_time: bool,
    open: Open,
}

impl Subject {
    /// A place that `open` opens, each time as another process would.
    pub fn new(
        open: impl Fn(Arc<ManualClock>) -> BoxFuture<'static, Stores> + Send + Sync + 'static,
    ) -> Self {
        Self { clock: Arc::default(), real_time: false, open: Box::new(open) }
    }

    /// The same, of a place whose queue is a service that keeps its own time.
    #[must_use]
    pub fn in_real_time(self) -> Self {
        Self { real_time: true, ..self }
    }

    /// For how long the checks hide a message.
    #[must_use]
    pub const fn hide_ms(&self) -> u64 {
        if self.real_time { 3_000 } else { 30_000 }
    }

    /// Lets milliseconds pass: by turning the clock, or by waiting, then a second longer, since a queue that many use
    /// looks only now and then for what is visible again.
    pub async fn pass(&self, ms: u64) {
        if self.real_time {
            tokio::time::sleep(std::time::Duration::from_millis(ms + 1_000)).await;
        } else {
            self.clock.turn(i64::try_from(ms).unwrap_or(i64::MAX));
        }
    }

    /// Opens the place.
    pub async fn open(&self) -> Stores {
        (self.open)(Arc::clone(&self.clock)).await
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject").field("clock", &self.clock).finish_non_exhaustive()
    }
}

/// Makes a test of each check that only the queue of one process must pass; see [`exact_queue`].
#[macro_export]
macro_rules! exact_queue_suite {
    ($subject:expr) => {
        $crate::conformance_suite! { $subject, {};
            queue_with_labels {
                a_message_with_labels_goes_to_who_has_them
            }
            exact_queue {
                a_message_comes_not_a_moment_early
                a_stale_receipt_does_nothing
                a_receipt_is_void_once_its_message_was_given_back
                sending_again_makes_one_visible_message
                racing_receivers_each_get_another_message
                a_receiver_that_went_away_keeps_nothing
            }
        }
    };
}

/// Makes a test of each check; the expression makes a new [`Subject`]. After `@async` it may wait, and what comes after it
/// is run before and may return.
#[macro_export]
macro_rules! conformance_suite {
    ($subject:expr) => {
        $crate::conformance_suite! { @async $subject, {} }
    };
    (@async $subject:expr, $before:expr) => {
        $crate::conformance_suite! { $subject, $before;
            records {
                an_execution_is_read_as_it_was_created
                an_id_is_created_once
                nodes_are_added_to_an_unplanned_execution_once
                run_numbers_count_by_repository_and_pipeline
                run_numbers_are_given_once_under_concurrency
                a_put_needs_the_version_that_was_read
                a_put_of_what_is_not_there_is_a_conflict
                a_due_time_alone_keeps_the_version
                one_of_many_racing_writers_wins
                a_batch_is_written_whole_or_not_at_all
                arrivals_are_counted_and_the_last_makes_due
                what_follows_the_last_arrival_is_put_with_it
                an_arrival_does_not_wake_what_has_acted
                concurrent_arrivals_count_exactly
                an_arrival_at_nothing_is_an_error
                an_idempotency_key_is_taken_once
                a_key_is_replaced_only_by_who_knows_it
                every_write_changes_the_revision
                what_was_acknowledged_is_there_after_reopening
                two_opens_see_each_others_writes
                changed_tells_of_a_commit
            }
            listing {
                pages_are_newest_first_and_complete
                filters_all_hold a_repository_is_one_however_its_address_is_written
                a_cursor_that_is_none_is_refused
                live_lists_what_is_not_over
                late_is_what_is_due_in_order
                upcoming_follows_the_statuses
                nodes_and_specs_are_found_by_index
                artifacts_are_kept_by_execution_and_job
                expired_artifacts_are_found_by_their_time
                a_node_is_postponed_only_as_it_was_found_due
            }
            documents {
                a_document_is_read_as_it_was_put
                a_document_is_put_only_over_what_was_read
                a_document_is_removed_only_as_it_was_read
                one_of_many_racing_puts_wins
                documents_are_listed_by_name
                due_documents_are_found_by_their_time
            }
            queue {
                a_message_is_delivered_and_deleted
                a_message_comes_again_when_its_time_is_over
                a_message_that_shall_wait_comes_later
                a_message_given_back_is_visible_at_once
                a_job_that_is_sent_again_is_delivered_again
                a_receiver_takes_only_what_it_asked_for
                racing_receivers_get_every_message
                a_waiting_receiver_is_woken
                messages_outlive_their_sender
                a_receipt_that_means_nothing_is_no_error
            }
            objects {
                an_object_is_read_as_it_was_put
                a_stream_that_breaks_off_leaves_nothing
                a_put_that_is_given_up_leaves_nothing
                putting_again_replaces_whole
                other_bytes_than_those_wanted_are_not_stored
                deleting_twice_is_no_error
                a_key_may_be_the_beginning_of_another
                bad_keys_are_refused
                objects_outlive_their_writer
            }
            logs {
                bytes_come_back_raw
                repeats_are_skipped
                a_gap_is_refused
                reads_are_bounded
                attempts_have_logs_of_their_own
                racing_repeats_are_stored_once
                logs_outlive_their_writer
                many_logs_are_written_at_once
            }
            scheduling {
                jobs_run_on_the_end_that_they_name
                an_allowed_exit_code_counts_as_well
                a_manual_job_waits_for_a_person_and_for_its_needs
                a_manual_job_that_is_optional_holds_nobody_up
                an_approval_that_never_comes_ends_the_execution
                an_execution_whose_time_is_over_fails
                executions_of_a_group_run_in_turn
                racing_executions_of_a_group_run_in_turn
                what_comes_after_one_that_supersedes_waits_for_it
                canceled_neighbours_in_a_group_let_nobody_past
                a_job_for_failures_that_waits_for_nothing_is_spared
                an_execution_with_nothing_to_run_ends
                nothing_of_an_execution_that_waits_runs
                a_held_execution_records_its_jobs_when_it_is_approved
                an_approval_in_time_leaves_all_the_time
                a_job_is_given_only_to_a_worker_with_its_labels
            }
            caches {
                a_cache_is_found_by_the_jobs_of_its_repository
                a_fork_may_not_keep_a_cache
                a_cache_that_nobody_uses_is_removed
                a_cache_is_bound_to_its_repository_and_key
                a_cache_that_is_completed_again_stays
                an_artifact_has_the_id_of_its_attempt
            }
            sources {
                an_upload_is_stored_only_as_its_name_says
                an_upload_that_nobody_uses_is_removed
                a_damaged_upload_is_replaced_by_the_next
            }
            sweep {
                nodes_that_always_fail_do_not_hide_others
                artifacts_that_cannot_be_removed_do_not_keep_others
            }
            tests {
                tests_are_kept_under_a_lease_and_compared_with_those_of_the_retried_execution
            }
            secrets {
                a_job_gets_the_secrets_that_it_names_and_no_others
                a_secret_that_is_not_there_fails_the_job_once
                a_value_is_stored_so_that_only_its_place_opens_it
                a_fork_gets_no_secrets
                a_secret_has_a_name_and_some_bytes
                the_secrets_of_a_job_are_bounded
                the_key_is_made_once
                secrets_come_under_the_newest_key
            }
            services {
                fifty_clients_that_ask_for_the_same_make_one_execution
                a_key_stands_for_one_request
                a_newer_execution_of_a_group_cancels_the_older
                racing_executions_of_a_group_leave_one
                a_job_that_loses_its_workers_is_a_dead_letter
                a_sign_of_life_is_written_only_when_the_lease_needs_it
            }
            access {
                a_token_is_known_until_it_is_over_or_revoked
                the_audit_record_is_listed_newest_first
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
