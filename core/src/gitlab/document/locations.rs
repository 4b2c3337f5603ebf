//! Where the files of an include from elsewhere are: addresses of components and of the web.

use std::collections::BTreeMap;

use url::Url;

use crate::execution::facts::ExternalVariables;
use crate::gitlab::variables::{Piece, pieces};
use crate::pipeline::check_inside;
use crate::pipeline::finding::quoted;
use crate::repository::{AddressError, HostName, RepositoryAddress, Scheme};

/// The directory of a repository that holds its components.
pub(super) const COMPONENTS_DIR: &str = "templates";

/// A message with advice.
type Rejection = (String, &'static str);

/// Checks the address of a file on the web.
pub(super) fn check_web_address(text: &str) -> Result<(), Rejection> {
    let shown = || quoted(crate::pipeline::compose::place::without_query(text));
    let help = "write an address that begins with https://";
    let Ok(url) = Url::parse(text) else {
        return Err((format!("{} is not an address of the web", shown()), help));
    };
    if url.scheme() != "https" {
        let message = format!("{} does not begin with https://, and could be changed on its way", shown());
        return Err((message, help));
    }
    if !url.username().is_empty() || url.password().is_some() {
        // The address is not shown, as it contains the password.
        let message = "the address of a remote include must not contain a user or a password".to_owned();
        return Err((message, "include a file that everyone can read, or use `project`"));
    }
    Ok(())
}

/// The address of a component: `host/project/component@version`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Component<'a> {
    host: &'a str,
    pub(super) project: &'a str,
    name: &'a str,
    pub(super) version: &'a str,
}

impl<'a> Component<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, Rejection> {
        let help =
            "write `host/group/project/component@version`, such as `$CI_SERVER_FQDN/group/project/build@1.0`";
        let wrong = |why: &str| (format!("{} is not the address of a component: {why}", quoted(text)), help);
        let (address, version) =
            text.rsplit_once('@').ok_or_else(|| wrong("it has no version after an `@`"))?;
        let (host, path) = address.split_once('/').ok_or_else(|| wrong("it has no project"))?;
        let (project, name) = path.rsplit_once('/').ok_or_else(|| wrong("it has no component"))?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name.starts_with('.') || !name.chars().all(is_name) {
            return Err(wrong("its last part is not the name of a component"));
        }
        if host.is_empty() || project.is_empty() || version.is_empty() {
            return Err(wrong("a part of it is empty"));
        }
        Ok(Self { host, project, name, version })
    }

    /// Returns the address of its repository: on the server of the repository itself, whose address is `own`, or on another one
    /// with https.
    pub(super) fn address(&self, own: Option<&RepositoryAddress>) -> Result<RepositoryAddress, AddressError> {
        let Self { host, project, .. } = self;
        let (name, port) = HostName::parse_with_port(host)?;
        let is_own = |own: &&RepositoryAddress| {
            let is_port = match port {
                Some(port) => port == own.port(),
                None => own.scheme() == Scheme::Ssh || own.port() == own.scheme().port(),
            };
            own.host() == &name && is_port
        };
        match own.filter(is_own) {
            Some(own) => own.sibling(project),
            None => RepositoryAddress::parse(&format!("https://{host}/{project}")),
        }
    }

    /// Returns the files that can hold it.
    pub(super) fn files(&self) -> [String; 2] {
        let directory = self.directory();
        [format!("{directory}.yml"), format!("{directory}/template.yml")]
    }

    /// Returns the path of its directory, which is that of its file without the suffix.
    pub(super) fn directory(&self) -> String {
        format!("{COMPONENTS_DIR}/{}", self.name)
    }
}

/// The variables about the repository itself.
const REPOSITORY_VARIABLES: [&str; 6] = [
    "CI_SERVER_HOST",
    "CI_SERVER_FQDN",
    "CI_PROJECT_PATH",
    "CI_PROJECT_NAME",
    "CI_PROJECT_NAMESPACE",
    "CI_PROJECT_ROOT_NAMESPACE",
];

/// The variables that are known where files are included: those that are set outside of the file.
#[derive(Clone, Copy)]
pub(super) struct KnownVariables<'a> {
    pub(super) external: &'a ExternalVariables,
    /// Whether the file comes from the web. It could send values anywhere, and has none.
    pub(super) is_public: bool,
    /// The address of the repository itself.
    pub(super) repository: Option<&'a RepositoryAddress>,
}

impl KnownVariables<'_> {
    pub(super) fn value(&self, name: &str) -> Option<String> {
        match name {
            "CI" => Some("true".to_owned()),
            "CI_CONFIG_PATH" => Some(".gitlab-ci.yml".to_owned()),
            // Its value would be shown with the path.
            _ if self.is_public || self.external.hidden.contains(name) => None,
            _ => {
                let set = self.external.values.get(name).cloned();
                set.or_else(|| repository_variable(name, self.repository?))
            }
        }
    }

    /// Returns the variables about the repository that nothing else sets.
    pub(super) fn of_repository(&self) -> BTreeMap<String, String> {
        let is_free = |name: &&str| !self.is_public && !self.external.contains(name);
        let value = |name: &str| Some((name.to_owned(), repository_variable(name, self.repository?)?));
        REPOSITORY_VARIABLES.into_iter().filter(is_free).filter_map(value).collect()
    }

    /// Returns a text with the values of its variables. `Err`: one that is not known.
    pub(super) fn expand(&self, written: &str) -> Result<String, String> {
        let mut text = String::with_capacity(written.len());
        for piece in pieces(written) {
            match piece {
                Piece::Text(literal) => text.push_str(&literal),
                Piece::Name(name) => match self.value(&name) {
                    Some(value) => text.push_str(&value),
                    None => return Err(name),
                },
            }
        }
        Ok(text)
    }
}

