//! What a job may have around its script: services, caches, secrets, an environment, test reports.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::model::ArtifactsWhen;

/// What a job has around its script.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Surroundings {
    /// Shell lines that run after the script in a shell of their own, however it ended; their end does not count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after_script: Vec<String>,
    /// Containers that run beside it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<Service>,
    /// Files that are kept from one execution to the next.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub caches: Vec<Cache>,
    /// Secrets that it gets; it gets no others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretUse>,
    /// Where it deploys to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// The pattern that finds the share of covered lines in what its script prints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage: Option<String>,
}

impl Surroundings {
    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The same, each text that may hold references replaced by what `put_in` makes of it.
    pub(crate) fn with_texts(&self, put_in: impl Fn(&str) -> String) -> Self {
        let service = |service: &Service| Service { image: put_in(&service.image), ..service.clone() };
        let cache = |cache: &Cache| Cache {
            key: put_in(&cache.key),
            fallback_keys: cache.fallback_keys.iter().map(|key| put_in(key)).collect(),
            ..cache.clone()
        };
        let environment =
            |to: &Environment| Environment { name: put_in(&to.name), url: to.url.as_deref().map(&put_in) };
        Self {
            after_script: self.after_script.clone(),
            services: self.services.iter().map(service).collect(),
            caches: self.caches.iter().map(cache).collect(),
            secrets: self.secrets.clone(),
            environment: self.environment.as_ref().map(environment),
            coverage: self.coverage.clone(),
        }
    }
}

/// A container that runs beside a job, on its network, for as long as the job runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Service {
    /// The image. May hold `${NAME}` references like the job's.
    pub image: String,
    /// The names that the job reaches it by; never empty once checked.
    pub alias: Vec<String>,
    /// Its environment variables; it gets none of the job's.
    #[serde(default)]
    pub variables: IndexMap<String, String>,
    /// In place of the image's command.
    #[serde(default)]
    pub command: Option<Vec<String>>,
    /// In place of the image's entry point.
    #[serde(default)]
    pub entrypoint: Option<Vec<String>>,
    /// How to tell that it is ready. `None`: by the image's own health check, or, without one, once it runs.
    #[serde(default)]
    pub health: Option<Health>,
    /// How long the script waits for it to be ready, in seconds.
    pub ready_within_s: u64,
}

/// How a service is asked whether it is ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// This shell command, run in the service's container, ends with 0.
    Command(String),
    /// Something accepts connections at this TCP port.
    Port(u16),
}

/// Files that are kept from one execution to the next, as far as they are still there: a miss is no failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cache {
    /// The key's text. May hold `${branch}`, `${job}` and `${NAME}` references; with `key_files` it is the prefix.
    pub key: String,
    /// Files of the sources whose content is part of the key; at most two globs are usual, all count.
    #[serde(default)]
    pub key_files: Vec<String>,
    /// Keys to fall back to, in order, when nothing is kept under the key.
    #[serde(default)]
    pub fallback_keys: Vec<String>,
    /// Paths and globs below the sources that are kept.
    pub paths: Vec<String>,
    /// Whether it is fetched before the script, kept after it, or both.
    #[serde(default)]
    pub policy: CachePolicy,
    /// After which ends of the job it is kept.
    #[serde(default)]
    pub when: ArtifactsWhen,
}

/// What a job does with a cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CachePolicy {
    /// Fetches it before the script, and keeps it after.
    #[default]
    PullPush,
    /// Only fetches it.
    Pull,
    /// Only keeps it.
    Push,
}

impl CachePolicy {
    /// Whether it is fetched before the script.
    #[must_use]
    pub const fn pulls(self) -> bool {
        matches!(self, Self::PullPush | Self::Pull)
    }

    /// Whether it is kept after the script.
    #[must_use]
    pub const fn pushes(self) -> bool {
        matches!(self, Self::PullPush | Self::Push)
    }
}

/// The most secrets of one job.
pub const MOST_SECRETS: usize = 100;

/// A secret that a job gets.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct SecretUse {
    /// The secret's name in the repository's store.
    pub name: String,
    /// The environment variable that it comes in.
    pub variable: String,
    /// Whether the variable holds the path of a file with the value, not the value itself.
    #[serde(default)]
    pub file: bool,
}

/// Where a job deploys to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Environment {
    /// Its name; chooses among the repository's secrets. May hold `${NAME}` references.
    pub name: String,
    /// Where it can be looked at.
    #[serde(default)]
    pub url: Option<String>,
}

/// Files of a job that say more than files: read by the worker when the script is over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Reports {
    /// Globs of JUnit XML files.
    #[serde(default)]
    pub junit: Vec<String>,
}

impl Reports {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.junit.is_empty()
    }
}
