//! The parts of a job that have keys of their own: rules, services, caches, secrets, artifacts.

use super::alternatives::{Either, OrReference};
use super::collections::{NamedValues, OneOrMany};
use super::container::RawContainer;
use super::field::{Field, Read, Reader, Record, read_record, record};
use super::needs::NeedList;
use super::quantities::{Bytes, Cpus, Duration};
use super::scalars::{
    ArtifactsWhenValue, CachePolicyValue, DeploymentTierValue, EnvironmentActionValue, ExitCode, Flag,
    ForwardValue, Port, PullPolicyValue, RuleNumber, RuleThenValue, Text,
};
use crate::pipeline::finding::Trail;
use crate::pipeline::yaml::tree::Node;

record! {
    /// A rule of a job.
    struct RawRule("a rule") {
        /// Condition that must be true for the rule to match.
        condition: Text = "if",
        /// Globs of files, at least one of which must have changed for the rule to match.
        changes: OneOrMany<Text> = "changes",
        /// Globs of files, at least one of which must exist for the rule to match.
        exists: OneOrMany<Text> = "exists",
        /// When to run the job if the rule matches. Default: the job's own `when`.
        when: RuleThenValue = "when",
        /// Overrides the `start_in` of the job.
        start_in: Duration = "start_in",
        /// Overrides the `allow_failure` of the job.
        allow_failure: Flag = "allow_failure",
        /// Environment variables that override those of the job.
        variables: NamedValues<Text> = "variables",
        /// Jobs that must succeed first, instead of the `needs` and `dependencies` of the job.
        needs: NeedList = "needs",
        /// Jobs whose artifacts to download, instead of the `dependencies` of the job.
        dependencies: NeedList = "dependencies",
        /// Number of the rule in messages, as `import` writes it; 0: a rule of the whole pipeline.
        number: RuleNumber = "number",
    }
}

record! {
    /// Which failures are tolerated.
    struct RawAllowFailure("`allow_failure`") {
        /// Exit codes of the script that are tolerated.
        exit_codes: OneOrMany<ExitCode> = "exit_codes",
    }
}

record! {
    /// A container image and how it is used.
    struct RawImage("`image`") {
        /// Container image; `${NAME}` refers to a variable or a matrix key.
        name: Text = "name",
        /// Overrides the entry point of the image; it is given the shell's command line as arguments. `[""]`: none.
        entrypoint: OneOrMany<Text> = "entrypoint",
        /// User of the container's processes, and optionally the group: a name or a number, such as `node` or `1000:1000`. Default: the image's.
        user: Text = "user",
        /// Variant of the image, such as `linux/arm64`. Default: the engine's platform.
        platform: Text = "platform",
        /// When to pull the image. Default: the `pull_policy` of the job.
        pull_policy: PullPolicyValue = "pull_policy",
    }
}

record! {
    /// A container that runs alongside a job.
    struct RawService("a service") {
        /// Container image.
        image: Text = "image",
        /// Same as `image`, as in GitLab.
        name: Text = "name",
        /// User of the container's processes, and optionally the group: a name or a number. Default: the image's.
        user: Text = "user",
        /// Variant of the image, such as `linux/arm64`. Default: the engine's platform.
        platform: Text = "platform",
        /// Host names under which the job and its other services reach the service, besides those derived from the image name.
        alias: OneOrMany<Text> = "alias",
        /// Environment variables of the service.
        variables: NamedValues<Text> = "variables",
        /// Overrides the command of the image.
        command: OneOrMany<Text> = "command",
        /// Overrides the entry point of the image.
        entrypoint: OneOrMany<Text> = "entrypoint",
        /// Readiness check. Default: the exposed ports of the image accept connections, or its health check passes.
        health: RawHealth = "health",
        /// How long the script waits for the service to become ready. Default: 30s.
        ready_within: Duration = "ready_within",
        /// Whether the job fails if the service is not ready in time or ends early. Default: true with `health`, otherwise false.
        required: Flag = "required",
        /// When to pull the image. Default: the job's `pull_policy`.
        pull_policy: PullPolicyValue = "pull_policy",
        /// What the container gets beyond an ordinary one, as far as its worker allows it.
        container: RawContainer = "container",
    }
}

record! {
    /// Readiness check of a service.
    struct RawHealth("`health`") {
        /// Shell command to run in the container of the service; it is ready when the command exits with 0.
        command: Text = "command",
        /// TCP port; the service is ready when the port accepts connections.
        port: Port = "port",
    }
}

record! {
    /// Files to keep between executions.
    struct RawCache("a cache") {
        /// Key of the cache. Default: default.
        key: Either<Text, RawCacheKey> = "key",
        /// Keys to try, in order, when there is no cache under `key`.
        fallback_keys: OneOrMany<Text> = "fallback_keys",
        /// Files, directories and globs, relative to the sources.
        paths: OneOrMany<Text> = "paths",
        /// Whether to download the cache before the script, upload it after the script, or both. Default: pull-push.
        policy: OrReference<CachePolicyValue> = "policy",
        /// After which outcomes of the job to upload. Default: on_success.
        when: ArtifactsWhenValue = "when",
    }
}

record! {
    /// A cache key computed from the content of files.
    struct RawCacheKey("`key`") {
        /// Files, or globs of files, whose content is part of the key.
        files: OneOrMany<Text> = "files",
        /// Prefix of the key.
        prefix: Text = "prefix",
    }
}

record! {
    /// A secret that is available to a job.
    struct RawSecret("a secret") {
        /// Name of the secret in the repository's store.
        name: Text = "name",
        /// Environment variable that holds the secret. Default: the name of the secret.
        variable: Text = "variable",
        /// Whether the variable holds the path of a file with the value instead of the value itself. Default: false.
        file: Flag = "file",
    }
}

