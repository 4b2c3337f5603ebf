//! Expands `extends` and `!reference`.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use crate::gitlab::findings::Log;
use crate::gitlab::values;
use crate::pipeline::compose::merge::merge;
use crate::pipeline::finding::{Finding, FindingLocation, Path, quoted};
use crate::pipeline::yaml::tree::{Kind, MapEntry, Node, alias_bomb};
use crate::text::suggest;

/// Maximum length of a chain of `extends`, and maximum depth of references: GitLab's own limits.
const MAX_CHAIN: usize = 11;
const MAX_REFERENCE_DEPTH: usize = 10;
/// Maximum total number of visited values.
const MAX_STEPS: u64 = 5_000_000;

/// A document in which everything is expanded.
pub(crate) struct ExpandedDocument {
    pub(crate) root: Rc<Node>,
    /// The keys at the top whose values lack something, as what they refer to does not exist.
    pub(crate) incomplete: HashSet<String>,
}

/// Expands `extends` in all jobs, and then all references.
pub(crate) fn expand(root: &Rc<Node>, log: &mut Log) -> Option<ExpandedDocument> {
    let mut incomplete = HashSet::new();
    let mut extender = Extender { root, log, extended_jobs: HashMap::new(), chain: Vec::new(), steps: 0 };
    let mut all = Vec::new();
    for entry in values::entries(root) {
        let value = extender.job(&entry.key, &entry.value).unwrap_or_else(|()| {
            incomplete.insert(entry.key.clone());
            without_extends(&entry.value)
        });
        all.push(MapEntry { value, ..entry.clone() });
    }
    let extended = Rc::new(Node::mapping(all, root.location));
    let mut resolver = Resolver { root: &extended, log, steps: 0, exhausted: false };
    let mut all = Vec::new();
    for entry in values::entries(&extended) {
        let before = resolver.log.findings.len();
        let mut value = resolver.walk(&entry.value, &Path::default().key(&entry.key), 0);
        if resolver.log.findings.len() > before {
            incomplete.insert(entry.key.clone());
            value = without_keys_of(&value, resolver.log.findings.get(before..).unwrap_or_default());
        }
        all.push(MapEntry { value, ..entry.clone() });
    }
    let exhausted = resolver.exhausted;
    let root = Rc::new(Node::mapping(all, root.location));
    if exhausted || extended.is_too_large() || root.is_too_large() {
        log.findings.push(*alias_bomb(root.location));
        return None;
    }
    Some(ExpandedDocument { root, incomplete })
}

/// Returns a job without its `extends`.
fn without_extends(job: &Node) -> Rc<Node> {
    let own = values::entries(job).iter().filter(|entry| entry.key != "extends").cloned().collect();
    Rc::new(Node::mapping(own, job.location))
}

/// Returns a job without the keys that findings are about.
fn without_keys_of(job: &Rc<Node>, findings: &[Finding]) -> Rc<Node> {
    let is_kept = |entry: &&MapEntry| !findings.iter().any(|finding| finding.path().has_key(&entry.key));
    if !values::is_mapping(job) {
        return Rc::clone(job);
    }
    Rc::new(Node::mapping(values::entries(job).iter().filter(is_kept).cloned().collect(), job.location))
}

struct Extender<'a> {
    root: &'a Rc<Node>,
    log: &'a mut Log,
    extended_jobs: HashMap<String, Result<Rc<Node>, ()>>,
    chain: Vec<String>,
    steps: u64,
}

