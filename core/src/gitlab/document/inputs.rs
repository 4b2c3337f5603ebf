//! The inputs of a file: the header that declares them, and the text with their values.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use indexmap::IndexMap;

use crate::gitlab::findings::Log;
use crate::gitlab::values;
use crate::pipeline::compose::declarations::{InputDialect, InvalidInput};
use crate::pipeline::finding::{Path, quoted};
use crate::pipeline::typed_inputs::{self, Constraints, InputType, InputValue};
use crate::pipeline::yaml::build_gitlab_file;
use crate::pipeline::yaml::limits::MAX_FILE_BYTES;
use crate::pipeline::yaml::origin::ReplacedText;
use crate::pipeline::yaml::scalars::{self, ScalarType};
use crate::pipeline::yaml::tree::{Kind, MapEntry, Node, Size};
use crate::text::diagnostics::{LineIndex, Location};

/// Maximum number of functions that one reference applies: GitLab's limit.
const MAX_FUNCTIONS: usize = 3;

/// Maximum number of findings about the inputs of a file.
const MAX_FINDINGS: usize = 100;
/// Maximum number of inputs of a file.
const MAX_INPUTS: usize = 100;
/// Maximum number of bytes that the functions of a file process.
const MAX_PROCESSED_BYTES: usize = 64 << 20;

/// The values of a file's inputs, as text.
pub(crate) type Inputs = IndexMap<String, String>;

/// Splits a text into the header with `spec` and the rest, in which the header is blank lines. Without a second document there is
/// no header.
pub(crate) fn split(text: &str) -> Option<(&str, String)> {
    let is_separator = |line: &str| line.trim_end() == "---" || line.starts_with("--- ");
    let is_blank = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
    let mut at = 0;
    let mut has_content = false;
    for line in text.split_inclusive('\n') {
        if is_separator(line.trim_end_matches(['\n', '\r'])) {
            if has_content {
                let (header, rest) = (text.get(..at)?, text.get(at..)?);
                let is_spec = header.lines().any(|line| line.starts_with("spec:"));
                let blank: String = header.chars().filter(|c| *c == '\n').collect();
                return is_spec.then(|| (header, blank + rest));
            }
        } else {
            has_content |= !is_blank(line);
        }
        at += line.len();
    }
    None
}

/// Returns the values of the inputs that the header `spec` declares: those that are `given` where the file is included, at `at`,
/// else the defaults. `None` if one is invalid, which is reported.
pub(crate) fn resolve(
    spec: &Rc<Node>,
    given: Option<&MapEntry>,
    at: Location,
    path: &Path,
    log: &mut Log,
) -> Option<Inputs> {
    let before = log.findings.len();
    let spec_path = Path::default().key("spec");
    let others = values::entries(spec).iter().filter(|entry| entry.key != "inputs");
    for entry in others.take(MAX_FINDINGS) {
        let why = "a header declares inputs only";
        log.unsupported(&spec_path, entry, why, "");
    }
    let declared = spec.get("inputs").map(|entry| values::entries(&entry.value)).unwrap_or_default();
    let given_entries = given.map(|entry| values::entries(&entry.value)).unwrap_or_default();
    if let Some(input) = declared.get(MAX_INPUTS) {
        let message = format!("a file has at most {MAX_INPUTS} inputs");
        log.invalid(&spec_path.key("inputs"), input.key_location, message);
        return None;
    }
    let declared_names: HashSet<&str> = declared.iter().map(|input| input.key.as_str()).collect();
    let given_values: HashMap<&str, &MapEntry> =
        given_entries.iter().rev().map(|entry| (entry.key.as_str(), entry)).collect();
    for entry in given_entries {
        if log.findings.len() - before >= MAX_FINDINGS {
            return None;
        }
        if !declared_names.contains(entry.key.as_str()) {
            let file = if at.length == 0 { "file" } else { "included file" };
            let message = format!("the {file} has no input {}", quoted(&entry.key));
            let names = declared.iter().map(|input| input.key.as_str());
            let near = crate::text::suggest::nearest(&entry.key, names)
                .map(|near| format!("did you mean `{near}`?"));
            log.invalid_with_help(
                &path.key(&entry.key),
                entry.key_location,
                message,
                near.as_deref().unwrap_or_default(),
            );
        }
    }
    let mut all = Inputs::new();
    for input in declared {
        let input_path = spec_path.key("inputs").key(&input.key);
        let Some(constraints) = constraints(input, &input_path, log) else { continue };
        let own = given_values.get(input.key.as_str()).copied();
        let default = input.value.get("default");
        let Some(value) = own.or(default) else {
            let message = format!("the input {} has no default, and no value is given", quoted(&input.key));
            if at.length == 0 {
                let help = format!(
                    "give it one when you run the file (`--input {}=VALUE`), or under `inputs` of the `trigger`",
                    input.key
                );
                log.invalid_with_help(&input_path, input.key_location, message, &help);
            } else {
                log.invalid_with_help(path, at, message, "give it one under `inputs` of the include");
            }
            continue;
        };
        // As in GitLab, an input whose default is nothing is empty.
        if own.is_none() && value.value.is_null() {
            all.insert(input.key.clone(), String::new());
            continue;
        }
        let value_path = if own.is_some() { path.key(&input.key) } else { input_path.key("default") };
        match DIALECT.check(&constraints, input, value, value_path) {
            Ok(()) => {
                all.insert(input.key.clone(), text_of(&value.value));
            }
            Err(why) => report(*why, log),
        }
    }
    (log.findings.len() == before).then_some(all)
}