record! {
    /// A token that proves to others which job it is.
    struct RawIdToken("an ID token") {
        /// Who verifies the token, usually an address; `${NAME}` refers to a variable or a matrix key.
        aud: OneOrMany<Text> = "aud",
    }
}

record! {
    /// An environment that a job deploys to, or that it stops.
    struct RawEnvironment("`environment`") {
        /// Name of the environment.
        name: Text = "name",
        /// URL of the environment.
        url: Text = "url",
        /// What the job does with the environment: deploy to it (`start`), `stop` it, or use it without a deployment. Default: start.
        action: EnvironmentActionValue = "action",
        /// Job that stops the environment: it has `action: stop` and the same `name`.
        on_stop: Text = "on_stop",
        /// How long after the deployment to stop the environment. Default: never.
        auto_stop_in: OrReference<Duration> = "auto_stop_in",
        /// What the environment is for: `production`, `staging`, `testing`, `development` or `other`. Default: by its name.
        tier: DeploymentTierValue = "tier",
    }
}

record! {
    /// Reports that are parsed and shown with the execution.
    struct RawReports("`reports`") {
        /// Globs of JUnit XML files, relative to the sources.
        junit: OneOrMany<Text> = "junit",
        /// Globs of XML files with line coverage, as Cobertura or JaCoCo write them, relative to the sources.
        coverage: OneOrMany<Text> = "coverage",
        /// Globs of SARIF files, whose results are shown as annotations, relative to the sources.
        sarif: OneOrMany<Text> = "sarif",
        /// Globs of JSON files with issues of Code Climate, as for `codequality` of GitLab, which are shown as annotations.
        codequality: OneOrMany<Text> = "codequality",
        /// Globs of security reports of GitLab, whose findings are shown as annotations.
        sast: OneOrMany<Text> = "sast",
    }
}

record! {
    /// Files of GitLab that a child pipeline includes: an item of GitLab's `include`.
    struct RawChildInclude("an item of `include`") {
        /// Path of a file in the sources.
        local: Text = "local",
        /// Path of another project on the git server of this repository; with `file`.
        project: Text = "project",
        /// Branch, tag or commit of the project. Default: its default branch.
        reference: Text = "ref",
        /// Path of the file in the project, or several.
        file: OneOrMany<Text> = "file",
        /// Address of a file on the web.
        remote: Text = "remote",
        /// `sha256-` and the SHA-256 of the remote file in Base64.
        integrity: Text = "integrity",
        /// Path of a template of the operator.
        template: Text = "template",
        /// Address of a component.
        component: Text = "component",
        /// Path of a file among the artifacts of `job`.
        artifact: Text = "artifact",
        /// Job whose artifacts have the file of `artifact`. Default: the one that `artifact_of` names.
        job: Text = "job",
        /// Inputs of the files, as their `spec` declares them.
        inputs: NamedValues<Text> = "inputs",
    }
}

record! {
    /// A pipeline that a job starts.
    struct RawChild("`pipeline`") {
        /// Path of the pipeline file in the sources, or in the artifacts of `artifact_of`; with `gitlab`, one or more.
        file: OneOrMany<Text> = "file",
        /// Whether the files are GitLab's. Default: whether the file is named `.gitlab-ci.yml`.
        gitlab: Flag = "gitlab",
        /// Job whose artifacts have the file. Default: the file is in the sources.
        artifact_of: Text = "artifact_of",
        /// Whether the jobs that wait for this job, and the execution, wait for the end of the child and depend on its outcome. Default: true.
        wait: Flag = "wait",
        /// Whose variables the child gets: `job` for those that this file sets for the job, `run` for those that the execution was started with. Default: job.
        forward: OneOrMany<ForwardValue> = "forward",
        /// Variables of the child, which win over those of its file.
        variables: NamedValues<Text> = "variables",
        /// Inputs of the GitLab files, as their `spec` declares them.
        inputs: NamedValues<Text> = "inputs",
        /// Files of GitLab, from anywhere, that are read as if one file included them, instead of `file`.
        include: OneOrMany<Either<Text, RawChildInclude>> = "include",
        /// Other repository, registered on the same server, whose pipeline starts.
        repository: Text = "repository",
        /// Branch of the other repository. Default: its default branch.
        branch: Text = "branch",
    }
}

record! {
    /// Files to store after a job, for later jobs and for download.
    struct RawArtifacts("`artifacts`") {
        /// Files, directories and globs, relative to the sources.
        paths: OneOrMany<Text> = "paths",
        /// Files, directories and globs that are not stored although they match.
        exclude: OneOrMany<Text> = "exclude",
        /// Whether to store all files that are not part of the sources, too. Default: false.
        untracked: Flag = "untracked",
        /// Name to show. Default: the paths.
        name: Text = "name",
        /// Title under which to show the artifacts with the execution.
        expose_as: Text = "expose_as",
        /// After which outcomes of the job to upload. Default: on_success.
        when: ArtifactsWhenValue = "when",
        /// How long to keep the files. Default: as long as the execution.
        expire_in: Duration = "expire_in",
        /// Reports to parse and to show with the execution.
        reports: RawReports = "reports",
    }
}

record! {
    /// Resource limits of a container.
    struct RawResources("`resources`") {
        /// Number of CPUs, such as 2 or 0.5.
        cpus: Cpus = "cpus",
        /// Amount of memory, such as 512m or 2GiB.
        memory: Bytes = "memory",
    }
}
