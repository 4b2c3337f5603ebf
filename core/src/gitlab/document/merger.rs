//! Merges the documents of included files.

use std::collections::HashMap;
use std::rc::Rc;

use super::conditions::{JoinedConditions, TooLong, too_long_condition};
use crate::gitlab::conditions::cel::CelExpr;
use crate::gitlab::findings::Log;
use crate::gitlab::keys;
use crate::gitlab::values;
use crate::pipeline::compose::merge::{FoundEntry, MergeBudget, Merged, TooManyEntries};
use crate::pipeline::finding::{Path, quoted};
use crate::pipeline::yaml::tree::{Kind, MapEntry, Node};
use crate::text::diagnostics::Location;

/// A file merged with its includes.
pub(super) struct Document {
    pub(super) root: Rc<Node>,
    /// The conditions of its jobs and templates that come from conditional includes.
    pub(super) conditions: HashMap<String, Rc<CelExpr>>,
}

/// Whether the keys that jobs inherit are only `interruptible`.
fn is_interruptible_only(default: &Node) -> bool {
    let keys = values::entries(default);
    !keys.is_empty() && keys.iter().all(|entry| entry.key == "interruptible")
}

/// Whether nothing of `value` is left once `over` is laid over it.
fn replaces(over: &Node, value: &Node) -> bool {
    match (&over.kind, &value.kind) {
        (Kind::Mapping(_), Kind::Mapping(mapping)) => mapping
            .entries
            .iter()
            .all(|entry| over.get(&entry.key).is_some_and(|own| replaces(&own.value, &entry.value))),
        _ => true,
    }
}

/// What to do about a condition if a file is converted for all events.
const NAME_THE_EVENT: &str = "`check`, `plan`, `run` and servers read the GitLab file itself, and decide the condition for their event; to \
                              convert the file for one event, name it: tidemill import --event push (or pull_request, tag, schedule)";

/// Merges documents, some of which apply under a condition only.
pub(super) struct Merger {
    /// The text of the including file, which will be laid over the documents.
    own: Rc<Node>,
    /// Whether the file is read for one event, which decides conditions.
    has_event: bool,
    merged: Option<Merged>,
    /// The conditions of jobs and templates, by name.
    conditions: HashMap<String, Rc<CelExpr>>,
    /// Whether a document was left out, as only the event decides what it means.
    pub(super) depends_on_event: bool,
}

impl Merger {
    /// Creates a merger of the documents that the file with `own` keys includes.
    pub(super) fn new(own: &Rc<Node>, has_event: bool) -> Self {
        let own = Rc::clone(own);
        Self { own, has_event, merged: None, conditions: HashMap::new(), depends_on_event: false }
    }

    /// Returns what to do about a condition that is not decided: `otherwise`, if naming an event does not help.
    const fn advice(&self, otherwise: &'static str) -> &'static str {
        if self.has_event { otherwise } else { NAME_THE_EVENT }
    }

    /// Returns a document that applies under a condition without the keys that have no effect: those that the including file
    /// replaces, and `default` if it says only how jobs are canceled.
    fn without_effectless_keys(&self, root: &Rc<Node>, path: &Path, log: &mut Log) -> Rc<Node> {
        let is_replaced = |entry: &MapEntry| {
            let own = self.own.get(&entry.key);
            keys::TOP.contains(&entry.key.as_str())
                && own.is_some_and(|own| replaces(&own.value, &entry.value))
        };
        let mut kept = Vec::new();
        for entry in values::entries(root).iter().filter(|entry| !is_replaced(entry)) {
            if entry.key == "default" && is_interruptible_only(&entry.value) {
                let why = "executions are canceled as a whole, regardless of included files";
                for part in values::entries(&entry.value) {
                    log.ignored(&path.key("default"), part, why);
                }
            } else {
                kept.push(entry.clone());
            }
        }
        if kept.len() == values::entries(root).len() {
            return Rc::clone(root);
        }
        Rc::new(Node::mapping(kept, root.location))
    }

    /// Returns the merged document; `None` if there is none.
    pub(super) fn finish(self) -> Option<Document> {
        Some(Document { root: self.merged?.into_node(), conditions: self.conditions })
    }

    /// Lays a document over those before it, which is included at `place`.
    pub(super) fn add(
        &mut self,
        document: &Document,
        condition: Option<&(Rc<CelExpr>, &MapEntry)>,
        (path, place): (&Path, Location),
        budget: &mut MergeBudget,
        log: &mut Log,
    ) -> Result<(), TooManyEntries> {
        let Document { root, conditions } = document;
        let without;
        let mut root = root;
        if condition.is_some() {
            without = self.without_effectless_keys(root, path, log);
            root = &without;
        }
        if let Some((_, rules)) = condition {
            for entry in values::entries(root) {
                if keys::TOP.contains(&entry.key.as_str()) {
                    let message = format!(
                        "a file that is included under a condition can only have jobs here, and this one has `{}`",
                        entry.key
                    );
                    let help = "move that key to a file that is always included, or set all of it in the including file as well";
                    log.invalid_with_help(&path.key("rules"), rules.key_location, message, self.advice(help));
                    self.depends_on_event = true;
                    return Ok(());
                }
            }
        }
        let mut joined = JoinedConditions::default();
        for entry in values::entries(root) {
            let at = condition.map_or(entry.key_location, |(_, rules)| rules.key_location);
            let inner = conditions.get(&entry.key);
            let outer = condition.map(|(condition, _)| condition);
            let own = match (inner, outer) {
                (Some(inner), Some(outer)) => joined.join(outer, inner, CelExpr::and),
                (one, other) => Ok(one.or(other).cloned()),
            };
            let known = self.merged.as_ref().and_then(|base| base.find(&entry.key));
            let known_condition = self.conditions.get(&entry.key);
            let is_same =
                |known: &FoundEntry<'_>| known.single.is_some_and(|single| Rc::ptr_eq(single, &entry.value));
            let is_shared = known.as_ref().is_some_and(|known| !is_same(known));
            let is_conditional = known_condition.is_some() || !matches!(own, Ok(None));
            if is_shared && is_conditional {
                let message = format!(
                    "{} is in several files, one of which is included under a condition, which is not supported",
                    quoted(&entry.key)
                );
                let help = self.advice("give it another name in one of them");
                log.invalid_with_help(path, at, message, help);
                self.depends_on_event = true;
                return Ok(());
            }
            // The same job, included twice, runs if one of the two includes applies.
            let either = match (known, own) {
                (None, own) => own,
                (Some(_), Ok(own)) => match (known_condition, own) {
                    (Some(known), Some(own)) => joined.join(known, &own, CelExpr::or),
                    _ => Ok(None),
                },
                (Some(_), Err(why)) => Err(why),
            };
            match either {
                Ok(Some(condition)) => {
                    self.conditions.insert(entry.key.clone(), condition);
                }
                Ok(None) => {
                    self.conditions.remove(&entry.key);
                }
                Err(TooLong) => {
                    log.invalid(path, at, too_long_condition());
                    return Ok(());
                }
            }
        }
        let Some(base) = &mut self.merged else {
            self.merged = Some(Merged::Single(Rc::clone(root)));
            return Ok(());
        };
        base.add(root, budget).inspect_err(|_| {
            log.invalid_with_help(path, place, TooManyEntries::message(), TooManyEntries::HELP);
        })
    }
}
