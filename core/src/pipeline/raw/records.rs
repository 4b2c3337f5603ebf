//! The records of a pipeline file, from which its JSON Schema is generated.

use super::alternatives::{Either, Preprocessed};
use super::build::RawBuild;
use super::checkout::RawCheckout;
use super::collections::{IndexedList, IndexedOneOrMany, Jobs, NamedValues, OneOrMany, StageNames};
use super::container::RawContainer;
use super::field::{Field, Read, Reader, Record, read_record, record};
use super::job_parts::{
    RawAllowFailure, RawArtifacts, RawCache, RawChild, RawEnvironment, RawIdToken, RawImage, RawResources,
    RawRule, RawSecret, RawService,
};
use super::matrix::RawMatrix;
use super::needs::NeedList;
use super::quantities::Duration;
use super::retry::RetryPolicy;
use super::scalars::{Flag, ParallelCount, PullPolicyValue, RunWhenValue, Text};
use super::script::Script;
use super::triggers::{RawConcurrency, RawInclude, RawJobConcurrency, RawTriggers};
use crate::pipeline::finding::Trail;
use crate::pipeline::yaml::tree::Node;

record! {
    /// A Tidemill pipeline file.
    struct RawPipeline("a pipeline file") {
        /// The pipeline's name, unique in its repository.
        name: Text = "name",
        /// Events that start the pipeline, besides a manual start.
        on: RawTriggers = "on",
        /// Files to include, of this or another repository; the keys of this file win over theirs.
        include: Preprocessed<IndexedOneOrMany<Either<Text, RawInclude>>> = "include",
        /// Time limit of an execution, waiting included; an execution that exceeds it is canceled. Default: no limit.
        timeout: Duration = "timeout",
        /// Whether a newer execution of the same branch cancels the older one. Short for a `concurrency` group per branch with `cancel_superseded`.
        interruptible: Flag = "interruptible",
        /// Stages in execution order. Default: build, test, deploy.
        stages: StageNames = "stages",
        /// Environment variables of every job.
        variables: NamedValues<Text> = "variables",
        /// Limits which executions of this pipeline may run at the same time.
        concurrency: RawConcurrency = "concurrency",
        /// Default values for the keys of every job.
        defaults: RawDefaults = "defaults",
        /// Jobs: a mapping of names to jobs, or a list of jobs that each have a `name`.
        jobs: Jobs<RawJob> = "jobs",
    }
}

record! {
    /// A job: a script that runs in its own container.
    struct RawJob("a job") {
        /// Name of the job; only where `jobs` is a list.
        name: Text = "name",
        /// Stage of the job. Default: test.
        stage: Text = "stage",
        /// Container image; `${NAME}` refers to a variable or a matrix key.
        image: Either<Text, RawImage> = "image",
        /// Image to build from a Dockerfile, after `script` if there is one: a directory of the workspace, or a mapping.
        build: Either<Text, RawBuild> = "build",
        /// Pipeline to start instead of running a script: the path of its file, or a mapping.
        pipeline: Either<Text, RawChild> = "pipeline",
        /// Shell commands to run, in order. Optional with `build`.
        script: Script = "script",
        /// Templates to extend: top-level keys that start with `.`. The job's own keys win over theirs.
        extends: Preprocessed<OneOrMany<Text>> = "extends",
        /// Shell commands to run before `script`, in the same shell.
        before_script: Script = "before_script",
        /// Shell commands to run after `script`, whether or not it succeeded, in a separate shell.
        after_script: Script = "after_script",
        /// Condition; the job is left out of the execution unless it is true.
        condition: Text = "if",
        /// Rules that decide whether and how the job runs: the first that matches applies. If none matches, the job is left out.
        rules: IndexedList<RawRule> = "rules",
        /// When to run, given how its dependencies ended. Default: on_success.
        when: RunWhenValue = "when",
        /// How long the job waits once its dependencies have ended; at most one week. Default: it does not wait.
        start_in: Duration = "start_in",
        /// Containers to run alongside the job.
        services: IndexedOneOrMany<Either<Text, RawService>> = "services",
        /// Files to keep between executions.
        cache: IndexedOneOrMany<RawCache> = "cache",
        /// Secrets to make available to the job.
        secrets: IndexedOneOrMany<Either<Text, RawSecret>> = "secrets",
        /// How to check out the sources; `false`: the workspace starts empty.
        checkout: Either<Flag, RawCheckout> = "checkout",
        /// Environment that the job deploys to.
        environment: Either<Text, RawEnvironment> = "environment",
        /// Regular expression that extracts the test coverage, in percent, from the log.
        coverage: Text = "coverage",
        /// Files with lines `NAME=value` that the script writes: variables of the jobs that need this one.
        outputs: OneOrMany<Text> = "outputs",
        /// What the container gets beyond an ordinary one, as far as its worker allows it.
        container: RawContainer = "container",
        /// Labels that a worker must have to run the job.
        runs_on: NamedValues<Text> = "runs_on",
        /// Jobs that must succeed first. Default: every job of every earlier stage.
        needs: NeedList = "needs",
        /// Jobs whose artifacts to download into the workspace. Default: all jobs that this job waits for.
        dependencies: NeedList = "dependencies",
        /// Environment variables of the job.
        variables: NamedValues<Text> = "variables",
        /// Files to store after the job, for later jobs and for download.
        artifacts: RawArtifacts = "artifacts",
        /// Whether the pipeline may succeed although this job failed, or the exit codes for which it may. Default: false.
        allow_failure: Either<Flag, RawAllowFailure> = "allow_failure",
        /// Whether the job is repeated if its worker is lost while its script runs. Default: true.
        interruptible: Flag = "interruptible",
        /// How many times to retry a failed job, 0 to 10, or a mapping with conditions. Default: 0.
        retry: RetryPolicy = "retry",
        /// Time limit of one attempt. Default: 1h.
        timeout: Duration = "timeout",
        /// Working directory of the script. Default: the directory of the sources.
        working_dir: Text = "working_dir",
        /// Resource limits of the container.
        resources: RawResources = "resources",
        /// Variables and their values; the job runs once for each combination. `exclude` leaves combinations out, `include` adds some.
        matrix: RawMatrix = "matrix",
        /// Name of each variant; `${KEY}` refers to its matrix value, `${matrix}` to all of them. Default: the job's name with the keys and values.
        variant_name: Text = "variant_name",
        /// How many times to run the job side by side, 1 to 256, each with its number as CI_NODE_INDEX.
        parallel: ParallelCount = "parallel",
        /// When to pull the image. Default: if-not-present.
        pull_policy: PullPolicyValue = "pull_policy",
        /// Group of which only some jobs run at the same time, in all executions of the repository. Default: none.
        concurrency: Either<Text, RawJobConcurrency> = "concurrency",
        /// Tokens that the server signs for the job, by the environment variable that holds each, to log in elsewhere without a stored secret.
        id_tokens: NamedValues<RawIdToken> = "id_tokens",
    }
}

