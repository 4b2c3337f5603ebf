//! Options of a job: services, caches, secrets, environment.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::artifacts::ArtifactsWhen;
use super::build::ImageBuild;
use super::checkout::Checkout;
use super::child::ChildPipeline;
use super::concurrency::JobConcurrency;
use super::container::ContainerOptions;
use super::environment::Environment;
use super::host_names::image_names;
use super::image::PullPolicy;
use std::collections::HashSet;

/// Options of a job besides its script.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobOptions {
    /// Shell commands that run after the script in a separate shell, whatever its outcome; their exit code is ignored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after_script: Vec<String>,
    /// Containers that run alongside it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<Service>,
    /// Files that are kept between executions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub caches: Vec<Cache>,
    /// Secrets that are available to it; no others are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretRef>,
    /// Whether all secrets of its repository are available to it, each in the variable of its name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all_secrets: bool,
    /// Where it deploys to, or what it stops.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Environment>,
    /// The pattern that extracts the test coverage from the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coverage: Option<String>,
    /// Globs of files with lines `NAME=value`: variables of the jobs that need this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<String>,
    /// What it asks of its container.
    #[serde(default, skip_serializing_if = "ContainerOptions::is_empty")]
    pub container: ContainerOptions,
    /// How its sources are checked out.
    #[serde(default, skip_serializing_if = "is_default")]
    pub checkout: Checkout,
    /// The image that it builds. In a box, as most jobs build none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<Box<ImageBuild>>,
    /// The group of which only some jobs run at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<JobConcurrency>,
    /// The pipeline that it starts. In a box, as most jobs start none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub child: Option<Box<ChildPipeline>>,
    /// The ID tokens that it gets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub id_tokens: Vec<IdTokenRequest>,
}

fn is_default(checkout: &Checkout) -> bool {
    *checkout == Checkout::default()
}

impl JobOptions {
    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the job waits for the end of a pipeline that it starts.
    #[must_use]
    pub fn waits_for_child(&self) -> bool {
        self.child.as_ref().is_some_and(|child| child.waits)
    }

    /// Whether the job hands variables to others: those that it names, or those about the image that it builds.
    #[must_use]
    pub fn provides_outputs(&self) -> bool {
        !self.outputs.is_empty() || self.build.is_some()
    }

    /// Replaces the images of the services, and adds the host names that these give to them.
    pub(crate) fn name_services(&mut self, images: impl Iterator<Item = String>) {
        for (service, image) in self.services.iter_mut().zip(images) {
            service.image = image;
        }
        add_image_names(&mut self.services);
    }

    /// Applies `put_in` to each text that may hold references, and adds the host names that images give to services.
    pub(crate) fn map_texts(&self, put_in: impl Fn(&str) -> String) -> Self {
        let service = |service: &Service| Service {
            image: put_in(&service.image),
            user: service.user.as_deref().map(&put_in),
            platform: service.platform.as_deref().map(&put_in),
            ..service.clone()
        };
        let cache = |cache: &Cache| Cache {
            key: put_in(&cache.key),
            fallback_keys: cache.fallback_keys.iter().map(|key| put_in(key)).collect(),
            policy: cache
                .policy_reference
                .as_deref()
                .and_then(|reference| CachePolicy::named(&put_in(reference)))
                .unwrap_or(cache.policy),
            policy_reference: None,
            ..cache.clone()
        };
        let environment = |to: &Environment| Environment {
            name: put_in(&to.name),
            url: to.url.as_deref().map(&put_in),
            auto_stop_in_reference: to.auto_stop_in_reference.as_deref().map(&put_in),
            ..to.clone()
        };
        let mut services: Vec<Service> = self.services.iter().map(service).collect();
        add_image_names(&mut services);
        Self {
            after_script: self.after_script.clone(),
            services,
            caches: self.caches.iter().map(cache).collect(),
            secrets: self.secrets.clone(),
            all_secrets: self.all_secrets,
            environment: self.environment.as_ref().map(environment),
            coverage: self.coverage.clone(),
            outputs: self.outputs.clone(),
            container: self.container.clone(),
            checkout: self.checkout.clone(),
            build: self.build.as_ref().map(|build| Box::new(build.map_texts(&put_in))),
            concurrency: self
                .concurrency
                .as_ref()
                .map(|one| JobConcurrency { group: put_in(&one.group), limit: one.limit }),
            child: self.child.as_ref().map(|child| Box::new(child.map_texts(&put_in))),
            id_tokens: self
                .id_tokens
                .iter()
                .map(|token| IdTokenRequest {
                    variable: token.variable.clone(),
                    aud: token.aud.iter().map(|text| put_in(text)).collect(),
                })
                .collect(),
        }
    }
}

