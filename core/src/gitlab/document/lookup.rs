//! Finds the files that the items of `include` name.

use super::include::Loader;
use super::items::{IncludeKind, LocatedText};
use super::locations::{self, KnownVariables};
use crate::execution::predefined;
use crate::gitlab::predefined_names::is_never_set;
use crate::pipeline::compose::elsewhere::{GitSource, IncludeError};
use crate::pipeline::compose::include::include_path;
use crate::pipeline::compose::place::{IncludedFile, Place, Unreadable, Version, check_address};
use crate::pipeline::finding::{Finding, FindingLocation, Path, quoted};
use crate::repository::{AddressError, RepositoryAddress, names_same_repository};
use crate::text::diagnostics::Location;

/// The variable for the commit whose pipeline is read, as the version of an include.
const OWN_COMMIT: &str = "$CI_COMMIT_SHA";

/// The address of a repository, if it could be derived.
type Derived = Result<Result<RepositoryAddress, AddressError>, IncludeError>;

/// Whether an address is that of the repository itself.
fn is_own(address: &Derived, own: Option<&RepositoryAddress>) -> bool {
    match (address, own) {
        (Ok(Ok(address)), Some(own)) => names_same_repository(&address.to_string(), &own.to_string()),
        _ => false,
    }
}

impl<'a> Loader<'a> {
    /// Whether the version of an include is the commit whose pipeline is read. A file of the web knows no variables.
    fn is_own_commit(&self, version: &str) -> bool {
        [OWN_COMMIT, "${CI_COMMIT_SHA}"].contains(&version) && !self.is_public()
    }

    /// Returns the files that an item names. None of them exist for sure.
    pub(super) fn files_of(&mut self, kind: &IncludeKind<'_>, path: &Path) -> Vec<(IncludedFile, Location)> {
        match kind {
            IncludeKind::Local(file) => self.local(file, path),
            IncludeKind::Project { project, reference, files } => {
                self.project(project, reference.as_ref(), files, path)
            }
            IncludeKind::Remote { url, .. } => {
                let Some(address) = self.expanded(url, path) else { return Vec::new() };
                match locations::check_web_address(&address) {
                    Ok(()) => vec![(IncludedFile { place: Place::Remote, path: address }, url.location)],
                    Err((message, help)) => self.rejected(url.location, path, message, help),
                }
            }
            IncludeKind::Template(name) => {
                let Some(text) = self.expanded(name, path) else { return Vec::new() };
                match include_path(&text) {
                    Ok(file) => vec![(IncludedFile { place: Place::Template, path: file }, name.location)],
                    Err((message, help)) => self.rejected(name.location, path, message, help),
                }
            }
            IncludeKind::Component(address) => self.component(address, path),
        }
    }

    fn rejected(
        &mut self,
        location: Location,
        path: &Path,
        message: String,
        help: &str,
    ) -> Vec<(IncludedFile, Location)> {
        self.log.invalid_with_help(path, location, message, help);
        Vec::new()
    }

    /// Returns the place of the file that is being parsed.
    fn place(&self) -> Place {
        self.chain.last().map_or(Place::Repository, |file| file.place.clone())
    }

    /// Whether what the file includes must be public: the file, or one that includes it, is of the web.
    fn is_public(&self) -> bool {
        self.chain.iter().any(|file| file.place.is_public())
    }

    /// Returns the files of the repository that the path of a `local` include names.
    fn local(&mut self, written: &LocatedText<'_>, path: &Path) -> Vec<(IncludedFile, Location)> {
        let location = written.location;
        let place = self.place();
        if !place.is_repository() {
            let from = self.chain.last().map(IncludedFile::label).unwrap_or_default();
            let message =
                format!("`local` names a file of the same repository, and {} is not in one", quoted(&from));
            let help = "include the file with `project`, `remote` or `template`";
            return self.rejected(location, path, message, help);
        }
        let Some(text) = self.expanded(written, path) else { return Vec::new() };
        let paths = if text.contains('*') {
            self.matching(&place, &text, location, path)
        } else {
            match include_path(&text) {
                Ok(file) => vec![file],
                Err((message, help)) => return self.rejected(location, path, message, help),
            }
        };
        let file = |path| (IncludedFile { place: place.clone(), path }, location);
        paths.into_iter().map(file).collect()
    }

