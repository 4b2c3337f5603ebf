//! The record of `build`.

use super::collections::{NamedValues, OneOrMany};
use super::field::{Field, Read, Reader, Record, read_record, record};
use super::scalars::{Flag, Text};
use crate::pipeline::finding::Trail;
use crate::pipeline::yaml::tree::Node;

record! {
    /// An image to build from a Dockerfile with the BuildKit of the worker's engine.
    struct RawBuild("`build`") {
        /// Directory of the workspace whose files the build can copy. Default: the workspace.
        context: Text = "context",
        /// Path of the Dockerfile, relative to `context`. Default: Dockerfile.
        dockerfile: Text = "dockerfile",
        /// Stage of the Dockerfile to build. Default: the last one.
        target: Text = "target",
        /// Values of the `ARG`s of the Dockerfile.
        args: NamedValues<Text> = "args",
        /// Labels of the image.
        labels: NamedValues<Text> = "labels",
        /// Names under which to push the image.
        tags: OneOrMany<Text> = "tags",
        /// Whether to push the image under its `tags`. Default: false.
        push: Flag = "push",
        /// Secrets of the job, by their variables, that `RUN --mount=type=secret,id=NAME` can read.
        secrets: OneOrMany<Text> = "secrets",
        /// Whether `RUN --mount=type=ssh` can use the SSH agent of the worker, as far as it allows it. Default: false.
        ssh: Flag = "ssh",
        /// Images whose layers may be reused if they were built with `inline_cache`.
        cache_from: OneOrMany<Text> = "cache_from",
        /// Whether to add to the image what `cache_from` of a later build needs. Default: false.
        inline_cache: Flag = "inline_cache",
        /// Platform of the image, such as `linux/amd64`; it must be that of the worker.
        platform: Text = "platform",
        /// Whether to look up base images in their registries although the engine has them. Default: false.
        pull: Flag = "pull",
    }
}
