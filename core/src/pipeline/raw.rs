//! The pipeline file as users write it; also what its JSON Schema is made from.

use super::field::{Entries, Field, Jobs, OneOrMany, OrNothing, Read, Reader, Record, read_record, record};
use super::field_shapes::{Either, List, Several, Written};
use super::finding::Path;
use super::raw_parts::{
    RawAllowed, RawCache, RawEnvironment, RawInclude, RawReports, RawRule, RawSchedule, RawSecret, RawService,
};
use super::shapes::{Again, Needs, Script};
use super::tree::Node;
use super::value::{Bytes, Cpus, ExitCode, Flag, Pull, Retry, RetryKind, Run, Span, Text, WhenKept};

record! {
    /// A Tidemill pipeline file.
    struct RawPipeline("a pipeline file") {
        /// The pipeline's name, unique in its repository.
        name: Text = "name",
        /// What starts the pipeline besides a person.
        on: RawTriggers = "on",
        /// Files of the repository whose keys this file takes in; its own win over theirs.
        include: Written<Several<Either<Text, RawInclude>>> = "include",
        /// How long an execution may last, its waiting included; then it is canceled. Default: for ever.
        timeout: Span = "timeout",
        /// Whether a newer execution of the same branch cancels the older one: short for a `concurrency` that says so.
        interruptible: Flag = "interruptible",
        /// The stages in the order they run. Default: build, test, deploy.
        stages: OneOrMany<Text> = "stages",
        /// Environment variables of every job.
        variables: Entries<Text> = "variables",
        /// Which executions give way to newer ones.
        concurrency: RawConcurrency = "concurrency",
        /// What every job gets unless it says otherwise.
        defaults: RawDefaults = "defaults",
        /// The jobs: a mapping of names to jobs, or a list of jobs that each have a `name`.
        jobs: Jobs<RawJob> = "jobs",
    }
}

record! {
    /// One job: a script that runs in a container of its own.
    struct RawJob("a job") {
        /// The job's name; only where `jobs` is a list.
        name: Text = "name",
        /// The stage the job belongs to. Default: test.
        stage: Text = "stage",
        /// The container image; `${NAME}` stands for a variable or a matrix key.
        image: Text = "image",
        /// The shell lines to run, in order.
        script: Script = "script",
        /// The templates that the job builds on: top-level keys that start with `.`; the job's own keys win.
        extends: Written<OneOrMany<Text>> = "extends",
        /// Shell lines in front of the script.
        before_script: Script = "before_script",
        /// Shell lines after the script, however it ended, in a shell of their own.
        after_script: Script = "after_script",
        /// A condition: the job is left out unless it holds.
        condition: Text = "if",
        /// Whether, and how, the job takes part: the first rule that holds says so; without one the job is left out.
        rules: List<RawRule> = "rules",
        /// On what end of what it waits for the job runs. Default: on_success.
        when: Run = "when",
        /// Containers that run beside the job.
        services: Several<Either<Text, RawService>> = "services",
        /// Files that are kept from one execution to the next.
        cache: Several<RawCache> = "cache",
        /// The secrets that the job gets.
        secrets: Several<Either<Text, RawSecret>> = "secrets",
        /// Where the job deploys to.
        environment: Either<Text, RawEnvironment> = "environment",
        /// A regular expression that finds the share of covered lines, in percent, in what the script prints.
        coverage: Text = "coverage",
        /// Labels that a worker must have.
        runs_on: Entries<Text> = "runs_on",
        /// The jobs that must succeed first. Default: every job of every earlier stage.
        needs: Needs = "needs",
        /// The jobs whose artifacts are laid into the workspace. Default: all that the job waits for.
        dependencies: Several<Text> = "dependencies",
        /// Environment variables of this job.
        variables: Entries<Text> = "variables",
        /// The files the job leaves for later jobs and for people.
        artifacts: RawArtifacts = "artifacts",
        /// Whether the pipeline may succeed although this job failed, or after which exit codes. Default: false.
        allow_failure: Either<Flag, RawAllowed> = "allow_failure",
        /// How many more times a failed job is tried, 0 to 10, or a mapping that says after what. Default: 0.
        retry: Again = "retry",
        /// How long one try may run. Default: 1h.
        timeout: Span = "timeout",
        /// The directory the script starts in. Default: where the sources are.
        working_dir: Text = "working_dir",
        /// Limits of the container.
        resources: RawResources = "resources",
        /// Keys and their values; the job runs once for each combination.
        matrix: Entries<OneOrMany<Text>> = "matrix",
        /// When the image is pulled. Default: if-not-present.
        pull_policy: Pull = "pull_policy",
    }
}