impl Extender<'_> {
    fn job(&mut self, name: &str, node: &Rc<Node>) -> Result<Rc<Node>, ()> {
        let Some(extends) = node.get("extends") else { return Ok(Rc::clone(node)) };
        if let Some(result) = self.extended_jobs.get(name) {
            return result.clone();
        }
        let path = Path::default().key(name).key("extends");
        if self.chain.len() >= MAX_CHAIN {
            let message = format!("more than {MAX_CHAIN} jobs extend each other here");
            self.log.invalid(&path, extends.key_location, message);
            return Err(());
        }
        self.chain.push(name.to_owned());
        let result = self.extend(node, extends, &path);
        self.chain.pop();
        self.extended_jobs.insert(name.to_owned(), result.clone());
        result
    }

    fn extend(&mut self, node: &Rc<Node>, extends: &MapEntry, path: &Path) -> Result<Rc<Node>, ()> {
        let mut base: Option<Rc<Node>> = None;
        for (name, at) in values::texts(&extends.value, path, self.log) {
            if let Some(start) = self.chain.iter().position(|before| before == name) {
                let message =
                    format!("these jobs extend each other: {} -> {name}", self.chain[start..].join(" -> "));
                self.log.invalid(path, at.location, message);
                return Err(());
            }
            let root = self.root;
            let Some(found) = root.get(name).filter(|found| values::is_mapping(&found.value)) else {
                let names = values::entries(root).iter().map(|entry| entry.key.as_str());
                let near = suggest::nearest(name, names).map(|near| format!("did you mean `{near}`?"));
                let message = format!("unknown job {} in `extends`", quoted(name));
                self.log.findings.push(
                    Finding::error(
                        "gitlab-unknown-job",
                        FindingLocation::Position(path.clone(), at.location),
                        message,
                    )
                    .maybe_help(near),
                );
                return Err(());
            };
            let value = self.job(name, &found.value)?;
            self.steps = self.steps.saturating_add(value.node_count());
            if self.steps > MAX_STEPS {
                self.log.findings.push(*alias_bomb(at.location));
                return Err(());
            }
            base = Some(base.map_or_else(|| Rc::clone(&value), |base| merge(&base, &value)));
        }
        let own = without_extends(node);
        Ok(base.map_or_else(|| Rc::clone(&own), |base| merge(&base, &own)))
    }
}

struct Resolver<'a> {
    root: &'a Rc<Node>,
    log: &'a mut Log,
    steps: u64,
    exhausted: bool,
}

impl Resolver<'_> {
    /// Returns the value with its references replaced; the same value if there are none.
    fn walk(&mut self, node: &Rc<Node>, path: &Path, depth: usize) -> Rc<Node> {
        self.steps += 1;
        self.exhausted |= self.steps > MAX_STEPS;
        if self.exhausted {
            return Rc::clone(node);
        }
        match &node.kind {
            Kind::Scalar { .. } => Rc::clone(node),
            Kind::Sequence(items) if node.is_reference => self.resolve_reference(node, items, path, depth),
            Kind::Sequence(items) => {
                let new: Vec<Rc<Node>> = items.iter().map(|item| self.walk(item, path, depth)).collect();
                if new.iter().zip(items).all(|(new, old)| Rc::ptr_eq(new, old)) {
                    return Rc::clone(node);
                }
                Rc::new(Node::sequence(new, node.location))
            }
            Kind::Mapping(mapping) => {
                let mut changed = false;
                let mut entries = Vec::with_capacity(mapping.entries.len());
                for entry in &mapping.entries {
                    let inner = if path.depth() < 4 { path.key(&entry.key) } else { path.clone() };
                    let value = self.walk(&entry.value, &inner, depth);
                    changed |= !Rc::ptr_eq(&value, &entry.value);
                    entries.push(MapEntry { value, ..entry.clone() });
                }
                if changed { Rc::new(Node::mapping(entries, node.location)) } else { Rc::clone(node) }
            }
        }
    }

    fn resolve_reference(
        &mut self,
        node: &Rc<Node>,
        items: &[Rc<Node>],
        path: &Path,
        depth: usize,
    ) -> Rc<Node> {
        let empty = || Rc::new(Node::sequence(Vec::new(), node.location));
        if depth >= MAX_REFERENCE_DEPTH {
            let message = format!("references are nested more than {MAX_REFERENCE_DEPTH} levels deep");
            self.log.invalid(path, node.location, message);
            return empty();
        }
        let names: Option<Vec<&str>> = items.iter().map(|item| values::text(item)).collect();
        let Some(names) = names.filter(|names| !names.is_empty()) else {
            self.log.invalid(
                path,
                node.location,
                "`!reference` requires a job and keys in it: `!reference [.job, script]`",
            );
            return empty();
        };
        let mut found = Rc::clone(self.root);
        for name in &names {
            let Some(entry) = found.get(name) else {
                let message = format!("unknown reference `{}`", names.join(", "));
                self.log.findings.push(Finding::error(
                    "gitlab-unknown-reference",
                    FindingLocation::Position(path.clone(), node.location),
                    message,
                ));
                return empty();
            };
            let value = Rc::clone(&entry.value);
            found = value;
        }
        self.walk(&found, path, depth + 1)
    }
}
