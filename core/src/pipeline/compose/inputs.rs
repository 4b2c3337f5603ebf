//! `inputs` of an included file: their declaration, and the values that `with` gives them.

use std::collections::HashSet;
use std::rc::Rc;

use indexmap::IndexMap;

use super::declarations::{InputDialect, InvalidInput};
use crate::pipeline::finding::{Finding, FindingLocation, MAX_FINDINGS, Path, quoted};
use crate::pipeline::typed_inputs::{self, Constraints, InputType, InputValue};
use crate::pipeline::yaml::limits::MAX_FILE_BYTES;
use crate::pipeline::yaml::tree::{Kind, MapEntry, Node, Size, alias_bomb};
use crate::text::suggest::nearest;

/// Keys of a declaration.
const KEYS: [&str; 5] = ["type", "default", "options", "pattern", "description"];
/// Maximum number of inputs of a file.
const MAX_INPUTS: usize = 100;

/// The values that an item of `include` gives.
#[derive(Clone, Copy)]
pub(crate) struct GivenInputs<'a> {
    /// Where they are written; `None` if no values are given.
    pub(crate) entry: Option<&'a MapEntry>,
    /// The path of `with`.
    pub(crate) path: &'a Path,
    /// The place of the include.
    pub(crate) include: &'a FindingLocation,
}

/// Returns the document of an included file without its declaration of inputs, and with their values in it. `None` if something
/// is invalid, which is reported.
pub(crate) fn apply(
    root: &Rc<Node>,
    given: GivenInputs<'_>,
    findings: &mut Vec<Finding>,
) -> Option<Rc<Node>> {
    let Some(declaration) = root.get("inputs") else {
        let Some(entry) = given.entry.filter(|entry| !entries(&entry.value).is_empty()) else {
            return Some(Rc::clone(root));
        };
        let message = "the included file declares no `inputs`".to_owned();
        findings.push(at(given.path.clone(), entry.key_location, message));
        return None;
    };
    let before = findings.len();
    let values = values(declaration, given, findings);
    if findings.len() > before {
        return None;
    }
    let max_findings = before + MAX_FINDINGS;
    let mut substitution = Substitution { values: &values, findings, max_findings, bytes: 0 };
    let Kind::Mapping(mapping) = &root.kind else { return None };
    let own = mapping.entries.iter().filter(|entry| entry.key != "inputs").cloned().collect();
    let replaced = substitution.node(&Rc::new(Node::mapping(own, root.location)));
    if replaced.is_too_large() || substitution.bytes > MAX_FILE_BYTES {
        findings.push(*alias_bomb(declaration.key_location));
    }
    (findings.len() == before).then_some(replaced)
}

fn entries(node: &Node) -> &[MapEntry] {
    match &node.kind {
        Kind::Mapping(mapping) => &mapping.entries,
        _ => &[],
    }
}

fn at(path: Path, location: crate::text::diagnostics::Location, message: String) -> Finding {
    Finding::error("bad-input", FindingLocation::Position(path, location), message)
}

/// How a file of Tidemill declares its inputs.
const DIALECT: InputDialect = InputDialect {
    types: [
        ("string", InputType::String),
        ("number", InputType::Number),
        ("boolean", InputType::Boolean),
        ("list", InputType::List),
    ],
    pattern_key: "pattern",
    pattern: typed_inputs::pattern,
    typed,
};

fn invalid(input: InvalidInput) -> Finding {
    at(input.path, input.location, input.message).maybe_help(input.help)
}

/// Returns a value with its type.
fn typed(node: &Node) -> InputValue<'_> {
    match &node.kind {
        Kind::Scalar { .. } if node.is_null() => InputValue::Other,
        Kind::Scalar { text, plain: true } => InputValue::plain(text),
        Kind::Scalar { text, .. } => InputValue::Text(text),
        Kind::Sequence(items) => InputValue::List(items.iter().map(|item| typed(item)).collect()),
        Kind::Mapping(_) => InputValue::Other,
    }
}

