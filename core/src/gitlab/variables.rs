//! Variables of a GitLab file: values that are known when it is translated, and values that are known only when its
//! jobs run.
//!
//! GitLab expands variables in variables and in most texts; native files have literal values, and references in a few
//! places. Values are therefore expanded here as far as the file determines them. A value that depends on the running
//! job is exported at the start of the job's script.

mod pieces;
pub(crate) mod replaced;
mod unset;

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use indexmap::IndexMap;

use crate::execution::facts::ExternalVariables;
use crate::execution::{outputs, predefined};
use crate::gitlab::findings::Log;
use crate::gitlab::values;
use crate::pipeline::finding::{Path, quoted};
use crate::pipeline::is_variable_name;
use crate::pipeline::yaml::tree::Node;
use crate::text::diagnostics::Location;

pub(crate) use pieces::{Piece, WithoutUnset, pieces, push_reference};
use pieces::{literal_text, nested_reference};

/// Maximum length of a value in bytes.
const MAX_VALUE_BYTES: usize = 32 << 10;
/// Maximum depth of the expansion of variables; beyond it, the shell expands them.
const MAX_DEPTH: usize = 32;
/// Maximum number of expanded values for the variables of one job.
const MAX_STEPS: usize = 20_000;

/// Variables that configure GitLab's runner and have no effect here.
const RUNNER_VARIABLES: [&str; 15] = [
    "GIT_FETCH_EXTRA_FLAGS",
    "GIT_CLONE_EXTRA_FLAGS",
    "GIT_SUBMODULE_UPDATE_FLAGS",
    "GIT_CLONE_PATH",
    "GET_SOURCES_ATTEMPTS",
    "CACHE_COMPRESSION_LEVEL",
    "ARTIFACT_COMPRESSION_LEVEL",
    "CACHE_REQUEST_TIMEOUT",
    "TRANSFER_METER_FREQUENCY",
    "ARTIFACT_DOWNLOAD_ATTEMPTS",
    "RESTORE_CACHE_ATTEMPTS",
    "EXECUTOR_JOB_SECTION_ATTEMPTS",
    "RUNNER_SCRIPT_TIMEOUT",
    "RUNNER_AFTER_SCRIPT_TIMEOUT",
    "AFTER_SCRIPT_IGNORE_ERRORS",
];

/// A variable as declared in the file.
#[derive(Debug, Clone)]
pub(crate) struct Variable {
    pub(crate) text: String,
    /// Whether its value is expanded.
    pub(crate) expand: bool,
    pub(crate) location: Location,
}

/// Variables by name.
pub(crate) type Variables = IndexMap<String, Variable>;

/// Reads the variables of a mapping, each a value or a mapping with a value.
pub(crate) fn read(node: &Rc<Node>, path: &Path, log: &mut Log) -> Variables {
    let mut all = Variables::new();
    if !values::is_mapping(node) && !node.is_null() {
        log.wrong_type(path, node, "a mapping of names to values");
    }
    for entry in values::entries(node) {
        let at = path.key(&entry.key);
        if !is_variable_name(&entry.key) {
            log.invalid(
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
                "it configures GitLab Runner; here it is an ordinary variable",
            );
        }
        let mut declared = Variable { text: String::new(), expand: true, location: entry.value.location };
        if values::is_mapping(&entry.value) {
            for part in values::entries(&entry.value) {
                match part.key.as_str() {
                    "value" => values::text(&part.value).unwrap_or_default().clone_into(&mut declared.text),
                    "expand" => declared.expand = values::flag_of(part, &at, log).unwrap_or(true),
                    "description" | "options" => {
                        log.ignored(&at, part, "it applies only to GitLab's page for starting a pipeline");
                    }
                    _ => log.unknown_key(&at, part, &["value", "expand", "description", "options"]),
                }
            }
        } else if let Some(text) = values::text(&entry.value) {
            text.clone_into(&mut declared.text);
        } else if entry.value.is_null() {
            let message = format!("the variable `{}` has no value, so it is empty", entry.key);
            log.changed(&at, entry.key_location, message);
        } else {
            log.wrong_type(&at, &entry.value, "a string or a number");
        }
        if declared.expand
            && let Some(nested) = nested_reference(&declared.text)
        {
            let message = format!(
                "only the inner variable of {} is expanded: the name of a variable cannot contain another one",
                quoted(nested)
            );
            log.changed(&at, declared.location, message);
        }
        all.insert(entry.key.clone(), declared);
    }
    all
}

