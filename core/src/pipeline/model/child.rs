//! A pipeline that a job starts.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Maximum number of jobs of one execution that start a pipeline.
pub const MAX_CHILDREN: usize = 100;

/// Maximum number of such jobs of an execution that is a child itself.
pub const MAX_CHILDREN_OF_CHILD: usize = 10;

/// Maximum depth of children: 1 for a child of an execution that has no parent.
pub const MAX_CHILD_DEPTH: u32 = 3;

/// Maximum number of executions below one that has no parent: its children, theirs, and so on.
pub const MAX_DESCENDANTS: u32 = 1_000;

/// Returns how many executions there may be below each child of an execution below which there may be `allowed`, and of which
/// `starting` jobs start one: what remains is divided equally.
#[must_use]
pub fn descendants_of_child(allowed: u32, starting: u32) -> u32 {
    allowed.saturating_sub(starting).checked_div(starting).unwrap_or_default()
}

/// Maximum number of files of a child pipeline.
pub const MAX_CHILD_FILES: usize = 10;

/// The variables for the git server of the repository, with which the address of an included file may begin. Who reads the file knows
/// the server.
pub const SERVER_VARIABLES: [&str; 2] = ["$CI_SERVER_FQDN", "$CI_SERVER_HOST"];

/// Files of GitLab that a child pipeline includes, as an item of GitLab's `include`. Texts may hold `${NAME}` references.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ChildInclude {
    /// Where the files are.
    #[serde(flatten)]
    pub source: ChildIncludeSource,
    /// The values of their inputs.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub inputs: IndexMap<String, String>,
}

/// Where included files of a child pipeline are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ChildIncludeSource {
    /// In the sources.
    Local {
        /// The path.
        path: String,
    },
    /// In another project of the same git server.
    Project {
        /// The path of the project on its server.
        project: String,
        /// A branch, a tag or the full hash of a commit. `None`: the default branch.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
        /// The paths of the files.
        files: Vec<String>,
    },
    /// On the web.
    Remote {
        /// The address.
        url: String,
        /// `sha256-` and the hash that the content must have, in Base64.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        integrity: Option<String>,
    },
    /// In the operator's directory of templates.
    Template {
        /// The path in the directory.
        name: String,
    },
    /// A component of a project.
    Component {
        /// Its address with the version.
        address: String,
    },
    /// Among the artifacts of a job.
    Artifact {
        /// The path.
        path: String,
        /// The job.
        job: String,
    },
}

impl ChildInclude {
    /// Returns a short name: the first path, or the address without its query.
    #[must_use]
    pub fn label(&self) -> &str {
        let name = match &self.source {
            ChildIncludeSource::Local { path: name }
            | ChildIncludeSource::Artifact { path: name, .. }
            | ChildIncludeSource::Template { name }
            | ChildIncludeSource::Component { address: name } => name,
            ChildIncludeSource::Project { files, .. } => files.first().map_or("", String::as_str),
            ChildIncludeSource::Remote { url, .. } => url.split(['?', '#']).next().unwrap_or_default(),
        };
        name.trim_start_matches('/')
    }

    pub(crate) fn templates(&self) -> impl Iterator<Item = &String> {
        let (one, optional, more) = match &self.source {
            ChildIncludeSource::Local { path: one }
            | ChildIncludeSource::Artifact { path: one, .. }
            | ChildIncludeSource::Template { name: one }
            | ChildIncludeSource::Component { address: one } => (one, None, &[][..]),
            ChildIncludeSource::Project { project, reference, files } => {
                (project, reference.as_ref(), files.as_slice())
            }
            ChildIncludeSource::Remote { url, integrity } => (url, integrity.as_ref(), &[][..]),
        };
        std::iter::once(one).chain(optional).chain(more).chain(self.inputs.values())
    }

    fn map_texts(&self, put_in: impl Fn(&str) -> String) -> Self {
        let source = match &self.source {
            ChildIncludeSource::Local { path } => ChildIncludeSource::Local { path: put_in(path) },
            ChildIncludeSource::Artifact { path, job } => {
                ChildIncludeSource::Artifact { path: put_in(path), job: job.clone() }
            }
            ChildIncludeSource::Project { project, reference, files } => ChildIncludeSource::Project {
                project: put_in(project),
                reference: reference.as_deref().map(&put_in),
                files: files.iter().map(|file| put_in(file)).collect(),
            },
            ChildIncludeSource::Remote { url, integrity } => {
                ChildIncludeSource::Remote { url: put_in(url), integrity: integrity.clone() }
            }
            ChildIncludeSource::Template { name } => ChildIncludeSource::Template { name: put_in(name) },
            ChildIncludeSource::Component { address } => {
                ChildIncludeSource::Component { address: put_in(address) }
            }
        };
        let inputs = self.inputs.iter().map(|(name, value)| (name.clone(), put_in(value))).collect();
        Self { source, inputs }
    }
}

