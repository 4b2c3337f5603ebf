//! The context of a job's translation: its file and its variables.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use crate::execution::facts::ExternalVariables;
use crate::gitlab::conditions::cel::CelExpr;
use crate::gitlab::conditions::rules::Rule;
use crate::gitlab::findings::Log;
use crate::gitlab::job::matrix::MatrixVariants;
use crate::gitlab::keys;
use crate::gitlab::variables::{Scope, Variables};
use crate::pipeline::finding::Path;
use crate::pipeline::yaml::tree::{MapEntry, Node};
use crate::text::diagnostics::Location;

/// The file-wide context of all jobs.
pub(crate) struct FileContext {
    pub(crate) stages: Vec<String>,
    /// The variants of each job.
    pub(crate) jobs: HashMap<String, MatrixVariants>,
    /// The position of each job's stage, if it is known.
    pub(crate) stage_of: HashMap<String, usize>,
    /// The keys that jobs inherit.
    pub(crate) default: HashMap<String, MapEntry>,
    pub(crate) globals: Variables,
    /// The variables that are set outside of the file.
    pub(crate) external: Rc<ExternalVariables>,
    /// Whether variables that nobody sets are accepted.
    pub(crate) accepts_unset: bool,
    /// The top-level variables of the native file.
    pub(crate) shared: HashMap<String, String>,
    /// The conditions of jobs that come from conditional includes.
    pub(crate) conditions: HashMap<String, Rc<CelExpr>>,
    /// The rules of `workflow`; empty if there are none.
    pub(crate) workflow: Vec<Rule>,
    /// Whether jobs without `rules` or `only` are excluded from pull requests.
    pub(crate) excludes_pull_requests: bool,
    pub(crate) default_image: String,
    pub(crate) tags_are_labels: bool,
    /// Number of jobs that hand variables to others.
    pub(crate) output_jobs: usize,
    /// The jobs that lack something, as what they refer to does not exist.
    pub(crate) incomplete: HashSet<String>,
}

impl FileContext {
    /// Whether a job lacks something, or the job whose variant `name` is.
    pub(crate) fn is_incomplete(&self, name: &str) -> bool {
        let is_variant = |rest: &str| rest.is_empty() || rest.starts_with(": [") || rest.starts_with(' ');
        self.incomplete.iter().any(|job| name.strip_prefix(job.as_str()).is_some_and(is_variant))
    }
}

/// Whether the job, with the keys that it inherits, has a report with variables for others.
pub(crate) fn has_outputs(job: &Node, default: &HashMap<String, MapEntry>) -> bool {
    let artifacts = job.get("artifacts").or_else(|| default.get("artifacts"));
    let reports = artifacts.and_then(|artifacts| artifacts.value.get("reports"));
    reports.is_some_and(|reports| reports.value.get("dotenv").is_some())
}

/// A job that is being translated.
pub(crate) struct Job<'a> {
    pub(crate) name: &'a str,
    pub(crate) node: &'a Rc<Node>,
    pub(crate) at: Location,
    pub(crate) path: Path,
    pub(crate) file: &'a FileContext,
    pub(crate) inherit: keys::InheritedKeys,
    pub(crate) scope: Scope,
    pub(crate) log: &'a mut Log,
}

impl<'a> Job<'a> {
    /// Returns the job's entry for a key, its own or inherited, and its path.
    pub(crate) fn entry(&self, key: &str) -> Option<(&'a MapEntry, Path)> {
        let own: Option<&'a MapEntry> = self.node.get(key);
        let (entry, path) = match own {
            Some(own) => (own, self.path.clone()),
            None if self.inherit.default(key) => {
                (self.file.default.get(key)?, Path::default().key("default"))
            }
            None => return None,
        };
        (!entry.value.is_null()).then_some((entry, path))
    }
}