/// Applies the variables that are set outside of the file, which take precedence.
pub(crate) fn apply_external(declared: &mut Variables, external: &ExternalVariables) {
    declared.retain(|name, _| !external.hidden.contains(name));
    for (name, variable) in declared {
        if let Some(value) = external.values.get(name) {
            value.clone_into(&mut variable.text);
            variable.expand = false;
        }
    }
}

/// The variables of a job, as far as they are known.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scope {
    values: Rc<IndexMap<String, Value>>,
    /// Names whose values depend on the variant of the job, or on the matching rule.
    varying: Rc<HashSet<String>>,
    /// The values of those that a rule of `workflow` sets, within its case.
    of_workflow: HashMap<String, String>,
    /// Whether it is the case of one rule of `workflow`, so that the variables of other rules are not set.
    is_case: bool,
    constants: HashMap<&'static str, String>,
    external: Rc<ExternalVariables>,
    /// Whether variables that nobody sets are accepted, because they are reported elsewhere.
    accepts_unset: bool,
    outputs: KnownOutputs,
}

/// The variables that jobs hand to others; their names are not known.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct KnownOutputs {
    /// Whether there may be ones of other jobs.
    pub(crate) of_others: bool,
    /// Whether there may be ones of the job itself.
    pub(crate) own: bool,
}

/// What is known when a text is complete.
#[derive(Debug, Clone, Copy)]
enum Known {
    /// What is known when the job is planned.
    Planned,
    /// What is known when the job is due, or has ended: also its id, and outputs of jobs if there may be any.
    Due { outputs: bool },
}

impl Known {
    /// Whether a variable that neither the file nor the plan sets may be known.
    fn includes(self, name: &str) -> bool {
        match self {
            Self::Planned => false,
            Self::Due { outputs } => outputs || outputs::is_due_reference(name),
        }
    }
}

#[derive(Debug, Clone)]
enum Value {
    Fixed(String),
    Runtime(Vec<Piece>),
}

impl Scope {
    /// Creates the scope of a job that declares `declared`, and gets `varying` from its matrix or its rules.
    pub(crate) fn new(
        declared: &Variables,
        varying: HashSet<String>,
        stage: Option<&str>,
        (external, accepts_unset): (&Rc<ExternalVariables>, bool),
        path: &Path,
        log: &mut Log,
    ) -> Self {
        let mut constants = HashMap::from([("CI_PROJECT_DIR", predefined::WORKSPACE_DIR.to_owned())]);
        constants.extend(stage.map(|stage| ("CI_JOB_STAGE", stage.to_owned())));
        let (external, outputs, varying) = (Rc::clone(external), KnownOutputs::default(), Rc::new(varying));
        let mut scope = Self { varying, constants, external, accepts_unset, outputs, ..Self::default() };
        let (mut resolved, mut steps) = (HashMap::new(), 0);
        for (name, variable) in declared {
            let mut resolver =
                Resolver { declared, scope: &scope, resolved, chain: Vec::new(), is_truncated: false, steps };
            let result = resolver.resolve(name);
            (resolved, steps) = (resolver.resolved, resolver.steps);
            match result {
                None => log.invalid(
                    &path.key(name),
                    variable.location,
                    format!("the expanded value of `{name}` has more than {MAX_VALUE_BYTES} bytes"),
                ),
                Some(pieces) => {
                    let value = match literal_text(&pieces) {
                        Some(text) => Value::Fixed(text),
                        None => Value::Runtime(pieces),
                    };
                    Rc::make_mut(&mut scope.values).insert(name.clone(), value);
                }
            }
        }
        scope
    }

    /// Returns the variables with known values.
    pub(crate) fn fixed_values(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().filter_map(|(name, value)| match value {
            Value::Fixed(text) => Some((name.as_str(), text.as_str())),
            Value::Runtime(_) => None,
        })
    }

    /// Returns the names of the variables whose values depend on others that the file does not set.
    pub(crate) fn runtime_names(&self) -> impl Iterator<Item = &str> {
        let is_runtime =
            |name: &str, value: &Value| matches!(value, Value::Runtime(_)) && !self.varying.contains(name);
        let names = self.values.iter().filter(move |(name, value)| is_runtime(name, value));
        names.map(|(name, _)| name.as_str())
    }

