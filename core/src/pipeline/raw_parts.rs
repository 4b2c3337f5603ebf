//! What a job may have around its script, and what else has keys of its own, as users write it.

use super::field::{Entries, Field, OneOrMany, Read, Reader, Record, read_record, record};
use super::field_shapes::Either;
use super::finding::Path;
use super::tree::Node;
use super::value::{ExitCode, Flag, Policy, Port, RuleRun, Span, Text, WhenKept};

record! {
    /// One of a job's rules.
    struct RawRule("a rule") {
        /// A condition.
        condition: Text = "if",
        /// Globs of changed files, one of which must have changed.
        changes: OneOrMany<Text> = "changes",
        /// Globs of files, one of which must exist.
        exists: OneOrMany<Text> = "exists",
        /// How the job takes part. Default: as its own `when` says.
        when: RuleRun = "when",
        /// In place of the job's own.
        allow_failure: Flag = "allow_failure",
        /// Environment variables over the job's own.
        variables: Entries<Text> = "variables",
    }
}

record! {
    /// The failures that are allowed.
    struct RawAllowed("`allow_failure`") {
        /// Exit codes of the script.
        exit_codes: OneOrMany<ExitCode> = "exit_codes",
    }
}

record! {
    /// A container that runs beside a job.
    struct RawService("a service") {
        /// The container image.
        image: Text = "image",
        /// The same, as GitLab calls it.
        name: Text = "name",
        /// The names that the job reaches it by. Default: from the image's name.
        alias: OneOrMany<Text> = "alias",
        /// Its environment variables.
        variables: Entries<Text> = "variables",
        /// In place of the image's command.
        command: OneOrMany<Text> = "command",
        /// In place of the image's entry point.
        entrypoint: OneOrMany<Text> = "entrypoint",
        /// How to tell that it is ready. Default: by the image's own health check.
        health: RawHealth = "health",
        /// How long the script waits for it. Default: 60s.
        ready_within: Span = "ready_within",
    }
}

record! {
    /// How a service is asked whether it is ready.
    struct RawHealth("`health`") {
        /// A shell command, run in the service's container, that ends with 0 then.
        command: Text = "command",
        /// A TCP port that accepts connections then.
        port: Port = "port",
    }
}

record! {
    /// Files that are kept from one execution to the next.
    struct RawCache("a cache") {
        /// What they are kept under. Default: default.
        key: Either<Text, RawCacheKey> = "key",
        /// Keys to fall back to, in order.
        fallback_keys: OneOrMany<Text> = "fallback_keys",
        /// Files, directories and globs, relative to the sources.
        paths: OneOrMany<Text> = "paths",
        /// Whether they are fetched before the script, kept after it, or both. Default: pull-push.
        policy: Policy = "policy",
        /// After which ends of the job they are kept. Default: on_success.
        when: WhenKept = "when",
    }
}

record! {
    /// A key made of the content of files.
    struct RawCacheKey("`key`") {
        /// The files, or globs of them.
        files: OneOrMany<Text> = "files",
        /// What the key starts with.
        prefix: Text = "prefix",
    }
}

record! {
    /// A secret that a job gets.
    struct RawSecret("a secret") {
        /// Its name in the repository's store.
        name: Text = "name",
        /// The environment variable that it comes in. Default: its name.
        variable: Text = "variable",
        /// Whether the variable holds the path of a file with the value. Default: false.
        file: Flag = "file",
    }
}

record! {
    /// Where a job deploys to.
    struct RawEnvironment("`environment`") {
        /// Its name.
        name: Text = "name",
        /// Where it can be looked at.
        url: Text = "url",
    }
}

record! {
    /// Files that are read for what they say.
    struct RawReports("`reports`") {
        /// JUnit XML files: globs, relative to the sources.
        junit: OneOrMany<Text> = "junit",
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

record! {
    /// A file that is taken in.
    struct RawInclude("an item of `include`") {
        /// Its path in the repository.
        local: Text = "local",
    }
}