/// A container that runs alongside a job, on its network, for as long as the job runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Service {
    /// The image. May hold `${NAME}` references like the job's.
    pub image: String,
    /// Host names under which the job and its other services reach it: those that the file gives it, and once planned those of
    /// its image.
    #[serde(default)]
    pub alias: Vec<String>,
    /// Its environment variables. Those of the job are passed to it, too, if the job gets all secrets.
    #[serde(default)]
    pub variables: IndexMap<String, String>,
    /// Overrides the command of the image.
    #[serde(default)]
    pub command: Option<Vec<String>>,
    /// Overrides the entry point of the image.
    #[serde(default)]
    pub entrypoint: Option<Vec<String>>,
    /// Readiness check. `None`: the ports that the image exposes accept connections, or its health check passes; without both,
    /// that it runs.
    #[serde(default)]
    pub health: Option<Health>,
    /// How long the script waits for it to be ready, in seconds.
    pub ready_within_s: u64,
    /// Whether the job fails if it ends, or is not ready in time, before the script starts. Otherwise that is a warning.
    #[serde(default)]
    pub required: bool,
    /// The user, and optionally the group, of its processes. `None`: the image's. May hold `${NAME}` references.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The variant of the image: `os/architecture` or `os/architecture/variant`. May hold `${NAME}` references.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// When the image is pulled. `None`: as the job's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_policy: Option<PullPolicy>,
    /// What it asks of its container.
    #[serde(default, skip_serializing_if = "ContainerOptions::is_empty")]
    pub container: ContainerOptions,
}

/// Readiness check of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// This shell command, run in the service's container, exits with 0.
    Command(String),
    /// This TCP port accepts connections.
    Port(u16),
}

/// Files that are kept between executions, as far as they are still there: a miss is no failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cache {
    /// The key's text. May hold `${branch}`, `${job}` and `${NAME}` references; with `key_files` it is the prefix.
    pub key: String,
    /// Files of the sources whose content is part of the key.
    #[serde(default)]
    pub key_files: Vec<String>,
    /// Keys to try, in order, when there is no cache under the key.
    #[serde(default)]
    pub fallback_keys: Vec<String>,
    /// Paths and globs, relative to the sources.
    pub paths: Vec<String>,
    /// Whether it is downloaded before the script, uploaded after it, or both.
    #[serde(default)]
    pub policy: CachePolicy,
    /// After which outcomes of the job it is uploaded.
    #[serde(default)]
    pub when: ArtifactsWhen,
    /// The reference, `${NAME}`, whose value is the policy instead; not in a plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_reference: Option<String>,
}

/// What a job does with a cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CachePolicy {
    /// Download it before the script and upload it after the script.
    #[default]
    PullPush,
    /// Only download it.
    Pull,
    /// Only upload it.
    Push,
}

impl CachePolicy {
    /// All policies with their names in pipeline files.
    pub const ALL: [(&'static str, Self); 3] =
        [("pull-push", Self::PullPush), ("pull", Self::Pull), ("push", Self::Push)];

    /// Returns the policy of this name.
    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, policy)| policy)
    }

    /// Whether it is downloaded before the script.
    #[must_use]
    pub const fn pulls(self) -> bool {
        matches!(self, Self::PullPush | Self::Pull)
    }

    /// Whether it is uploaded after the script.
    #[must_use]
    pub const fn pushes(self) -> bool {
        matches!(self, Self::PullPush | Self::Push)
    }
}

/// The maximum number of secrets of one job.
pub const MAX_SECRETS: usize = 100;

/// A secret that is available to a job.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct SecretRef {
    /// The secret's name in the repository's store.
    pub name: String,
    /// The environment variable that holds it.
    pub variable: String,
    /// Whether the variable holds the path of a file with the value, not the value itself.
    #[serde(default)]
    pub file: bool,
}

/// Adds to each service the host names that its image gives it, as far as no service before it has them. A name that a file
/// gives to a service is never another one's by its image.
pub(crate) fn add_image_names(services: &mut [Service]) {
    let mut taken: HashSet<String> =
        services.iter().flat_map(|service| &service.alias).map(|alias| alias.to_ascii_lowercase()).collect();
    for service in services {
        for name in image_names(&service.image) {
            if taken.insert(name.clone()) {
                service.alias.push(name);
            }
        }
    }
}

/// Maximum number of ID tokens of a job, and of audiences of one.
pub const MAX_ID_TOKENS: usize = 10;

/// Maximum length of an audience in bytes.
pub const MAX_AUDIENCE_LEN: usize = 500;

/// An ID token that a job asks for: the server signs it when the job starts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct IdTokenRequest {
    /// The environment variable that holds it.
    pub variable: String,
    /// For whom it is. Each may hold `${NAME}` references that are known when the execution is planned.
    pub aud: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::{Service, add_image_names};

    fn service(image: &str, alias: &[&str]) -> Service {
        Service {
            image: image.into(),
            alias: alias.iter().map(|&name| name.into()).collect(),
            ..Service::default()
        }
    }

    #[test]
    fn alias_of_a_service_wins_over_the_image_name_of_another() {
        let mut services = [
            service("redis:7", &["cache"]),
            service("bb:1", &["Redis"]),
            service("bb:2", &[]),
            service("bb:3", &["x"]),
        ];
        add_image_names(&mut services);
        let names: Vec<Vec<String>> = services.into_iter().map(|service| service.alias).collect();
        assert_eq!(names, [vec!["cache"], vec!["Redis", "bb"], vec![], vec!["x"]]);
    }
}
