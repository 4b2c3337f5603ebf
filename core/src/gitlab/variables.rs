//! Variables of a GitLab file: what is known of their values when it is read, and what is left to when its jobs run.
//!
//! GitLab puts variables into variables, and into most texts; native files have values as they are written, and references
//! in a few places. So values are put in here as far as the file knows them. One that needs what only a running job knows is exported
//! in front of the job's script.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use indexmap::IndexMap;

use crate::execution::predefined;
use crate::gitlab::findings::Log;
use crate::gitlab::values;
use crate::pipeline::finding::{Path, quoted};
use crate::pipeline::is_variable_name;
use crate::pipeline::yaml::tree::Node;
use crate::text::diagnostics::Location;

/// How long a value may become, in bytes.
const MAX_VALUE_BYTES: usize = 32 << 10;
/// How deep variables may be put into each other; below that they are left to the shell.
const MAX_DEPTH: usize = 32;
/// How many values may be looked at for the variables of one job.
const MAX_STEPS: usize = 20_000;

/// Variables that configure GitLab's runner; they have no effect here.
const RUNNER_VARIABLES: [&str; 8] = [
    "GIT_STRATEGY",
    "GIT_DEPTH",
    "GIT_CHECKOUT",
    "GIT_CLEAN_FLAGS",
    "GIT_SUBMODULE_STRATEGY",
    "GIT_LFS_SKIP_SMUDGE",
    "CACHE_COMPRESSION_LEVEL",
    "ARTIFACT_COMPRESSION_LEVEL",
];

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Itself.
    Text(String),
    /// A variable's value.
    Name(String),
}

/// A variable as it is written.
#[derive(Debug, Clone)]
pub(crate) struct Variable {
    pub(crate) text: String,
    /// Whether variables are put into it.
    pub(crate) expand: bool,
    pub(crate) location: Location,
}

/// Variables by their names.
pub(crate) type Variables = IndexMap<String, Variable>;

/// The variables of a mapping, each a value or a mapping with one.
pub(crate) fn read(node: &Rc<Node>, path: &Path, log: &mut Log) -> Variables {
    let mut all = Variables::new();
    if !values::is_mapping(node) && !node.is_null() {
        log.wrong_type(path, node, "a mapping of names to values");
    }
    for entry in values::entries(node) {
        let at = path.key(&entry.key);
        if !is_variable_name(&entry.key) {
            log.wrong(
                &at,
                entry.key_location,
                format!("{} is not a valid variable name", quoted(&entry.key)),
            );
            continue;
        }
        if RUNNER_VARIABLES.contains(&entry.key.as_str()) || entry.key.starts_with("FF_") {
            log.ignored_at(
                &at,
                entry.key_location,
                &format!("the variable `{}`", entry.key),
                "it tells GitLab's runner what to do, and no other; jobs have it as any other variable",
            );
        }
        let mut given = Variable { text: String::new(), expand: true, location: entry.value.location };
        if values::is_mapping(&entry.value) {
            for part in values::entries(&entry.value) {
                match part.key.as_str() {
                    "value" => values::text(&part.value).unwrap_or_default().clone_into(&mut given.text),
                    "expand" => given.expand = values::flag_of(part, &at, log).unwrap_or(true),
                    "description" | "options" => {
                        log.ignored(&at, part, "it is for GitLab's page that starts a pipeline");
                    }
                    _ => log.unknown(&at, part, &["value", "expand", "description", "options"]),
                }
            }
        } else if let Some(text) = values::text(&entry.value) {
            text.clone_into(&mut given.text);
        } else if !entry.value.is_null() {
            log.wrong_type(&at, &entry.value, "text or a number");
        }
        all.insert(entry.key.clone(), given);
    }
    all
}

/// The parts of a text: `$NAME` and `${NAME}` are variables, and `$$` is a `$`.
pub(crate) fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        plain.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(after) = after.strip_prefix('$') {
            plain.push('$');
            rest = after;
            continue;
        }
        let (body, braced) = after.strip_prefix('{').map_or((after, false), |body| (body, true));
        let length = body.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(body.len());
        let closed = !braced || body[length..].starts_with('}');
        if is_variable_name(&body[..length]) && closed {
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(Piece::Name(body[..length].to_owned()));
            rest = &body[length + usize::from(braced)..];
        } else {
            plain.push('$');
            rest = after;
        }
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain));
    }
    pieces
}

