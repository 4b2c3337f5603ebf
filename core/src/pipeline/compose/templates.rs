//! `extends`: merges jobs with their templates.

use std::collections::HashMap;
use std::rc::Rc;

use super::merge::merge;
use crate::pipeline::finding::{Finding, FindingLocation, Path, Segment, quoted};
use crate::pipeline::yaml::tree::{Kind, MapEntry, Node, alias_bomb, wrong_type};
use crate::text::suggest::Suggestions;

/// Maximum length of a chain of templates.
const MAX_CHAIN: usize = 16;

/// Merges each job that has `extends` with its templates. A job with an error keeps the key.
pub(crate) fn apply(root: &Rc<Node>, findings: &mut Vec<Finding>) -> Rc<Node> {
    let Some(jobs) = root.get("jobs") else { return Rc::clone(root) };
    let has_any = |node: &Node| node.get("extends").is_some();
    let children: Vec<&Rc<Node>> = match &jobs.value.kind {
        Kind::Mapping(mapping) => mapping.entries.iter().map(|entry| &entry.value).collect(),
        Kind::Sequence(items) => items.iter().collect(),
        Kind::Scalar { .. } => return Rc::clone(root),
    };
    if !children.iter().any(|job| has_any(job)) {
        return Rc::clone(root);
    }
    let mut resolver = Resolver {
        root,
        findings,
        suggestions: Suggestions::default(),
        done: HashMap::new(),
        chain: Vec::new(),
    };
    let path = Path::default().key("jobs");
    let mut resolve = |job: &Rc<Node>, segment: Segment| {
        resolver.resolve(job, &path.join(segment)).unwrap_or_else(|()| Rc::clone(job))
    };
    let value = match &jobs.value.kind {
        Kind::Mapping(mapping) => {
            let entries = mapping.entries.iter().map(|entry| MapEntry {
                value: resolve(&entry.value, Segment::Key(entry.key.as_str().into())),
                ..entry.clone()
            });
            Node::mapping(entries.collect(), jobs.value.location)
        }
        Kind::Sequence(items) => {
            let items = items.iter().enumerate().map(|(at, item)| resolve(item, Segment::Index(at)));
            Node::sequence(items.collect(), jobs.value.location)
        }
        Kind::Scalar { .. } => return Rc::clone(root),
    };
    if value.is_too_large() {
        findings.push(*alias_bomb(jobs.key_location));
        return Rc::clone(root);
    }
    let Kind::Mapping(top) = &root.kind else { return Rc::clone(root) };
    let value = Rc::new(value);
    let replace = |entry: &MapEntry| {
        if entry.key == "jobs" {
            MapEntry { value: Rc::clone(&value), ..entry.clone() }
        } else {
            entry.clone()
        }
    };
    Rc::new(Node::mapping(top.entries.iter().map(replace).collect(), root.location))
}

struct Resolver<'a> {
    root: &'a Node,
    findings: &'a mut Vec<Finding>,
    suggestions: Suggestions,
    /// Merged templates; errors are reported already.
    done: HashMap<String, Result<Rc<Node>, ()>>,
    /// The templates being merged, each extending the next.
    chain: Vec<String>,
}

