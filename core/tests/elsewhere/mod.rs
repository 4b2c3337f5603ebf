//! Files from elsewhere, in memory.
#![allow(dead_code)] // Not every test uses all of it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use tidemill_core::pipeline::{
    FileError, GitSource, IncludeError, IncludeSources, PipelineErrors, RepositoryFiles, RepositoryRefs,
};
use tidemill_core::repository::RepositoryAddress;

/// Files of the repository, of other repositories, of the web, and templates.
#[derive(Default)]
pub struct Elsewhere {
    pub own: Option<RepositoryAddress>,
    pub local: BTreeMap<String, String>,
    /// By address, commit and path.
    pub git: BTreeMap<(String, String, String), String>,
    pub refs: BTreeMap<String, RepositoryRefs>,
    /// Repositories that need a credential.
    pub private: Vec<String>,
    pub web: BTreeMap<String, String>,
    pub templates: BTreeMap<String, String>,
    /// What was asked for, in order.
    pub requests: RefCell<Vec<String>>,
}

/// The hash of a commit.
pub fn commit(digit: char) -> String {
    digit.to_string().repeat(40)
}

impl Elsewhere {
    /// The files of `https://git.example/group/app` with its pipeline's files.
    pub fn new(local: &[(&str, &str)]) -> Self {
        let own = RepositoryAddress::parse("https://git.example/group/app").ok();
        let local = local.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        Self { own, local, ..Self::default() }
    }

    /// Adds a commit of a repository with refs: `tag:NAME`, `branch:NAME` or `HEAD`.
    #[must_use]
    pub fn with_commit(mut self, url: &str, hash: &str, refs: &[&str], files: &[(&str, &str)]) -> Self {
        let known = self.refs.entry(url.to_owned()).or_default();
        for name in refs {
            match name.split_once(':') {
                Some(("tag", tag)) => drop(known.tags.insert(tag.to_owned(), hash.to_owned())),
                Some((_, branch)) => drop(known.branches.insert(branch.to_owned(), hash.to_owned())),
                None => known.head = Some(hash.to_owned()),
            }
        }
        for (path, text) in files {
            self.git.insert((url.to_owned(), hash.to_owned(), (*path).to_owned()), (*text).to_owned());
        }
        self
    }

    #[must_use]
    pub fn with_web(mut self, url: &str, text: &str) -> Self {
        self.web.insert(url.to_owned(), text.to_owned());
        self
    }

    #[must_use]
    pub fn with_template(mut self, name: &str, text: &str) -> Self {
        self.templates.insert(name.to_owned(), text.to_owned());
        self
    }

    fn request(&self, request: String) {
        self.requests.borrow_mut().push(request);
    }

    fn open(&self, source: &GitSource) -> Result<String, IncludeError> {
        let url = source.address.to_git_url();
        if source.is_public && self.private.contains(&url) {
            return Err(IncludeError::Unavailable("the server requires a credential".to_owned()));
        }
        Ok(url)
    }
}

impl RepositoryFiles for Elsewhere {
    fn read(&self, path: &str) -> Result<String, FileError> {
        self.local.get(path).cloned().ok_or(FileError::Missing)
    }

    fn list(&self, directory: &str) -> Result<Vec<String>, FileError> {
        Ok(self.local.keys().filter(|path| path.starts_with(directory)).cloned().collect())
    }

    fn elsewhere(&self) -> &dyn IncludeSources {
        self
    }
}

impl IncludeSources for Elsewhere {
    fn repository(&self) -> Option<&RepositoryAddress> {
        self.own.as_ref()
    }

    fn refs(&self, source: &GitSource) -> Result<RepositoryRefs, IncludeError> {
        let url = self.open(source)?;
        self.request(format!("refs of {url}"));
        let unknown = || IncludeError::Unavailable("the repository was not found".to_owned());
        self.refs.get(&url).cloned().ok_or_else(unknown)
    }

    fn read(&self, source: &GitSource, commit: &str, path: &str) -> Result<String, IncludeError> {
        let url = self.open(source)?;
        self.request(format!("{path} of {url}"));
        self.git.get(&(url, commit.to_owned(), path.to_owned())).cloned().ok_or(IncludeError::NoFile)
    }

    fn list(&self, source: &GitSource, commit: &str, directory: &str) -> Result<Vec<String>, IncludeError> {
        let url = self.open(source)?;
        let here = |(repository, hash, path): &&(String, String, String)| {
            *repository == url && hash == commit && path.starts_with(directory)
        };
        Ok(self.git.keys().filter(here).map(|(_, _, path)| path.clone()).collect())
    }

    fn download(&self, url: &str, _: Option<&str>) -> Result<String, IncludeError> {
        self.request(url.to_owned());
        let missing = || IncludeError::Unavailable("the server replied 404".to_owned());
        self.web.get(url).cloned().ok_or_else(missing)
    }

    fn template(&self, name: &str) -> Result<String, IncludeError> {
        self.request(format!("template {name}"));
        let missing = || IncludeError::NoTemplate { path: format!("/templates/{name}") };
        self.templates.get(name).cloned().ok_or_else(missing)
    }
}

/// Returns the errors as text, each with its file.
pub fn texts(errors: &PipelineErrors) -> Vec<String> {
    errors.diagnostics.iter().map(ToString::to_string).collect()
}