    /// Returns the value of `name`, if it is known and the same in the whole job.
    pub(crate) fn fixed_value(&self, name: &str) -> Option<String> {
        if let Some(value) = self.of_workflow.get(name) {
            return Some(value.clone());
        }
        match self.values.get(name) {
            _ if self.varying.contains(name) => None,
            Some(Value::Fixed(text)) => Some(text.clone()),
            Some(Value::Runtime(_)) => None,
            None => self.constants.get(name).or_else(|| self.external.values.get(name)).cloned(),
        }
    }

    /// Whether the file sets `name`, or it is set outside of the file.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.values.contains_key(name) || self.varying.contains(name) || self.external.contains(name)
    }

    /// Whether only jobs know the value of `name`, as it is set outside of the file and must not be recorded.
    pub(crate) fn is_hidden(&self, name: &str) -> bool {
        let external = &self.external;
        let is_set = external.hidden.contains(name) || external.of_environments.contains(name);
        is_set && !self.values.contains_key(name)
    }

    /// Returns the parts of the value of `name`, if the file sets it but only a running job knows it.
    pub(crate) fn runtime_pieces(&self, name: &str) -> Option<&[Piece]> {
        match self.values.get(name) {
            Some(Value::Runtime(pieces)) if !self.varying.contains(name) => Some(pieces),
            _ => None,
        }
    }

    /// Returns a text with native references, or the name of the first unknown variable.
    pub(crate) fn references(&self, text: &str) -> Result<String, String> {
        self.complete(text, Known::Planned)
    }

    /// Returns a text like [`Self::references`] that is complete when the job is due: its unknown variables may be outputs of
    /// other jobs, if there are any.
    pub(crate) fn due_references(&self, text: &str) -> Result<String, String> {
        self.complete(text, Known::Due { outputs: self.outputs.of_others })
    }

    /// Returns a text like [`Self::references`] that is complete when the job has ended: its unknown variables may be outputs.
    pub(crate) fn late_references(&self, text: &str) -> Result<String, String> {
        self.complete(text, Known::Due { outputs: self.outputs.of_others || self.outputs.own })
    }

    /// Returns a text like [`Self::references`] that is complete when the job runs: its unknown variables may be set then.
    pub(crate) fn late_job_references(&self, text: &str) -> Result<String, String> {
        self.complete(text, Known::Due { outputs: true })
    }

    /// Returns the scope with variables of `workflow`, given as native texts; `is_case` says whether they are those of one rule.
    pub(crate) fn within_workflow<'v>(
        &self,
        variables: impl Iterator<Item = (&'v String, &'v String)>,
        is_case: bool,
    ) -> Self {
        let mut scope = Self { is_case, ..self.clone() };
        for (name, text) in variables {
            if text.contains("${") {
                Rc::make_mut(&mut scope.varying).remove(name);
                Rc::make_mut(&mut scope.values).insert(name.clone(), Value::Runtime(pieces(text)));
            } else {
                scope.of_workflow.insert(name.clone(), text.clone());
            }
        }
        scope
    }

    /// Whether variables that have no value here are not set.
    pub(crate) fn is_case(&self) -> bool {
        self.is_case
    }

    /// Returns the value of `name` in the case of a rule of `workflow` that sets it.
    pub(crate) fn value_of_workflow(&self, name: &str) -> Option<&str> {
        self.of_workflow.get(name).map(String::as_str)
    }

    /// Sets which outputs there may be.
    pub(crate) fn with_outputs(self, outputs: KnownOutputs) -> Self {
        Self { outputs, ..self }
    }

    fn complete(&self, text: &str, known: Known) -> Result<String, String> {
        let mut out = String::with_capacity(text.len());
        self.write(&pieces(text), known, &mut out)?;
        Ok(out)
    }

    fn write(&self, pieces: &[Piece], known: Known, out: &mut String) -> Result<(), String> {
        for piece in pieces {
            match piece {
                Piece::Text(text) if text.contains('$') => return Err("$".to_owned()),
                Piece::Text(text) => out.push_str(text),
                Piece::Name(name) => match self.values.get(name) {
                    Some(Value::Runtime(inner)) if !self.varying.contains(name) => {
                        // The remaining names are not variables of the file.
                        for piece in inner {
                            match piece {
                                Piece::Name(name) => self.name(name, known, out)?,
                                Piece::Text(text) if text.contains('$') => return Err("$".to_owned()),
                                Piece::Text(text) => out.push_str(text),
                            }
                        }
                    }
                    Some(_) => push_reference(name, out),
                    None => self.name(name, known, out)?,
                },
            }
        }
        Ok(())
    }

    fn name(&self, name: &str, known: Known, out: &mut String) -> Result<(), String> {
        if let Some(text) = self.constants.get(name) {
            out.push_str(text);
        } else if let Some(text) = self.external.values.get(name) {
            if text.contains('$') {
                return Err("$".to_owned());
            }
            out.push_str(text);
        } else if self.is_hidden(name) {
            return Err(name.to_owned());
        } else if self.varying.contains(name) || predefined::is_reference(name) || known.includes(name) {
            push_reference(name, out);
        } else if self.accepts_unset && !predefined::is_predefined(name) {
            out.push_str(&name.to_ascii_lowercase());
        } else {
            return Err(name.to_owned());
        }
        Ok(())
    }

    /// Returns a path or a glob relative to the sources. An unknown variable becomes a `*`, and is returned.
    pub(crate) fn glob(&self, text: &str) -> (String, Option<String>) {
        let mut out = String::with_capacity(text.len());
        let mut unknown = None;
        for piece in pieces(text) {
            match piece {
                Piece::Text(text) => out.push_str(&text),
                Piece::Name(name) => {
                    if let Some(text) = self.fixed_value(&name) {
                        out.push_str(&text);
                    } else {
                        out.push('*');
                        unknown.get_or_insert(name);
                    }
                }
            }
        }
        let relative = out.strip_prefix(predefined::WORKSPACE_DIR).map(|rest| rest.trim_start_matches('/'));
        let relative = relative.map(|rest| if rest.is_empty() { "./" } else { rest }.to_owned());
        (relative.unwrap_or(out), unknown)
    }

    /// Returns a text with all variables expanded, or the name of the first unknown one.
    pub(crate) fn expand(&self, text: &str) -> Result<String, String> {
        pieces(text)
            .into_iter()
            .map(|piece| match piece {
                Piece::Text(text) => Ok(text),
                Piece::Name(name) => self.fixed_value(&name).ok_or(name),
            })
            .collect()
    }
}