record! {
    /// What every job gets unless it says otherwise.
    struct RawDefaults("`defaults`") {
        /// The container image.
        image: Text = "image",
        /// Environment variables; a job's own are added to these.
        variables: Entries<Text> = "variables",
        /// The files a job leaves.
        artifacts: RawArtifacts = "artifacts",
        /// Whether the pipeline may succeed although a job failed, or after which exit codes.
        allow_failure: Either<Flag, RawAllowed> = "allow_failure",
        /// Shell lines in front of every script.
        before_script: Script = "before_script",
        /// Shell lines after every script, however it ended.
        after_script: Script = "after_script",
        /// Containers that run beside a job.
        services: Several<Either<Text, RawService>> = "services",
        /// Files that are kept from one execution to the next.
        cache: Several<RawCache> = "cache",
        /// The secrets that a job gets.
        secrets: Several<Either<Text, RawSecret>> = "secrets",
        /// Labels that a worker must have; a job's own are added to these.
        runs_on: Entries<Text> = "runs_on",
        /// How many more times a failed job is tried, 0 to 10, or a mapping that says after what.
        retry: Again = "retry",
        /// How long one try may run.
        timeout: Span = "timeout",
        /// The directory a script starts in.
        working_dir: Text = "working_dir",
        /// Limits of the container.
        resources: RawResources = "resources",
        /// When the image is pulled.
        pull_policy: Pull = "pull_policy",
    }
}

/// The keys of `defaults`.
pub(super) const DEFAULTS_KEYS: &[&str] = RawDefaults::KEYS;

record! {
    /// The files a job leaves for later jobs and for people.
    struct RawArtifacts("`artifacts`") {
        /// Files, directories and globs, relative to the sources.
        paths: OneOrMany<Text> = "paths",
        /// After which ends of the job they are kept. Default: on_success.
        when: WhenKept = "when",
        /// How long they are kept. Default: as long as the execution.
        expire_in: Span = "expire_in",
        /// Files that are read for what they say.
        reports: RawReports = "reports",
    }
}

record! {
    /// How often, and after what, a job is tried again.
    struct RawRetry("`retry`") {
        /// How many more times, 0 to 10. Default: 1.
        max: Retry = "max",
        /// The failures after which it is. Default: every failure of the job's own.
        when: OneOrMany<RetryKind> = "when",
        /// The exit codes of the script after which it is. Default: every one.
        exit_codes: OneOrMany<ExitCode> = "exit_codes",
    }
}

record! {
    /// What of this pipeline runs at the same time.
    struct RawConcurrency("`concurrency`") {
        /// The group: of one repository's executions of one group, the newest counts. `${branch}` and `${pipeline}` stand for those.
        group: Text = "group",
        /// Whether a newer execution of the group cancels the older one; else it waits for it. Default: false.
        cancel_superseded: Flag = "cancel_superseded",
    }
}

record! {
    /// Limits of a job's container.
    struct RawResources("`resources`") {
        /// Processors, such as 2 or 0.5.
        cpus: Cpus = "cpus",
        /// Memory, such as 512m or 2GiB.
        memory: Bytes = "memory",
    }
}

record! {
    /// What starts the pipeline besides a person.
    struct RawTriggers("`on`") {
        /// Commits pushed to the repository.
        push: OrNothing<RawPush> = "push",
        /// Pull requests opened or updated.
        pull_request: OrNothing<RawPullRequest> = "pull_request",
        /// Cron expressions of five fields, in UTC unless a time zone is given.
        schedule: Several<Either<Text, RawSchedule>> = "schedule",
    }
}

record! {
    /// Which pushes start the pipeline.
    struct RawPush("`push`") {
        /// Globs of branch names.
        branches: OneOrMany<Text> = "branches",
        /// Globs of tag names.
        tags: OneOrMany<Text> = "tags",
        /// Globs of changed files.
        paths: OneOrMany<Text> = "paths",
    }
}

record! {
    /// Which pull requests start the pipeline.
    struct RawPullRequest("`pull_request`") {
        /// Globs of the target branch's name.
        branches: OneOrMany<Text> = "branches",
        /// Globs of changed files.
        paths: OneOrMany<Text> = "paths",
    }
}
