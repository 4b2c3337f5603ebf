//! How a container uses its image.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The name that stands for no image: the job runs as a plain process of its worker's machine.
pub const NO_IMAGE: &str = "none";

/// Overrides of an image's own settings; what is absent is as in the image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct ImageOptions {
    /// Overrides the entry point of the image. Empty: none, the shell starts directly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entrypoint: Option<Vec<String>>,
    /// The user, and optionally the group, of the container's processes: `name`, `uid`, `uid:gid`. May hold `${NAME}` references.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The variant of the image: `os/architecture` or `os/architecture/variant`. May hold `${NAME}` references.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
}

impl ImageOptions {
    /// Whether it overrides nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Applies `put_in` to each text that may hold references.
    pub(crate) fn map_texts(&self, put_in: impl Fn(&str) -> String) -> Self {
        Self {
            entrypoint: self.entrypoint.clone(),
            user: self.user.as_deref().map(&put_in),
            platform: self.platform.as_deref().map(&put_in),
        }
    }
}

/// Whether an image is one with a Docker engine: its name says `dind`, or the tag of a `docker` image does.
#[must_use]
pub fn is_docker_engine(image: &str) -> bool {
    let name = image.rsplit('/').next().unwrap_or_default().split('@').next().unwrap_or_default();
    let (name, tag) = name.split_once(':').unwrap_or((name, ""));
    let has_part = |text: &str| text.split(['-', '_', '.']).any(|part| part == "dind");
    has_part(name) || (name.contains("docker") && has_part(tag))
}

/// When an image is pulled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PullPolicy {
    /// Only when the engine does not have the image yet.
    #[default]
    IfNotPresent,
    /// Before every job.
    Always,
    /// Before every job; if that fails, the image that the engine has is used.
    AlwaysOrPresent,
    /// Never: the job fails when the engine does not have the image.
    Never,
}

#[cfg(test)]
mod tests {
    use super::is_docker_engine;

    #[test]
    fn docker_engine_is_known_by_the_name_of_its_image() {
        for image in [
            "docker:dind",
            "docker:27-dind",
            "r.example.org:5000/docker:27.1-dind-rootless",
            "team/dind:1",
            "a/docker-dind",
        ] {
            assert!(is_docker_engine(image), "{image}");
        }
        for image in
            ["docker:27", "docker", "dind/app:1", "blinding:1", "app:dind", "postgres:17@sha256:00dind"]
        {
            assert!(!is_docker_engine(image), "{image}");
        }
    }
}
