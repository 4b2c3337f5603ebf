//! The variables about the repository of an execution.

use super::server;
use crate::execution::facts::Facts;
use crate::repository::{RepositoryAddress, RepositoryName, canonical_name};
use crate::text::slug::slug;
use indexmap::IndexMap;
use sha2::{Digest, Sha256};

/// Sets the variables about the repository and its registry of images.
pub(super) fn set_project(facts: &Facts, all: &mut IndexMap<String, String>) {
    if facts.repo.is_empty() {
        return;
    }
    let Project { namespace, name, path, url } = Project::new(&facts.repo);
    let root = namespace.split('/').next().unwrap_or_default().to_owned();
    if let Some(registry) = &facts.registry {
        // An image's name has no uppercase letters.
        let is_host = !registry.contains('/');
        let image = if is_host { format!("{registry}/{}", path.to_lowercase()) } else { registry.clone() };
        all.insert("CI_REGISTRY".to_owned(), registry.split('/').next().unwrap_or_default().to_owned());
        all.insert("CI_REGISTRY_IMAGE".to_owned(), image);
    }
    let id = project_id(&facts.repo).to_string();
    let pairs = [
        ("CI_PROJECT_ID", id),
        ("CI_PROJECT_NAME", name.clone()),
        ("CI_PROJECT_TITLE", name),
        ("CI_PROJECT_NAMESPACE_SLUG", slug(&namespace)),
        ("CI_PROJECT_NAMESPACE", namespace),
        ("CI_PROJECT_ROOT_NAMESPACE", root),
        ("CI_PROJECT_PATH_SLUG", slug(&path)),
        ("CI_PROJECT_PATH", path),
        ("CI_REPOSITORY_URL", facts.repo.clone()),
    ];
    all.extend(pairs.into_iter().map(|(name, value)| (name.to_owned(), value)));
    all.extend(url.map(|url| ("CI_PROJECT_URL".to_owned(), url)));
    if let Ok(address) = RepositoryAddress::parse(&facts.repo) {
        all.extend(server::variables(&address).map(|(name, value)| (name.to_owned(), value)));
    }
}

/// A repository in GitLab's terms.
struct Project {
    /// Its group; empty for a directory.
    namespace: String,
    name: String,
    /// Group and name.
    path: String,
    /// The address of its page: that of the host and the path, as most providers have it.
    url: Option<String>,
}

impl Project {
    fn new(repo: &str) -> Self {
        let (namespace, name) = project(repo);
        let path = if namespace.is_empty() { name.clone() } else { format!("{namespace}/{name}") };
        let url =
            RepositoryAddress::parse(repo).ok().map(|address| format!("{}/{path}", server::url(&address)));
        Self { namespace, name, path, url }
    }
}

/// Returns a positive number that stands for the repository, however its address is written.
pub(super) fn project_id(repo: &str) -> u32 {
    let digest = Sha256::digest(canonical_name(repo).as_bytes());
    let number = digest.iter().take(4).fold(0_u32, |number, byte| (number << 8) | u32::from(*byte));
    (number & 0x7fff_ffff).max(1)
}

/// Returns the group and the name of a repository: those of `https://host/group/name.git` and of `host:group/name`. A
/// directory has no group.
pub(super) fn project(repo: &str) -> (String, String) {
    let last = |path: &str| (String::new(), path.rsplit('/').next().unwrap_or(path).to_owned());
    match RepositoryName::parse(repo) {
        Ok(RepositoryName::Network(name)) => {
            let path = name.split_once('/').map_or(name.as_str(), |(_, path)| path);
            let (group, name) = path.rsplit_once('/').unwrap_or(("", path));
            (group.to_owned(), name.to_owned())
        }
        Ok(RepositoryName::Directory(path)) => last(&path),
        Ok(RepositoryName::Label(label)) => last(&label),
        Err(_) => last(repo),
    }
}
