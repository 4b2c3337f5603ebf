//! The image that a job builds.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An image that a job builds from a Dockerfile, after its script if it has one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[allow(clippy::struct_excessive_bools)] // One for each key.
pub struct ImageBuild {
    /// The directory whose files the build can copy, relative to the workspace. May hold `${NAME}` references.
    pub context: String,
    /// The Dockerfile, relative to `context`. May hold `${NAME}` references.
    pub dockerfile: String,
    /// The stage of the Dockerfile to build. `None`: the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Values of the Dockerfile's `ARG`s. May hold `${NAME}` references.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub args: IndexMap<String, String>,
    /// Labels of the image. May hold `${NAME}` references.
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    pub labels: IndexMap<String, String>,
    /// The names under which the image is pushed. May hold `${NAME}` references.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Whether the image is pushed to the registries of its tags.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub push: bool,
    /// Variables of the job's secrets that `RUN --mount=type=secret` can read, by their names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    /// Whether `RUN --mount=type=ssh` can use the SSH agent of the worker.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ssh: bool,
    /// Images in a registry whose layers may be reused. May hold `${NAME}` references.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cache_from: Vec<String>,
    /// Whether the image has the data by which a later build can reuse its layers with `cache_from`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub inline_cache: bool,
    /// The platform, which must be that of the worker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// Whether base images are looked up in their registries although the engine has them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub pull: bool,
}

impl ImageBuild {
    /// Applies `put_in` to each text that may hold references.
    pub(crate) fn map_texts(&self, put_in: impl Fn(&str) -> String) -> Self {
        let all = |texts: &[String]| texts.iter().map(|text| put_in(text)).collect();
        let values = |pairs: &IndexMap<String, String>| {
            pairs.iter().map(|(name, value)| (name.clone(), put_in(value))).collect()
        };
        Self {
            context: put_in(&self.context),
            dockerfile: put_in(&self.dockerfile),
            target: self.target.as_deref().map(&put_in),
            args: values(&self.args),
            labels: values(&self.labels),
            tags: all(&self.tags),
            cache_from: all(&self.cache_from),
            platform: self.platform.as_deref().map(&put_in),
            ..self.clone()
        }
    }

    /// Returns the texts that may hold references.
    pub(crate) fn templates(&self) -> impl Iterator<Item = &String> {
        [&self.context, &self.dockerfile]
            .into_iter()
            .chain(&self.target)
            .chain(&self.platform)
            .chain(self.args.values())
            .chain(self.labels.values())
            .chain(&self.tags)
            .chain(&self.cache_from)
    }

    /// Returns the texts that hold no references, for estimates of its size.
    pub(crate) fn fixed_texts(&self) -> impl Iterator<Item = &String> {
        self.args.keys().chain(self.labels.keys()).chain(&self.secrets)
    }
}