struct Resolver<'a> {
    declared: &'a Variables,
    scope: &'a Scope,
    resolved: HashMap<String, Option<Vec<Piece>>>,
    chain: Vec<String>,
    /// Whether a reference was not expanded because it is circular, so that the result is not valid for other
    /// variables.
    is_truncated: bool,
    steps: usize,
}

impl Resolver<'_> {
    /// Returns the parts of a variable's value with other variables of the file expanded; `None` if it becomes too
    /// long.
    fn resolve(&mut self, name: &str) -> Option<Vec<Piece>> {
        if let Some(result) = self.resolved.get(name) {
            return result.clone();
        }
        let declared = self.declared.get(name)?;
        if !declared.expand {
            return Some(vec![Piece::Text(declared.text.clone())]);
        }
        self.chain.push(name.to_owned());
        let before = std::mem::take(&mut self.is_truncated);
        self.steps += 1;
        let mut out: Vec<Piece> = Vec::new();
        let mut length = 0;
        let mut is_within_limits = self.steps <= MAX_STEPS;
        for piece in if is_within_limits { pieces(&declared.text) } else { Vec::new() } {
            let inner = match &piece {
                Piece::Text(_) => vec![piece],
                Piece::Name(other) => {
                    let scope = self.scope;
                    if let Some(text) =
                        scope.constants.get(other.as_str()).or_else(|| scope.external.values.get(other))
                    {
                        vec![Piece::Text(text.clone())]
                    } else if self.chain.contains(other) || self.chain.len() >= MAX_DEPTH {
                        self.is_truncated = true;
                        vec![piece]
                    } else if self.declared.contains_key(other) && !self.scope.varying.contains(other) {
                        if let Some(inner) = self.resolve(other) {
                            inner
                        } else {
                            is_within_limits = false;
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
                is_within_limits = false;
                break;
            }
        }
        self.chain.pop();
        let result = is_within_limits.then_some(out);
        if !self.is_truncated || self.chain.is_empty() {
            self.resolved.insert(name.to_owned(), result.clone());
        }
        self.is_truncated |= before;
        result
    }
}