/// Returns the value of each declared input. Reports what is invalid.
fn values(
    declaration: &MapEntry,
    given: GivenInputs<'_>,
    findings: &mut Vec<Finding>,
) -> IndexMap<String, Rc<Node>> {
    let path = Path::default().key("inputs");
    let declared = entries(&declaration.value);
    if declared.len() > MAX_INPUTS || (declared.is_empty() && !declaration.value.is_null()) {
        let message = format!("`inputs` takes a mapping of at most {MAX_INPUTS} names to their types");
        findings.push(at(path, declaration.value.location, message));
        return IndexMap::new();
    }
    let given_entries = given.entry.map(|entry| entries(&entry.value)).unwrap_or_default();
    let names: HashSet<&str> = declared.iter().map(|input| input.key.as_str()).collect();
    if let Some(entry) = given.entry
        && !matches!(entry.value.kind, Kind::Mapping(_))
        && !entry.value.is_null()
    {
        let message = "`with` takes a mapping of inputs to values".to_owned();
        findings.push(at(given.path.clone(), entry.value.location, message));
    }
    let unknown = given_entries.iter().filter(|entry| !names.contains(entry.key.as_str()));
    for entry in unknown.take(MAX_FINDINGS) {
        let message = format!("the included file has no input {}", quoted(&entry.key));
        let near = nearest(&entry.key, declared.iter().map(|input| input.key.as_str()));
        let finding = at(given.path.key(&entry.key), entry.key_location, message);
        findings.push(finding.maybe_help(near.map(|near| format!("did you mean `{near}`?"))));
    }
    let mut all = IndexMap::new();
    for input in declared {
        let input_path = path.key(&input.key);
        let Some(constraints) = constraints(input, &input_path, findings) else { continue };
        let own = given_entries.iter().find(|entry| entry.key == input.key);
        let Some(value) = own.or_else(|| input.value.get("default")) else {
            let message = format!("the input {} has no default, and no value is given", quoted(&input.key));
            let finding = Finding::error("bad-input", given.include.clone(), message);
            findings.push(finding.help("give it one in `with` of the include"));
            continue;
        };
        let value_path = if own.is_some() { given.path.key(&input.key) } else { input_path.key("default") };
        match DIALECT.check(&constraints, input, value, value_path) {
            Ok(()) => {
                all.insert(input.key.clone(), Rc::clone(&value.value));
            }
            Err(why) => findings.push(invalid(*why)),
        }
    }
    all
}

/// Returns what an input takes. Reports an invalid declaration.
fn constraints<'a>(input: &'a MapEntry, path: &Path, findings: &mut Vec<Finding>) -> Option<Constraints<'a>> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if input.key.is_empty() || !input.key.chars().all(is_name) {
        let message =
            format!("{} is not the name of an input: use letters, digits, `_` and `-`", quoted(&input.key));
        findings.push(at(path.clone(), input.key_location, message));
        return None;
    }
    if !input.value.is_null() && !matches!(input.value.kind, Kind::Mapping(_)) {
        let message = format!("the input {} takes a mapping, such as `type: string`", quoted(&input.key));
        findings.push(at(path.clone(), input.value.location, message));
        return None;
    }
    if let Some(entry) = entries(&input.value).iter().find(|entry| !KEYS.contains(&entry.key.as_str())) {
        let message = format!("an input has no key {}", quoted(&entry.key));
        let near = nearest(&entry.key, KEYS).map(|near| format!("did you mean `{near}`?"));
        let help = near.unwrap_or_else(|| format!("its keys are {}", KEYS.join(", ")));
        findings.push(at(path.key(&entry.key), entry.key_location, message).help(help));
        return None;
    }
    DIALECT.constraints(input, path).map_err(|why| findings.push(invalid(*why))).ok()
}

fn scalar(node: &Node) -> Option<&str> {
    match &node.kind {
        Kind::Scalar { text, .. } if !node.is_null() => Some(text),
        _ => None,
    }
}

/// Puts the values of inputs into a document.
struct Substitution<'a> {
    values: &'a IndexMap<String, Rc<Node>>,
    findings: &'a mut Vec<Finding>,
    /// The number of findings at which the rest is left out.
    max_findings: usize,
    /// The number of bytes that were put in.
    bytes: usize,
}

