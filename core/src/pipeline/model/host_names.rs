//! Host names of services.

use crate::pipeline::names;

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
    use super::image_names;

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
}
