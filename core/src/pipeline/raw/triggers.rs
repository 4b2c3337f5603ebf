//! Top-level keys: triggers, included files, concurrency.

mod values;

use super::alternatives::{Either, Nullable};
use super::collections::{IndexedOneOrMany, NamedValues, OneOrMany};
use super::field::{Field, Read, Reader, Record, read_record, record};
use super::scalars::{Flag, GroupLimit, Text};
use crate::pipeline::finding::Trail;
use crate::pipeline::yaml::tree::Node;

pub(crate) use values::{InputType, PullRequestType, StatusOfUpstream};

record! {
    /// Events that start the pipeline, besides a manual start.
    struct RawTriggers("`on`") {
        /// Start on commits pushed to the repository.
        push: Nullable<RawPush> = "push",
        /// Start when a pull request is opened or updated.
        pull_request: Nullable<RawPullRequest> = "pull_request",
        /// Start on a schedule: cron expressions with five fields, in UTC unless a time zone is given.
        schedule: IndexedOneOrMany<Either<Text, RawSchedule>> = "schedule",
        /// Start when a tag is pushed, besides the tags of `push`.
        tag: Nullable<RawTag> = "tag",
        /// Start when a release is published, at its tag.
        release: Nullable<RawTag> = "release",
        /// Start when a merge queue asks for the checks of a group.
        merge_group: Nullable<RawMergeGroup> = "merge_group",
        /// Start on a comment on a pull request by a user with rights.
        comment: RawComment = "comment",
        /// Start when an execution of another pipeline of the repository ends.
        pipeline: RawUpstream = "pipeline",
        /// What a user gives when starting it.
        manual: Nullable<RawManual> = "manual",
    }
}

record! {
    /// Which tags or releases start the pipeline.
    struct RawTag("this trigger") {
        /// Regular expression that a part of the tag's name must match. Default: any name.
        pattern: Text = "pattern",
    }
}

record! {
    /// Which groups of a merge queue start the pipeline.
    struct RawMergeGroup("`merge_group`") {
        /// Globs of target branch names.
        branches: OneOrMany<Text> = "branches",
    }
}

record! {
    /// Which comments start the pipeline.
    struct RawComment("`comment`") {
        /// Regular expression that a part of the comment must match; its named groups are inputs.
        pattern: Text = "pattern",
    }
}

record! {
    /// After which executions the pipeline starts.
    struct RawUpstream("`pipeline`") {
        /// Names of pipelines of the repository.
        name: OneOrMany<Text> = "name",
        /// How they must end. Default: success.
        status: StatusOfUpstream = "status",
        /// Globs of their branches.
        branches: OneOrMany<Text> = "branches",
    }
}

record! {
    /// What a user gives when starting the pipeline.
    struct RawManual("`manual`") {
        /// Inputs by name; jobs have them as variables such as `INPUT_NAME`.
        inputs: NamedValues<Nullable<RawInput>> = "inputs",
    }
}

record! {
    /// An input of the pipeline.
    struct RawInput("an input") {
        /// Type of its value. Default: string.
        kind: InputType = "type",
        /// What it means.
        description: Text = "description",
        /// Its value if none is given; without it, a user must give one.
        default: Text = "default",
        /// Possible values of a choice.
        options: OneOrMany<Text> = "options",
        /// Regular expression that a part of a string must match.
        pattern: Text = "pattern",
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
        /// Globs of target branch names.
        branches: OneOrMany<Text> = "branches",
        /// Globs of changed files.
        paths: OneOrMany<Text> = "paths",
        /// What happens to the pull request. Default: opened, reopened, synchronized, ready_for_review.
        types: OneOrMany<PullRequestType> = "types",
        /// Labels that it must have, all of them.
        labels: OneOrMany<Text> = "labels",
    }
}

record! {
    /// A schedule on which the pipeline starts.
    struct RawSchedule("a schedule") {
        /// Cron expression with five fields.
        cron: Text = "cron",
        /// IANA name of the time zone. Default: UTC.
        time_zone: Text = "time_zone",
        /// Its description, which jobs have as `CI_PIPELINE_SCHEDULE_DESCRIPTION`.
        description: Text = "description",
    }
}

record! {
    /// A file to include.
    struct RawInclude("an item of `include`") {
        /// Path of the file in the repository.
        local: Text = "local",
        /// Address of another git repository.
        git: Text = "git",
        /// Branch, tag or commit of that repository. Default: its default branch.
        reference: Text = "ref",
        /// Files of that repository.
        file: IndexedOneOrMany<Text> = "file",
        /// Values of the inputs that the files declare.
        with: NamedValues<OneOrMany<Text>> = "with",
    }
}

record! {
    /// Which executions may run at the same time.
    struct RawConcurrency("`concurrency`") {
        /// Name of the group; newer executions of a group supersede older ones of the same repository. May contain `${branch}` and `${pipeline}`.
        group: Text = "group",
        /// Whether a newer execution cancels the older ones of its group instead of waiting for them. Default: false.
        cancel_superseded: Flag = "cancel_superseded",
    }
}

record! {
    /// How many jobs of a group run at the same time, in all executions of the repository.
    struct RawJobConcurrency("`concurrency` of a job") {
        /// Name of the group. May contain references to variables, matrix keys, `${branch}` and the like.
        group: Text = "group",
        /// How many jobs of the group run at the same time, 1 to 256. Default: 1.
        limit: GroupLimit = "limit",
    }
}
