//! Translates paths of artifacts and caches.

use std::collections::HashSet;
use std::rc::Rc;

use crate::gitlab::findings::Log;
use crate::gitlab::values;
use crate::gitlab::variables::Scope;
use crate::pipeline::climbs_out;
use crate::pipeline::finding::{Path, quoted};
use crate::pipeline::yaml::tree::Node;

/// Translates paths and globs relative to the sources. Those that lie elsewhere are left out, as GitLab's runner does.
pub(crate) fn paths(node: &Rc<Node>, path: &Path, scope: &Scope, log: &mut Log) -> Vec<String> {
    let mut all = Vec::new();
    let mut seen = HashSet::new();
    for (text, node) in values::texts(node, path, log) {
        let (glob, unknown) = scope.glob(text);
        let is_home = unknown.as_deref() == Some("HOME") && text.starts_with('$');
        if glob.starts_with("/builds/") {
            let what = format!("the path {}", quoted(text));
            let why = "the sources are not in the directory of GitLab's runner here";
            let help = "write it relative to the root of the repository";
            log.unsupported_at(path, node.location, &what, why, help);
            continue;
        }
        if is_home || glob.starts_with(['/', '~']) || climbs_out(&glob) {
            let why = "it is not within the sources, so that GitLab's runner leaves it out, too";
            log.ignored_at(path, node.location, &format!("the path {}", quoted(text)), why);
            continue;
        }
        if let Some(unknown) = unknown {
            let message = format!(
                "`{unknown}` is not known before the job runs, so {} is replaced by {}",
                quoted(text),
                quoted(&glob)
            );
            log.changed(path, node.location, message);
        }
        if glob.is_empty() {
            log.ignored_at(path, node.location, "an empty path", "it matches no file");
        } else if seen.insert(glob.clone()) {
            all.push(glob);
        }
    }
    all
}
