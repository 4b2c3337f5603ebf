//! Host names of services.

use std::collections::HashSet;

use super::surroundings::Service;
use crate::pipeline::names;

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

/// Host names derived from the name of an image, as in GitLab: `registry/a/b:1` is `registry__a__b` and `registry-a-b`; also the
/// same without the registry's host, and the last part. Empty if the name of the image has references.
pub(crate) fn image_names(image: &str) -> Vec<String> {
    let named = image.split('@').next().unwrap_or_default();
    let last = named.rfind('/').map_or(0, |at| at + 1);
    let repository = named[last..].find(':').map_or(named, |at| &named[..last + at]);
    if repository.contains('$') {
        return Vec::new();
    }
    let mut parts: Vec<&str> = repository.split('/').collect();
    let mut all: Vec<String> = Vec::new();
    let mut add = |name: String| {
        let name = name.to_ascii_lowercase();
        if names::check_host(&name).is_ok() && !all.contains(&name) {
            all.push(name);
        }
    };
    if parts.len() > 1 && (parts[0].contains(['.', ':']) || parts[0] == "localhost") {
        parts[0] = parts[0].split(':').next().unwrap_or_default();
        add(parts.join("-"));
        add(parts.join("__"));
        parts.remove(0);
    }
    add(parts.join("-"));
    add(parts.join("__"));
    add(parts.last().copied().unwrap_or_default().to_owned());
    all
}

#[cfg(test)]
mod tests {
    use super::{add_image_names, image_names};
    use crate::pipeline::model::Service;

    fn service(image: &str, alias: &[&str]) -> Service {
        Service {
            image: image.into(),
            alias: alias.iter().map(|&name| name.into()).collect(),
            ..Service::default()
        }
    }

    #[test]
    fn image_gives_the_names_of_gitlab_and_its_last_part() {
        assert_eq!(image_names("postgres:17"), ["postgres"]);
        assert_eq!(
            image_names("registry.example.org:5000/team/db@sha256:0"),
            ["registry.example.org-team-db", "registry.example.org__team__db", "team-db", "team__db", "db"]
        );
        assert_eq!(image_names("tutum/wordpress"), ["tutum-wordpress", "tutum__wordpress", "wordpress"]);
        assert!(image_names("${IMAGE}").is_empty() && image_names("a/$X:1").is_empty());
        assert!(image_names("localhost:1").is_empty(), "a service never takes the job's own name");
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