/// What is known of a job's variables.
#[derive(Debug, Default)]
pub(crate) struct Scope {
    values: IndexMap<String, Value>,
    /// Names whose values differ between the job's variants, or by the rule that holds.
    varying: HashSet<String>,
    constants: HashMap<&'static str, String>,
}

#[derive(Debug, Clone)]
enum Value {
    Fixed(String),
    AtRunTime(Vec<Piece>),
}

impl Scope {
    /// Those of a job that has `given`, and those of `varying` by its matrix or its rules.
    pub(crate) fn new(
        given: &Variables,
        varying: HashSet<String>,
        stage: Option<&str>,
        path: &Path,
        log: &mut Log,
    ) -> Self {
        let mut constants = HashMap::from([("CI_PROJECT_DIR", predefined::WORKSPACE_DIR.to_owned())]);
        constants.extend(stage.map(|stage| ("CI_JOB_STAGE", stage.to_owned())));
        let mut scope = Self { values: IndexMap::new(), varying, constants };
        let (mut done, mut steps) = (HashMap::new(), 0);
        for (name, one) in given {
            let mut resolver = Resolver { given, scope: &scope, done, chain: Vec::new(), cut: false, steps };
            let resolved = resolver.resolve(name);
            (done, steps) = (resolver.done, resolver.steps);
            match resolved {
                None => log.wrong(
                    &path.key(name),
                    one.location,
                    format!("with its variables put in the value of `{name}` has more than {MAX_VALUE_BYTES} bytes"),
                ),
                Some(pieces) => {
                    let value = match joined(&pieces) {
                        Some(text) => Value::Fixed(text),
                        None => Value::AtRunTime(pieces),
                    };
                    scope.values.insert(name.clone(), value);
                }
            }
        }
        scope
    }

    /// The variables whose values are known.
    pub(crate) fn fixed_values(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().filter_map(|(name, value)| match value {
            Value::Fixed(text) => Some((name.as_str(), text.as_str())),
            Value::AtRunTime(_) => None,
        })
    }

    /// The value of `name`, if it is known and the same for all of the job.
    pub(crate) fn fixed(&self, name: &str) -> Option<String> {
        if self.varying.contains(name) {
            return None;
        }
        match self.values.get(name) {
            Some(Value::Fixed(text)) => Some(text.clone()),
            Some(Value::AtRunTime(_)) => None,
            None => self.constants.get(name).cloned(),
        }
    }

    /// What the value of `name` is made of, where the file says so and it is known to a running job only.
    pub(crate) fn run_time(&self, name: &str) -> Option<&[Piece]> {
        match self.values.get(name) {
            Some(Value::AtRunTime(pieces)) if !self.varying.contains(name) => Some(pieces),
            _ => None,
        }
    }

    /// Shell lines that set the variables whose values a running job knows.
    pub(crate) fn exports(&self) -> Vec<String> {
        let line = |(name, value): (&String, &Value)| match value {
            Value::AtRunTime(pieces) if !self.varying.contains(name) => {
                Some(format!("export {name}=\"{}\"", in_shell(pieces)))
            }
            _ => None,
        };
        self.values.iter().filter_map(line).collect()
    }

    /// A text with references as native files have them; else the name that is not known.
    pub(crate) fn references(&self, text: &str) -> Result<String, String> {
        let mut out = String::with_capacity(text.len());
        self.write(&pieces(text), &mut out)?;
        Ok(out)
    }

    fn write(&self, pieces: &[Piece], out: &mut String) -> Result<(), String> {
        for piece in pieces {
            match piece {
                Piece::Text(text) if text.contains('$') => return Err("$".to_owned()),
                Piece::Text(text) => out.push_str(text),
                Piece::Name(name) => match self.values.get(name) {
                    Some(Value::AtRunTime(inner)) if !self.varying.contains(name) => {
                        // What is left in it are names that are no variables of the file.
                        for piece in inner {
                            match piece {
                                Piece::Name(name) => self.name(name, out)?,
                                Piece::Text(text) if text.contains('$') => return Err("$".to_owned()),
                                Piece::Text(text) => out.push_str(text),
                            }
                        }
                    }
                    Some(_) => refer(name, out),
                    None => self.name(name, out)?,
                },
            }
        }
        Ok(())
    }

    fn name(&self, name: &str, out: &mut String) -> Result<(), String> {
        if let Some(text) = self.constants.get(name) {
            out.push_str(text);
        } else if self.varying.contains(name) || predefined::is_of_execution(name) || name == "CI_JOB_NAME" {
            refer(name, out);
        } else {
            return Err(name.to_owned());
        }
        Ok(())
    }