    /// Returns the files of another project of the same git server.
    fn project(
        &mut self,
        project: &LocatedText<'_>,
        reference: Option<&LocatedText<'_>>,
        files: &[LocatedText<'_>],
        path: &Path,
    ) -> Vec<(IncludedFile, Location)> {
        let Some(name) = self.expanded(project, path) else { return Vec::new() };
        let is_own_commit = reference.is_some_and(|written| self.is_own_commit(written.text));
        let reference = match reference {
            None => None,
            Some(_) if is_own_commit => Some(OWN_COMMIT.to_owned()),
            Some(written) => match self.expanded(written, path) {
                Some(reference) => Some(reference),
                None => return Vec::new(),
            },
        };
        let own = self.reader.sources().repository();
        let address = own.ok_or(IncludeError::NoServer).map(|own| own.sibling(&name));
        let place = if is_own_commit && is_own(&address, own) {
            Some(Place::Repository)
        } else {
            let version = Version::Reference(reference.as_deref());
            self.git(address, &name, version, project.location, path)
        };
        let Some(place) = place else { return Vec::new() };
        let mut all = Vec::new();
        for written in files {
            let Some(text) = self.expanded(written, path) else { return Vec::new() };
            match include_path(&text) {
                Ok(path) => all.push((IncludedFile { place: place.clone(), path }, written.location)),
                Err((message, help)) => return self.rejected(written.location, path, message, help),
            }
        }
        all
    }

    /// Returns the file of a component.
    fn component(&mut self, written: &LocatedText<'_>, path: &Path) -> Vec<(IncludedFile, Location)> {
        let location = written.location;
        let versioned = written.text.rsplit_once('@').filter(|(_, version)| self.is_own_commit(version));
        let is_own_commit = versioned.is_some();
        let text = match versioned {
            Some((address, _)) => self
                .expanded(&LocatedText { text: address, location }, path)
                .map(|address| format!("{address}@{OWN_COMMIT}")),
            None => self.expanded(written, path),
        };
        let Some(text) = text else { return Vec::new() };
        let component = match locations::Component::parse(&text) {
            Ok(component) => component,
            Err((message, help)) => return self.rejected(location, path, message, help),
        };
        let own = self.reader.sources().repository();
        let address: Derived = Ok(component.address(own));
        let place = if is_own_commit && is_own(&address, own) {
            Some(Place::Repository)
        } else {
            self.git(address, component.project, Version::Component(component.version), location, path)
        };
        let Some(place) = place else { return Vec::new() };
        let files = match self.reader.list(&place, locations::COMPONENTS_DIR) {
            Ok(files) => files,
            Err(error) => {
                self.unreadable(&error, &text, location, path);
                return Vec::new();
            }
        };
        let Some(path) = component.files().into_iter().find(|file| files.contains(file)) else {
            let error = IncludeError::NoComponent(component.directory());
            self.unreadable(&error.into(), &text, location, path);
            return Vec::new();
        };
        vec![(IncludedFile { place, path }, location)]
    }

    /// Returns the place of a repository at a version. `name` is that of the repository, for messages.
    fn git(
        &mut self,
        address: Derived,
        name: &str,
        version: Version<'_>,
        location: Location,
        path: &Path,
    ) -> Option<Place> {
        let own = self.reader.sources().repository();
        let address = match address {
            Ok(Ok(address)) => check_address(&address, own).map(|()| address).map_err(str::to_owned),
            Ok(Err(error)) => Err(error.to_string()),
            Err(error) => {
                self.unreadable(&error.into(), name, location, path);
                return None;
            }
        };
        let address = match address {
            Ok(address) => address,
            Err(message) => {
                let message = format!("{} is not a project: {message}", quoted(name));
                let help = "write the path of the project on its server, such as `group/project`";
                self.rejected(location, path, message, help);
                return None;
            }
        };
        let source = GitSource { address, is_public: self.is_public() };
        match self.reader.git(source, name, version) {
            Ok(place) => Some(place),
            Err(error) => {
                self.unreadable(&error.into(), name, location, path);
                None
            }
        }
    }

    /// Returns a text of an item with the values of its variables.
    fn expanded(&mut self, written: &LocatedText<'_>, path: &Path) -> Option<String> {
        match self.variables().expand(written.text) {
            Ok(text) => Some(text),
            Err(name) => {
                let why = if predefined::is_predefined(&name) || is_never_set(&name) {
                    "it is not among the predefined ones that are"
                } else {
                    "variables of the file are not, as in GitLab"
                };
                let message = format!("`${name}` is not known where files are included: {why}");
                let help = format!(
                    "write the path itself, or set the variable for the repository (`tidemill variable set {name}`) or one run (`-e`)"
                );
                self.log.invalid_with_help(path, written.location, message, &help);
                None
            }
        }
    }

    /// Returns the variables that are known in the file that is being parsed.
    pub(super) fn variables(&self) -> KnownVariables<'a> {
        let repository = self.reader.sources().repository();
        KnownVariables { external: &self.settings.external, is_public: self.is_public(), repository }
    }

    /// Returns the paths of the files that a pattern matches.
    fn matching(&mut self, place: &Place, pattern: &str, location: Location, path: &Path) -> Vec<String> {
        let literal = pattern.strip_prefix("./").or_else(|| pattern.strip_prefix('/')).unwrap_or(pattern);
        let Some(matcher) = locations::file_matcher(literal) else {
            self.log.invalid(path, location, format!("{} is not a pattern of files", quoted(pattern)));
            return Vec::new();
        };
        match self.reader.list(place, locations::directory_of(literal)) {
            Ok(files) => {
                let files = locations::matching_files(files, &matcher);
                if files.is_empty() {
                    let message = format!("{} matches no file of the repository", quoted(pattern));
                    let location = FindingLocation::Position(path.clone(), location);
                    let finding = Finding::error("include-unreadable", location, message);
                    self.log.findings.push(finding.help("paths are those of the repository, from its top"));
                }
                files
            }
            Err(error) => {
                self.unreadable(&error, pattern, location, path);
                Vec::new()
            }
        }
    }

    pub(super) fn unreadable(&mut self, error: &Unreadable, label: &str, location: Location, path: &Path) {
        let location = FindingLocation::Position(path.clone(), location);
        self.log.findings.push(error.finding(label, location));
    }
}
