//! The domain logic of Tidemill: pipeline model, plan, state machine, and API types.
//!
//! Nothing here does I/O, is async, or reads a clock: time and randomness are arguments.

#![cfg_attr(
    not(feature = "mutations"),
    allow(
        clippy::nonminimal_bool,
        clippy::redundant_field_names,
        reason = "`guarded!` expands to the bare condition, which callers may negate"
    )
)]

pub mod access;
pub mod api;
pub mod child;
pub mod condition;
pub mod execution;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod gitlab;
pub mod ids;
pub mod notification {
    //! Commit statuses, check runs, notes, and notifications: what is reported about an execution, to whom, when, and in which format.

    pub mod check_run;
    pub mod commit_status;
    pub mod content;
    pub mod error_lines;
    pub mod format;
    pub mod markdown;
    pub mod message;
    pub mod note;
    pub mod quiet_hours;
    pub mod receiver;
    pub mod report;
    pub mod repository_api;
}
pub mod pipeline;
pub mod plan;
pub mod records;
pub mod repository;
pub mod retention {
    //! What of ended executions is removed, and when.

    pub mod api;
    pub mod decision;
    pub mod settings;
}
pub mod scheduler;
pub mod summary {
    //! What a job says about itself: a summary in Markdown, and annotations, which are remarks on places in the sources. They
    //! are shown with the execution and decide nothing.

    pub mod annotation;
    pub mod command;
    pub mod markdown;
    pub mod report_file;
    pub mod view;
}
pub mod text;
pub mod time;
pub mod trace {
    //! Traces: the ids that an execution and its parts have in a trace, and the spans of an ended execution.

    pub mod context;
    pub mod spans;
}