/// Returns the values that are given when a file is run as if an include gave them, each with the type that the header declares:
/// `"1"` for a string, `1` for a number. They have the positions of their declarations.
pub(crate) fn of_run(spec: &Rc<Node>, given: &IndexMap<String, String>) -> MapEntry {
    let declared = spec.get("inputs").map(|entry| values::entries(&entry.value)).unwrap_or_default();
    let entry = |(name, text): (&String, &String)| {
        let declaration = declared.iter().find(|input| input.key == *name);
        let location = declaration.map_or(spec.location, |input| input.key_location);
        let is_text = declaration.is_none_or(|input| DIALECT.type_name(input) == "string");
        let parsed = if is_text { None } else { build_gitlab_file(text, 0).ok().and_then(|tree| tree.root) };
        let value = match parsed {
            Some(node) if values::is_list(&node) => node,
            _ => {
                let text = if is_text { text.into() } else { scalars::resolve(text).1 };
                let size = Size::of_text(&text);
                let kind = Kind::Scalar { text: text.into_owned(), plain: !is_text };
                Rc::new(Node { kind, location, is_reference: false, size })
            }
        };
        MapEntry { key: name.clone(), key_location: location, value }
    };
    let entries = given.iter().map(entry).collect();
    let value = Rc::new(Node::mapping(entries, spec.location));
    MapEntry { key: "inputs".to_owned(), key_location: spec.location, value }
}

/// How a GitLab file declares its inputs.
const DIALECT: InputDialect = InputDialect {
    types: [
        ("string", InputType::String),
        ("number", InputType::Number),
        ("boolean", InputType::Boolean),
        ("array", InputType::Array),
    ],
    pattern_key: "regex",
    pattern: typed_inputs::pattern_in_slashes,
    typed,
};

fn report(why: InvalidInput, log: &mut Log) {
    let InvalidInput { path, location, message, help } = why;
    match help {
        Some(help) => log.invalid_with_help(&path, location, message, &help),
        None => log.invalid(&path, location, message),
    }
}

/// Returns a value with its type in GitLab.
fn typed(node: &Node) -> InputValue<'_> {
    match &node.kind {
        Kind::Sequence(items) => InputValue::List(items.iter().map(|item| typed(item)).collect()),
        Kind::Mapping(_) => InputValue::Other,
        Kind::Scalar { text, .. } => match values::kind(node) {
            ScalarType::Text => InputValue::Text(text),
            ScalarType::Integer | ScalarType::Float => InputValue::Number(text),
            ScalarType::Boolean => InputValue::Boolean(text),
            ScalarType::Null | ScalarType::Date => InputValue::Other,
        },
    }
}

