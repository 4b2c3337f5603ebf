//! What the parts of a job are translated with: the file file it, and its variables.

use std::collections::HashMap;
use std::rc::Rc;

use crate::gitlab::conditions::rules::Rule;
use crate::gitlab::findings::Log;
use crate::gitlab::keys;
use crate::gitlab::variables::{Scope, Variables};
use crate::pipeline::finding::Path;
use crate::pipeline::yaml::tree::{MapEntry, Node};
use crate::text::diagnostics::Location;

/// What all jobs of a file have file them.
pub(crate) struct FileContext {
    /// Native names of the stages by GitLab's.
    pub(crate) stages: HashMap<String, String>,
    /// Native names of each job, by GitLab's.
    pub(crate) names: HashMap<String, Vec<String>>,
    /// What jobs inherit, by key.
    pub(crate) default: HashMap<String, MapEntry>,
    pub(crate) globals: Variables,
    /// The variables that the native file has at its top.
    pub(crate) shared: HashMap<String, String>,
    /// The rules of `workflow`; empty if there are none.
    pub(crate) workflow: Vec<Rule>,
    /// Whether jobs without `rules` or `only` are left out of pull requests.
    pub(crate) requests_apart: bool,
    pub(crate) default_image: String,
    pub(crate) tags_are_labels: bool,
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
    /// What the job has under a key, its own or inherited, and where.
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
