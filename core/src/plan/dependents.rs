//! The jobs that depend on others.

use super::model::{NodeIx, Plan, index};
use std::collections::HashSet;

impl Plan {
    /// Returns the names of the jobs with one of `names`, and of all jobs that directly or indirectly wait for one of them.
    #[must_use]
    pub fn with_dependents(&self, names: &[String]) -> HashSet<&str> {
        let is_named = |ix: &u32| names.iter().any(|name| self.jobs[*ix as usize].has_name(name));
        let mut pending: Vec<NodeIx> =
            (0..index(self.jobs.len())).filter(is_named).map(NodeIx::Job).collect();
        let mut reached: HashSet<NodeIx> = pending.iter().copied().collect();
        while let Some(node) = pending.pop() {
            pending.extend(self.releases(node).iter().filter(|next| reached.insert(**next)));
        }
        let jobs = reached.into_iter().filter_map(|node| match node {
            NodeIx::Job(ix) => Some(self.jobs[ix as usize].name.as_str()),
            NodeIx::Gate(_) => None,
        });
        jobs.collect()
    }
}