/// Returns what an input takes. Reports an invalid declaration.
fn constraints<'a>(input: &'a MapEntry, path: &Path, log: &mut Log) -> Option<Constraints<'a>> {
    const KEYS: [&str; 5] = ["default", "description", "options", "regex", "type"];
    for entry in values::entries(&input.value).iter().take(MAX_FINDINGS) {
        match entry.key.as_str() {
            "rules" => log.unsupported(path, entry, "options that depend on other inputs are not known", ""),
            key if KEYS.contains(&key) => {}
            _ => log.unknown_key(path, entry, &KEYS),
        }
    }
    DIALECT.constraints(input, path).map_err(|why| report(*why, log)).ok()
}

/// Returns a value as the text that stands for it.
fn text_of(node: &Node) -> String {
    if values::is_list(node) { json(node) } else { values::text(node).unwrap_or_default().to_owned() }
}

/// Returns a value as JSON, which is YAML.
fn json(node: &Node) -> String {
    match &node.kind {
        Kind::Sequence(items) => {
            let items: Vec<String> = items.iter().map(|item| json(item)).collect();
            format!("[{}]", items.join(", "))
        }
        Kind::Mapping(mapping) => {
            let entry = |entry: &MapEntry| {
                format!("{}: {}", serde_json::Value::from(entry.key.as_str()), json(&entry.value))
            };
            let entries: Vec<String> = mapping.entries.iter().map(entry).collect();
            format!("{{{}}}", entries.join(", "))
        }
        Kind::Scalar { text, .. } => match values::kind(node) {
            ScalarType::Text | ScalarType::Date => serde_json::Value::from(text.as_str()).to_string(),
            ScalarType::Null => "null".to_owned(),
            ScalarType::Boolean | ScalarType::Integer | ScalarType::Float => text.clone(),
        },
    }
}

/// Puts the values of inputs into a text: each `$[[ inputs.name ]]`, with functions that follow a `|`. `variable` returns the
/// values of variables that are known. Reports what is invalid.
pub(crate) fn interpolate(
    text: &str,
    inputs: &Inputs,
    variable: &dyn Fn(&str) -> Option<String>,
    first_line: usize,
    log: &mut Log,
) -> Option<ReplacedText> {
    let before = log.findings.len();
    let mut out = ReplacedText::default();
    let mut lines: Option<LineIndex<'_>> = None;
    let mut processed = 0;
    let mut rest = text;
    while let Some((copied, after)) = rest.split_once("$[[") {
        let Some((body, after)) = after.split_once("]]") else { break };
        let original = format!("$[[{body}]]");
        // Values of a matrix are those of a variant of a job.
        if body.trim_start().starts_with("matrix.") {
            out.copy(copied);
            out.copy(&original);
            rest = after;
            continue;
        }
        match value(body, inputs, variable, &mut processed) {
            Ok(value) => {
                // A list in quotes, on its own, is that list.
                let quote = ['"', '\'']
                    .into_iter()
                    .find(|quote| copied.ends_with(*quote) && after.starts_with(*quote));
                if let Some(quote) = quote.filter(|_| value.starts_with('[') && value.ends_with(']')) {
                    out.copy(&copied[..copied.len() - 1]);
                    out.replace(&format!("{quote}{original}{quote}"), &value);
                    rest = &after[1..];
                    continue;
                }
                out.copy(copied);
                out.replace(&original, &value);
            }
            Err(message) => {
                let lines = lines.get_or_insert_with(|| LineIndex::new(text));
                let found = lines.location(text.len() - rest.len() + copied.len());
                let length = original.chars().count();
                log.invalid(
                    &Path::default(),
                    Location { line: first_line + found.line, length, ..found },
                    message,
                );
                if log.findings.len() - before >= MAX_FINDINGS {
                    return None;
                }
                out.copy(copied);
                out.replace(&original, "");
            }
        }
        rest = after;
        if out.text.len() > MAX_FILE_BYTES {
            let message =
                format!("with the values of its inputs the file has more than {MAX_FILE_BYTES} bytes");
            log.invalid(&Path::default(), Location { line: first_line + 1, column: 1, length: 1 }, message);
            return None;
        }
    }
    out.copy(rest);
    (log.findings.len() == before).then_some(out)
}

