//! The configuration of an image, as far as it matters for the containers of jobs.

use bollard::models::ImageInspect;
use std::path::{Component, Path, PathBuf};
use tidemill_core::execution::predefined::WORKSPACE_DIR;

/// The configuration of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// The image's id.
    pub id: String,
    /// The user of its containers, `user` or `user:group`; empty: root.
    pub user: String,
    /// The words of its entry point.
    pub entrypoint: Vec<String>,
    /// Its volumes below the workspace, as paths relative to it.
    pub workspace_volumes: Vec<PathBuf>,
    /// Operating system, architecture and variant; the variant may be empty.
    platform: [String; 3],
}

impl ImageConfig {
    /// Whether the image is for `platform`, `os/architecture` or `os/architecture/variant`.
    pub fn is_for(&self, platform: &str) -> bool {
        let mut parts = platform.split('/');
        let mut matches = |own: &str| parts.next().is_some_and(|part| normalize(part) == normalize(own));
        let [os, architecture, variant] = &self.platform;
        // Engines leave a usual variant out, such as the v8 of arm64.
        matches(os)
            && matches(architecture)
            && (variant.is_empty() || parts.next().is_none_or(|it| it == variant))
    }

    /// Its platform, for messages.
    pub fn platform(&self) -> String {
        let parts = self.platform.iter().filter(|part| !part.is_empty());
        parts.map(String::as_str).collect::<Vec<_>>().join("/")
    }
}

impl From<ImageInspect> for ImageConfig {
    fn from(image: ImageInspect) -> Self {
        let config = image.config.unwrap_or_default();
        let volumes = config.volumes.unwrap_or_default();
        let platform = [image.os, image.architecture, image.variant].map(Option::unwrap_or_default);
        Self {
            id: image.id.unwrap_or_default(),
            user: config.user.unwrap_or_default(),
            entrypoint: config.entrypoint.unwrap_or_default(),
            workspace_volumes: volumes.iter().filter_map(|path| below_workspace(path)).collect(),
            platform,
        }
    }
}

/// Returns other names of an architecture as the engine's.
fn normalize(architecture: &str) -> &str {
    match architecture {
        "x86_64" | "x86-64" => "amd64",
        "aarch64" => "arm64",
        "armhf" => "arm",
        other => other,
    }
}

/// Returns `path` relative to the workspace, if it is below it.
fn below_workspace(path: &str) -> Option<PathBuf> {
    let below = Path::new(path).strip_prefix(WORKSPACE_DIR).ok()?;
    let is_plain = below.components().all(|part| matches!(part, Component::Normal(_)));
    // The engine's notation of mounts has no way to write a colon.
    (is_plain && below != Path::new("") && !path.contains(':')).then(|| below.components().collect())
}

#[cfg(test)]
mod tests {
    use super::{ImageConfig, below_workspace};
    use bollard::models::ImageInspect;
    use std::path::PathBuf;

    #[test]
    fn platform_is_compared_by_its_parts() {
        let image = |architecture: &str, variant: &str| {
            ImageConfig::from(ImageInspect {
                os: Some("linux".into()),
                architecture: Some(architecture.into()),
                variant: Some(variant.into()),
                ..Default::default()
            })
        };
        assert!(image("amd64", "").is_for("linux/amd64") && image("amd64", "").is_for("linux/x86_64"));
        assert!(image("arm64", "").is_for("linux/arm64/v8") && image("arm64", "v8").is_for("linux/aarch64"));
        assert!(!image("amd64", "").is_for("linux/arm64") && !image("amd64", "").is_for("windows/amd64"));
        assert!(!image("arm", "v6").is_for("linux/arm/v7") && !image("amd64", "").is_for("linux"));
        assert_eq!(image("arm", "v6").platform(), "linux/arm/v6");
    }

    #[test]
    fn only_volumes_below_the_workspace_are_kept() {
        assert_eq!(below_workspace("/workspace/a/b/"), Some(PathBuf::from("a/b")));
        for other in
            ["/workspace", "/workspace/", "/data", "/workspaces/a", "/workspace/../etc", "/workspace/a:b"]
        {
            assert_eq!(below_workspace(other), None, "{other}");
        }
    }
}