/// Returns the value of a variable about the repository itself, which is at `own`.
fn repository_variable(name: &str, own: &RepositoryAddress) -> Option<String> {
    let path = own.path().strip_suffix(".git").unwrap_or(own.path());
    let host = own.host().to_string();
    Some(match name {
        "CI_SERVER_HOST" => host,
        "CI_SERVER_FQDN" if own.scheme() == Scheme::Ssh || own.port() == own.scheme().port() => host,
        "CI_SERVER_FQDN" => format!("{host}:{}", own.port()),
        "CI_PROJECT_PATH" => path.to_owned(),
        "CI_PROJECT_NAME" => path.rsplit('/').next()?.to_owned(),
        "CI_PROJECT_NAMESPACE" => path.rsplit_once('/')?.0.to_owned(),
        "CI_PROJECT_ROOT_NAMESPACE" => path.split_once('/')?.0.to_owned(),
        _ => return None,
    })
}

/// Returns the directory that has all files of a pattern.
pub(super) fn directory_of(pattern: &str) -> &str {
    let before = pattern.split('*').next().unwrap_or_default();
    before.rsplit_once('/').map_or("", |(directory, _)| directory)
}

/// Returns the YAML files that match, in order.
pub(super) fn matching_files(mut files: Vec<String>, matcher: &globset::GlobSet) -> Vec<String> {
    let is_yaml = |file: &str| file.rsplit_once('.').is_some_and(|(_, end)| matches!(end, "yml" | "yaml"));
    files.retain(|file| is_yaml(file) && matcher.is_match(file));
    files.sort();
    files
}

/// Returns what matches the files of a pattern; `None` if it is not one.
pub(super) fn file_matcher(pattern: &str) -> Option<globset::GlobSet> {
    check_inside(pattern).ok()?;
    let glob = globset::GlobBuilder::new(pattern).literal_separator(true).build().ok()?;
    globset::GlobSetBuilder::new().add(glob).build().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{Component, check_web_address, repository_variable};
    use crate::repository::RepositoryAddress;

    #[test]
    fn component_is_on_the_own_server_or_on_another_one() {
        for (own, text, address) in [
            ("https://h.example/g/app.git", "h.example/g/lib/build@1.0", "https://h.example/g/lib.git"),
            ("git@h.example:g/app.git", "h.example/g/lib/build@1.0", "git@h.example:g/lib.git"),
            (
                "https://h.example:8443/g/app",
                "h.example:8443/a/b/lib/build@~latest",
                "https://h.example:8443/a/b/lib",
            ),
            ("https://h.example:8443/g/app", "h.example/g/lib/build@main", "https://h.example/g/lib"),
            ("https://h.example/g/app", "other.example/g/lib/build@1", "https://other.example/g/lib"),
        ] {
            let own = RepositoryAddress::parse(own).unwrap();
            let component = Component::parse(text).unwrap();
            assert_eq!(component.address(Some(&own)).unwrap().to_git_url(), address, "{text}");
            assert_eq!(component.files(), ["templates/build.yml", "templates/build/template.yml"]);
        }
        for text in
            ["", "h/g/lib/build", "h@1", "h/build@1", "h/g/lib/@1", "h/g/lib/..@1", "h/g/lib/b@", "/g/l/b@1"]
        {
            assert!(Component::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn web_addresses_have_https_and_no_password() {
        assert!(check_web_address("https://h.example/a.yml?x=1").is_ok());
        for text in ["http://h.example/a.yml", "ftp://h/a", "https://", "https://u:pass@h.example/a.yml"] {
            let (message, _) = check_web_address(text).unwrap_err();
            assert!(!message.contains("pass@"), "{message}");
        }
    }

    #[test]
    fn variables_of_the_repository_follow_from_its_address() {
        let own = RepositoryAddress::parse("https://h.example:8443/a/b/app.git").unwrap();
        for (name, value) in [
            ("CI_SERVER_FQDN", Some("h.example:8443")),
            ("CI_SERVER_HOST", Some("h.example")),
            ("CI_PROJECT_PATH", Some("a/b/app")),
            ("CI_PROJECT_NAMESPACE", Some("a/b")),
            ("CI_PROJECT_ROOT_NAMESPACE", Some("a")),
            ("CI_PROJECT_NAME", Some("app")),
            ("CI_COMMIT_SHA", None),
        ] {
            assert_eq!(repository_variable(name, &own).as_deref(), value, "{name}");
        }
    }
}