    /// A path or a glob below the sources; what is not known becomes a `*`, and is then named.
    pub(crate) fn glob(&self, text: &str) -> (String, Option<String>) {
        let mut out = String::with_capacity(text.len());
        let mut unknown = None;
        for piece in pieces(text) {
            match piece {
                Piece::Text(text) => out.push_str(&text),
                Piece::Name(name) => {
                    if let Some(text) = self.fixed(&name) {
                        out.push_str(&text);
                    } else {
                        out.push('*');
                        unknown.get_or_insert(name);
                    }
                }
            }
        }
        let within = out.strip_prefix(predefined::WORKSPACE_DIR).map(|rest| rest.trim_start_matches('/'));
        let within = within.map(|rest| if rest.is_empty() { "./" } else { rest }.to_owned());
        (within.unwrap_or(out), unknown)
    }

    /// A text with all its variables put in, if they are known.
    pub(crate) fn known(&self, text: &str) -> Result<String, String> {
        pieces(text)
            .into_iter()
            .map(|piece| match piece {
                Piece::Text(text) => Ok(text),
                Piece::Name(name) => self.fixed(&name).ok_or(name),
            })
            .collect()
    }
}

/// Adds `${name}`.
fn refer(name: &str, out: &mut String) {
    out.push_str("${");
    out.push_str(name);
    out.push('}');
}

fn joined(pieces: &[Piece]) -> Option<String> {
    pieces
        .iter()
        .map(|piece| match piece {
            Piece::Text(text) => Some(text.as_str()),
            Piece::Name(_) => None,
        })
        .collect()
}

/// The parts between double quotes of a shell.
fn in_shell(pieces: &[Piece]) -> String {
    let mut out = String::new();
    for piece in pieces {
        match piece {
            Piece::Name(name) => refer(name, &mut out),
            Piece::Text(text) => {
                for c in text.chars() {
                    if matches!(c, '\\' | '"' | '`' | '$') {
                        out.push('\\');
                    }
                    out.push(c);
                }
            }
        }
    }
    out
}

struct Resolver<'a> {
    given: &'a Variables,
    scope: &'a Scope,
    done: HashMap<String, Option<Vec<Piece>>>,
    chain: Vec<String>,
    /// Whether something was left out as it leads back to where one comes from, so that the result is not the same for others.
    cut: bool,
    steps: usize,
}

impl Resolver<'_> {
    /// The parts of a variable's value, other variables of the file put in; `None` where it becomes too long.
    fn resolve(&mut self, name: &str) -> Option<Vec<Piece>> {
        if let Some(done) = self.done.get(name) {
            return done.clone();
        }
        let given = self.given.get(name)?;
        if !given.expand {
            return Some(vec![Piece::Text(given.text.clone())]);
        }
        self.chain.push(name.to_owned());
        let before = std::mem::take(&mut self.cut);
        self.steps += 1;
        let mut out: Vec<Piece> = Vec::new();
        let mut length = 0;
        let mut fits = self.steps <= MAX_STEPS;
        for piece in if fits { pieces(&given.text) } else { Vec::new() } {
            let inner = match &piece {
                Piece::Text(_) => vec![piece],
                Piece::Name(other) => {
                    if let Some(text) = self.scope.constants.get(other.as_str()) {
                        vec![Piece::Text(text.clone())]
                    } else if self.chain.contains(other) || self.chain.len() >= MAX_DEPTH {
                        self.cut = true;
                        vec![piece]
                    } else if self.given.contains_key(other) && !self.scope.varying.contains(other) {
                        if let Some(inner) = self.resolve(other) {
                            inner
                        } else {
                            fits = false;
                            break;
                        }
                    } else {
                        vec![piece]
                    }
                }
            };
            for piece in inner {
                length += match &piece {
                    Piece::Text(text) | Piece::Name(text) => text.len() + 1,
                };
                match (out.last_mut(), piece) {
                    (Some(Piece::Text(before)), Piece::Text(text)) => before.push_str(&text),
                    (_, piece) => out.push(piece),
                }
            }
            if length > MAX_VALUE_BYTES {
                fits = false;
                break;
            }
        }
        self.chain.pop();
        let result = fits.then_some(out);
        if !self.cut || self.chain.is_empty() {
            self.done.insert(name.to_owned(), result.clone());
        }
        self.cut |= before;
        result
    }
}