record! {
    /// Default values for the keys of every job.
    struct RawDefaults("`defaults`") {
        /// Container image.
        image: Either<Text, RawImage> = "image",
        /// Environment variables; those of a job are added to these.
        variables: NamedValues<Text> = "variables",
        /// Files to store after a job.
        artifacts: RawArtifacts = "artifacts",
        /// Whether the pipeline may succeed although a job failed, or the exit codes for which it may.
        allow_failure: Either<Flag, RawAllowFailure> = "allow_failure",
        /// Shell commands to run before each `script`, in the same shell.
        before_script: Script = "before_script",
        /// Shell commands to run after each `script`, whether or not it succeeded, in a separate shell.
        after_script: Script = "after_script",
        /// Containers to run alongside a job.
        services: IndexedOneOrMany<Either<Text, RawService>> = "services",
        /// Files to keep between executions.
        cache: IndexedOneOrMany<RawCache> = "cache",
        /// Secrets to make available to a job.
        secrets: IndexedOneOrMany<Either<Text, RawSecret>> = "secrets",
        /// What containers of jobs get beyond an ordinary one, as far as their worker allows it.
        container: RawContainer = "container",
        /// How to check out the sources; `false`: the workspaces start empty.
        checkout: Either<Flag, RawCheckout> = "checkout",
        /// Labels that a worker must have; those of a job are added to these.
        runs_on: NamedValues<Text> = "runs_on",
        /// Whether the job is repeated if its worker is lost while its script runs. Default: true.
        interruptible: Flag = "interruptible",
        /// How many times to retry a failed job, 0 to 10, or a mapping with conditions.
        retry: RetryPolicy = "retry",
        /// Time limit of one attempt.
        timeout: Duration = "timeout",
        /// Working directory of the script.
        working_dir: Text = "working_dir",
        /// Resource limits of the container.
        resources: RawResources = "resources",
        /// When to pull the image.
        pull_policy: PullPolicyValue = "pull_policy",
    }
}

#[cfg(test)]
mod tests {
    use super::{RawDefaults, Record};
    use crate::pipeline::raw::container::RawContainer;
    use crate::pipeline::raw::unknown_keys::{CONTAINER_KEYS, DEFAULTS_KEYS};

    #[test]
    fn advice_on_unknown_keys_knows_the_keys_of_defaults_and_container() {
        assert_eq!(DEFAULTS_KEYS, RawDefaults::KEYS);
        assert_eq!(CONTAINER_KEYS, RawContainer::KEYS);
    }
}