/// Returns the value of `inputs.name | function | function(1,2)`. `processed` counts the bytes that functions process.
fn value(
    body: &str,
    inputs: &Inputs,
    variable: &dyn Fn(&str) -> Option<String>,
    processed: &mut usize,
) -> Result<String, String> {
    let mut parts = body.split('|').map(str::trim);
    let access = parts.next().unwrap_or_default();
    let Some(name) = access.strip_prefix("inputs.") else {
        return Err(format!("{} is not an input: write `$[[ inputs.name ]]`", quoted(access)));
    };
    let Some(value) = inputs.get(name) else {
        let near = crate::text::suggest::nearest(name, inputs.keys().map(String::as_str));
        let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        return Err(format!("the header declares no input {}{near}", quoted(name)));
    };
    let functions: Vec<&str> = parts.collect();
    if functions.len() > MAX_FUNCTIONS {
        return Err(format!("a reference to an input has at most {MAX_FUNCTIONS} functions"));
    }
    let mut value = value.clone();
    for function in functions {
        *processed += value.len();
        if *processed > MAX_PROCESSED_BYTES {
            return Err(format!("the functions of this file process more than {MAX_PROCESSED_BYTES} bytes"));
        }
        value = match function {
            "expand_vars" => expand(&value, variable).ok_or_else(|| {
                format!("with its variables the input {} has more than {MAX_FILE_BYTES} bytes", quoted(name))
            })?,
            "posix_escape" => posix_escape(&value),
            _ => truncate(function, &value).ok_or_else(|| {
                format!(
                    "{} is not a function: use `expand_vars`, `posix_escape` or `truncate(offset,length)`",
                    quoted(function)
                )
            })?,
        };
    }
    Ok(value)
}

/// Expands the variables that are known; others stay, and are expanded where GitLab's keys allow that. `None` if the result is
/// longer than a file can be.
fn expand(text: &str, variable: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    use crate::gitlab::variables::{Piece, pieces, push_reference};
    let mut out = String::new();
    for piece in pieces(text) {
        match piece {
            Piece::Text(text) => out.push_str(&text),
            Piece::Name(name) => match variable(&name) {
                Some(value) => out.push_str(&value),
                None => push_reference(&name, &mut out),
            },
        }
        if out.len() > MAX_FILE_BYTES {
            return None;
        }
    }
    Some(out)
}

fn truncate(function: &str, text: &str) -> Option<String> {
    let arguments = function.strip_prefix("truncate(")?.strip_suffix(')')?;
    let (offset, length) = arguments.split_once(',')?;
    let (offset, length) = (offset.trim().parse().ok()?, length.trim().parse().ok()?);
    Some(text.chars().skip(offset).take(length).collect())
}

/// Escapes a text for a POSIX shell.
fn posix_escape(text: &str) -> String {
    if text.is_empty() {
        return "''".to_owned();
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("'\n'"),
            c if c.is_ascii_alphanumeric() || "_-.,:+/@".contains(c) || !c.is_ascii() => out.push(c),
            c => {
                out.push('\\');
                out.push(c);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Inputs, MAX_FINDINGS, interpolate};
    use crate::gitlab::findings::Log;

    fn found(text: &str, value: &str, variable: &str) -> Vec<String> {
        let mut log = Log::default();
        let inputs = Inputs::from([("a".to_owned(), value.to_owned())]);
        let replaced = interpolate(text, &inputs, &|_| Some(variable.to_owned()), 0, &mut log);
        assert_eq!(replaced.is_some(), log.findings.is_empty());
        log.findings.into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn values_are_bounded_while_they_are_made() {
        let variable = "x".repeat(32 << 10);
        assert!(found("$[[ inputs.a | expand_vars ]]", "$V", &variable).is_empty());
        let long = found("$[[ inputs.a | expand_vars ]]", &"$V".repeat(300_000), &variable);
        assert!(long.len() == 1 && long[0].contains("more than 1048576 bytes"), "{long:?}");
        let often = found(&"$[[inputs.a|truncate(0,0)]]".repeat(30_000), &variable, "");
        assert!(often.len() == MAX_FINDINGS && often[0].contains("process more than"), "{often:?}");
    }

    #[test]
    fn findings_about_references_are_bounded() {
        assert_eq!(found(&"$[[b]]\n".repeat(100_000), "", "").len(), MAX_FINDINGS);
    }
}
