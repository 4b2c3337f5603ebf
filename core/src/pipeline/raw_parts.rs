//! What a job may have around its script, as users write it.

use super::field::{Entries, Field, OneOrMany, Read, Reader, Record, read_record, record};
use super::finding::Path;
use super::shape::{Either, Items};
use super::tree::Node;
use super::value::{ExitCode, Flag, Policy, Port, RuleWord, Span, Text, WhenKept};

record! {
    /// A container that runs beside the job.
    struct RawService("a service") {
        /// The image.
        image: Text = "image",
        /// The names that the job reaches it by. Default: from the image's name.
        alias: OneOrMany<Text> = "alias",
        /// Its environment variables.
        variables: Entries<Text> = "variables",
        /// In place of the image's command.
        command: OneOrMany<Text> = "command",
        /// In place of the image's entry point.
        entrypoint: OneOrMany<Text> = "entrypoint",
        /// How to tell that it is ready. Default: the image's own health check, or that it runs.
        health: RawHealth = "health",
        /// How long the script waits until it is ready. Default: 60s.
        ready_within: Span = "ready_within",
    }
}

record! {
    /// How a service is asked whether it is ready: one of the two.
    struct RawHealth("`health`") {
        /// A shell command, run in the service's container, that ends with 0 once it is ready.
        command: Text = "command",
        /// A TCP port that accepts connections once it is ready.
        port: Port = "port",
    }
}

record! {
    /// Files that are kept from one execution to the next.
    struct RawCache("a cache") {
        /// What it is kept under: text, or a mapping with `files`. Default: `default`.
        key: Either<Text, RawCacheKey> = "key",
        /// Files, directories and globs, relative to the sources.
        paths: OneOrMany<Text> = "paths",
        /// Keys to fall back to when nothing is kept under `key`.
        fallback_keys: OneOrMany<Text> = "fallback_keys",
        /// Whether it is fetched, kept, or both. Default: pull-push.
        policy: Policy = "policy",
        /// After which ends of the job it is kept. Default: on_success.
        when: WhenKept = "when",
    }
}

record! {
    /// A key that is made from the content of files.
    struct RawCacheKey("a cache's `key`") {
        /// Files of the sources whose content is part of the key.
        files: OneOrMany<Text> = "files",
        /// Stands before that.
        prefix: Text = "prefix",
    }
}

record! {
    /// A secret that the job gets.
    struct RawSecret("a secret") {
        /// The secret's name.
        name: Text = "name",
        /// The environment variable that it comes in. Default: the secret's name.
        variable: Text = "variable",
        /// Whether the variable holds the path of a file with the value. Default: false.
        file: Flag = "file",
    }
}

record! {
    /// Where the job deploys to.
    struct RawEnvironment("`environment`") {
        /// Its name; chooses among the repository's secrets.
        name: Text = "name",
        /// Where it can be looked at.
        url: Text = "url",
    }
}

record! {
    /// A rule: the first that holds says whether and how the job takes part.
    struct RawRule("a rule") {
        /// A condition.
        condition: Text = "if",
        /// Globs of files, one of which must have changed.
        changes: OneOrMany<Text> = "changes",
        /// Globs of files, one of which must be there.
        exists: OneOrMany<Text> = "exists",
        /// How the job takes part. Default: the job's own `when`.
        when: RuleWord = "when",
        /// In place of the job's own.
        allow_failure: Flag = "allow_failure",
        /// Over the job's own.
        variables: Entries<Text> = "variables",
    }
}

record! {
    /// Files that are read for what they say.
    struct RawReports("`reports`") {
        /// Globs of JUnit XML files.
        junit: OneOrMany<Text> = "junit",
    }
}

record! {
    /// Which failures are allowed.
    struct RawAllowed("`allow_failure`") {
        /// The exit codes of the script that are.
        exit_codes: OneOrMany<ExitCode> = "exit_codes",
    }
}

record! {
    /// Times at which the pipeline starts.
    struct RawSchedule("a schedule") {
        /// A cron expression of five fields.
        cron: Text = "cron",
        /// The IANA name of its time zone. Default: UTC.
        time_zone: Text = "time_zone",
    }
}

/// What a job and `defaults` both may have around a script.
#[derive(Default)]
pub(super) struct Around<'a> {
    pub(super) after_script: Option<&'a super::raw::Script>,
    pub(super) services: Option<&'a Items<Either<Text, RawService>>>,
    pub(super) cache: Option<&'a Items<RawCache>>,
    pub(super) secrets: Option<&'a Items<Either<Text, RawSecret>>>,
    pub(super) environment: Option<&'a Either<Text, RawEnvironment>>,
}