impl Resolver<'_> {
    /// Merges a job or a template with the templates that it extends.
    fn resolve(&mut self, node: &Rc<Node>, path: &Path) -> Result<Rc<Node>, ()> {
        let Some(extends) = node.get("extends") else { return Ok(Rc::clone(node)) };
        let at = path.key("extends");
        let names: Vec<(&str, FindingLocation)> = match &extends.value.kind {
            Kind::Scalar { text, .. } if !extends.value.is_null() => {
                vec![(text, FindingLocation::Position(at.clone(), extends.value.location))]
            }
            Kind::Sequence(items) => {
                let name = |(index, item): (usize, &'_ Rc<Node>)| match &item.kind {
                    Kind::Scalar { text, .. } => Some((text.clone(), at.index(index), item.location)),
                    _ => None,
                };
                let names: Vec<_> = items.iter().enumerate().map(name).collect();
                if names.iter().any(Option::is_none) {
                    self.wrong(&at, &extends.value);
                    return Err(());
                }
                return self.over(
                    node,
                    &names
                        .iter()
                        .flatten()
                        .map(|(text, at, location)| {
                            (text.as_str(), FindingLocation::Position(at.clone(), *location))
                        })
                        .collect::<Vec<_>>(),
                );
            }
            _ => {
                self.wrong(&at, &extends.value);
                return Err(());
            }
        };
        self.over(node, &names)
    }

    /// Reports the same finding as the reader does for a job.
    fn wrong(&mut self, at: &Path, extends: &Node) {
        match &extends.kind {
            Kind::Sequence(items) => {
                for (index, item) in items.iter().enumerate() {
                    if !matches!(item.kind, Kind::Scalar { .. }) {
                        self.findings
                            .push(wrong_type(item, &at.index(index), "text").help("write `extends: .base`"));
                    }
                }
            }
            _ => self.findings.push(wrong_type(extends, at, "text").help("write `extends: .base`")),
        }
    }

    fn over(&mut self, node: &Rc<Node>, names: &[(&str, FindingLocation)]) -> Result<Rc<Node>, ()> {
        let Kind::Mapping(own) = &node.kind else { return Ok(Rc::clone(node)) };
        let mut base: Option<Rc<Node>> = None;
        for (name, spot) in names {
            let template = self.template(name, spot)?;
            base = Some(match base {
                Some(base) => merge(&base, &template),
                None => template,
            });
        }
        let own = own.entries.iter().filter(|entry| entry.key != "extends").cloned().collect();
        let own = Rc::new(Node::mapping(own, node.location));
        let whole = base.map_or_else(|| Rc::clone(&own), |base| merge(&base, &own));
        if whole.is_too_large() {
            if let Some((_, FindingLocation::Position(_, location))) = names.first() {
                self.findings.push(*alias_bomb(*location));
            }
            return Err(());
        }
        Ok(whole)
    }

    fn template(&mut self, name: &str, spot: &FindingLocation) -> Result<Rc<Node>, ()> {
        if let Some(done) = self.done.get(name) {
            return done.clone();
        }
        if let Some(start) = self.chain.iter().position(|before| before == name) {
            let mut cycle: Vec<&str> = self.chain[start..].iter().map(String::as_str).collect();
            cycle.push(name);
            let message = format!("these templates extend each other: {}", cycle.join(" -> "));
            self.findings.push(
                Finding::error("template-cycle", spot.clone(), message)
                    .help("remove one of these `extends`; an arrow reads \"extends\""),
            );
            return Err(());
        }
        let root = self.root;
        let Some(entry) = root.get(name).filter(|_| name.starts_with('.')) else {
            self.unknown(name, spot);
            return Err(());
        };
        if self.chain.len() >= MAX_CHAIN {
            let message = format!("more than {MAX_CHAIN} templates extend each other here");
            self.findings.push(Finding::error("too-deep", spot.clone(), message).help("merge some of them"));
            return Err(());
        }
        let result = if matches!(entry.value.kind, Kind::Mapping(_)) {
            self.chain.push(name.to_owned());
            let result = self.resolve(&entry.value, &Path::default().key(name));
            self.chain.pop();
            result
        } else {
            let message = format!("the template {} is not a mapping", quoted(name));
            let at = FindingLocation::Position(Path::default().key(name), entry.key_location);
            self.findings
                .push(Finding::error("wrong-type", spot.clone(), message).related("defined here", at));
            Err(())
        };
        self.done.insert(name.to_owned(), result.clone());
        result
    }

    fn unknown(&mut self, name: &str, spot: &FindingLocation) {
        let Kind::Mapping(top) = &self.root.kind else { return };
        let templates =
            || top.entries.iter().map(|entry| entry.key.as_str()).filter(|key| key.starts_with('.'));
        let is_job = self.root.get("jobs").is_some_and(|jobs| jobs.value.get(name).is_some());
        let help = if is_job {
            "jobs extend templates, not jobs: move what they share to a top-level key such as `.base`"
                .to_owned()
        } else if let Some(near) = self.suggestions.did_you_mean(name, templates()) {
            near
        } else if templates().next().is_none() {
            "templates are top-level keys that start with `.`, such as `.base`".to_owned()
        } else {
            format!("the templates are {}", templates().take(20).collect::<Vec<_>>().join(", "))
        };
        let message = format!("there is no template {}", quoted(name));
        self.findings.push(Finding::error("unknown-template", spot.clone(), message).help(help));
    }
}