impl Substitution<'_> {
    /// Whether the document is too large or has too many errors, so that nobody uses the rest.
    fn is_exceeded(&self) -> bool {
        self.bytes > MAX_FILE_BYTES || self.findings.len() >= self.max_findings
    }

    fn node(&mut self, node: &Rc<Node>) -> Rc<Node> {
        if self.is_exceeded() {
            return Rc::clone(node);
        }
        match &node.kind {
            Kind::Scalar { text, .. } if text.contains("$[[") => self.scalar(text, node),
            Kind::Scalar { .. } => Rc::clone(node),
            Kind::Sequence(items) => {
                let items = items.iter().map(|item| self.node(item)).collect();
                Rc::new(Node::sequence(items, node.location))
            }
            Kind::Mapping(mapping) => {
                let mut keys = HashSet::new();
                let mut entries = Vec::with_capacity(mapping.entries.len());
                for entry in &mapping.entries {
                    if self.is_exceeded() {
                        break;
                    }
                    let key = if entry.key.contains("$[[") {
                        let node = Node { location: entry.key_location, ..text_node(&entry.key, node) };
                        self.text(&entry.key, &node)
                    } else {
                        entry.key.clone()
                    };
                    if keys.insert(key.clone()) {
                        let value = self.node(&entry.value);
                        entries.push(MapEntry { key, value, ..entry.clone() });
                    } else {
                        let message = format!(
                            "with the values of its inputs the file has the key {} twice",
                            quoted(&key)
                        );
                        self.findings.push(at(Path::default(), entry.key_location, message));
                    }
                }
                Rc::new(Node::mapping(entries, node.location))
            }
        }
    }

    /// Returns a text with the values. One that is nothing but a reference becomes the value, with its type.
    fn scalar(&mut self, text: &str, node: &Node) -> Rc<Node> {
        let whole = text.trim().strip_prefix("$[[").and_then(|rest| rest.strip_suffix("]]"));
        if let Some(body) = whole.filter(|body| !body.contains("]]")) {
            let Some(value) = self.value(body, node) else { return Rc::new(text_node("", node)) };
            self.bytes += value.size.bytes as usize;
            return match &value.kind {
                Kind::Scalar { text, plain } => {
                    let kind = Kind::Scalar { text: text.clone(), plain: *plain };
                    Rc::new(Node { kind, ..text_node(text, node) })
                }
                _ => value,
            };
        }
        let text = self.text(text, node);
        Rc::new(text_node(&text, node))
    }

    fn text(&mut self, written: &str, node: &Node) -> String {
        let mut out = String::with_capacity(written.len());
        let mut rest = written;
        while let Some((before, after)) = rest.split_once("$[[") {
            if self.is_exceeded() {
                return out;
            }
            let Some((body, after)) = after.split_once("]]") else { break };
            out.push_str(before);
            if let Some(value) = self.value(body, node) {
                if let Some(text) = scalar(&value) {
                    self.bytes += text.len();
                    out.push_str(text);
                } else {
                    let message = format!("{} is a list, and can only be a whole value", quoted(body.trim()));
                    self.findings.push(at(Path::default(), node.location, message));
                }
            }
            rest = after;
        }
        out.push_str(rest);
        out
    }

    fn value(&mut self, body: &str, node: &Node) -> Option<Rc<Node>> {
        let name = body.trim().strip_prefix("inputs.");
        if let Some(value) = name.and_then(|name| self.values.get(name)) {
            return Some(Rc::clone(value));
        }
        let message = match name {
            Some(name) => {
                let near = nearest(name, self.values.keys().map(String::as_str));
                let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
                format!("this file declares no input {}{near}", quoted(name))
            }
            None => format!("{} is not an input: write `$[[ inputs.name ]]`", quoted(body.trim())),
        };
        self.findings.push(at(Path::default(), node.location, message));
        None
    }
}

/// Creates a quoted text in the place of a value.
fn text_node(text: &str, place: &Node) -> Node {
    Node {
        kind: Kind::Scalar { text: text.to_owned(), plain: false },
        location: place.location,
        is_reference: false,
        size: Size::of_text(text),
    }
}