/// A pipeline that a job starts instead of running a script. The execution of it is a child of the job's execution.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[allow(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
pub struct ChildPipeline {
    /// The paths of its files. Several are files of GitLab, read as if one file included them.
    pub files: Vec<String>,
    /// Whether they are files of GitLab.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_gitlab: bool,
    /// The job whose artifacts have the file of `files`. `None`: it is in the sources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_of: Option<String>,
    /// Whether the jobs that wait for the job, and its execution, wait for the end of the child and depend on its outcome.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub waits: bool,
    /// Whether the child gets the variables that the file sets for the job.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forwards_job: bool,
    /// Whether the child gets the variables that the job's execution was started with.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forwards_run: bool,
    /// Variables of the child. Values may hold `${NAME}` references, also to variables that only the running job has.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub variables: IndexMap<String, String>,
    /// Inputs of the files of GitLab. Values may hold `${NAME}` references.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub inputs: IndexMap<String, String>,
    /// Files of GitLab, from anywhere, that are read as if one file included them; `files` is empty then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub includes: Vec<ChildInclude>,
    /// The other repository whose pipeline starts: its name on the server, or its path on the server of this repository's git. `None`:
    /// this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// The branch of the other repository. `None`: its default branch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
}

impl ChildPipeline {
    /// Returns the path of its file or of the first one, or the name of what stands for it.
    #[must_use]
    pub fn label(&self) -> &str {
        self.names().first().copied().unwrap_or_default()
    }

    /// Returns the other repository, or the names of all files.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        if let Some(repository) = &self.repository {
            return vec![repository.as_str()];
        }
        let files = self.files.iter().map(String::as_str);
        files.chain(self.includes.iter().map(ChildInclude::label)).collect()
    }

    /// Returns the files of artifacts: for each, the job and the path.
    #[must_use]
    pub fn artifacts(&self) -> Vec<(&str, &str)> {
        let included = self.includes.iter().filter_map(|include| match &include.source {
            ChildIncludeSource::Artifact { path, job } => Some((job.as_str(), path.as_str())),
            _ => None,
        });
        let file = self.artifact_of.iter().zip(&self.files);
        file.map(|(job, path)| (job.as_str(), path.as_str())).chain(included).collect()
    }

    /// Whether its files are known without the artifacts of a job, a value of a variable, or another repository of the server.
    #[must_use]
    pub fn is_known_early(&self) -> bool {
        let mut sources = self.files.iter().chain(self.includes.iter().flat_map(ChildInclude::templates));
        self.artifacts().is_empty() && self.repository.is_none() && !sources.any(|text| text.contains("${"))
    }

    /// Returns the texts that may hold references.
    pub(crate) fn templates(&self) -> impl Iterator<Item = &String> {
        let included = self.includes.iter().flat_map(ChildInclude::templates);
        let elsewhere = self.repository.iter().chain(&self.branch);
        self.files.iter().chain(self.inputs.values()).chain(included).chain(elsewhere)
    }

    /// Returns the texts whose references are complete when the job runs.
    pub(crate) fn late_templates(&self) -> impl Iterator<Item = &String> {
        self.variables.values()
    }

    /// Returns the other texts.
    pub(crate) fn fixed_texts(&self) -> impl Iterator<Item = &String> {
        let of_includes = self.includes.iter().flat_map(|include| include.inputs.keys());
        let jobs = self.includes.iter().filter_map(|include| match &include.source {
            ChildIncludeSource::Artifact { job, .. } => Some(job),
            _ => None,
        });
        let jobs = self.artifact_of.iter().chain(jobs);
        jobs.chain(self.variables.keys()).chain(self.inputs.keys()).chain(of_includes)
    }

    /// Applies `put_in` to each text that may hold references.
    pub(crate) fn map_texts(&self, put_in: impl Fn(&str) -> String) -> Self {
        let values = |values: &IndexMap<String, String>| {
            values.iter().map(|(name, value)| (name.clone(), put_in(value))).collect()
        };
        Self {
            files: self.files.iter().map(|file| put_in(file)).collect(),
            variables: values(&self.variables),
            inputs: values(&self.inputs),
            includes: self.includes.iter().map(|include| include.map_texts(&put_in)).collect(),
            repository: self.repository.as_deref().map(&put_in),
            branch: self.branch.as_deref().map(&put_in),
            ..self.clone()
        }
    }
}
