//! The declarations of the inputs of an included file: of Tidemill's files, and of GitLab's.

use crate::condition::PatternError;
use crate::pipeline::finding::{Path, quoted};
use crate::pipeline::typed_inputs::{Constraints, InputType, InputValue, MAX_OPTIONS, Mismatch, Pattern};
use crate::pipeline::yaml::limits::MAX_FILE_BYTES;
use crate::pipeline::yaml::tree::{Kind, MapEntry, Node};
use crate::text::choices::listed;
use crate::text::diagnostics::Location;

/// How a kind of files declares its inputs.
pub(crate) struct InputDialect {
    /// The types by their names; the first is the default.
    pub(crate) types: [(&'static str, InputType); 4],
    /// The key of the pattern.
    pub(crate) pattern_key: &'static str,
    /// Reads a pattern.
    pub(crate) pattern: for<'a> fn(&'a str) -> Result<Pattern<'a>, PatternError>,
    /// Returns a value with its type.
    pub(crate) typed: for<'a> fn(&'a Node) -> InputValue<'a>,
}

/// What is wrong with a declaration or a value.
pub(crate) struct InvalidInput {
    pub(crate) path: Path,
    pub(crate) location: Location,
    pub(crate) message: String,
    /// What to do.
    pub(crate) help: Option<String>,
}

fn scalar(node: &Node) -> Option<&str> {
    match &node.kind {
        Kind::Scalar { text, .. } if !node.is_null() => Some(text),
        _ => None,
    }
}

impl InputDialect {
    /// Returns the name of the type of an input as it is written, or that of the default.
    pub(crate) fn type_name<'a>(&self, input: &'a MapEntry) -> &'a str {
        match input.value.get("type").filter(|entry| !entry.value.is_null()) {
            Some(entry) => scalar(&entry.value).unwrap_or_default(),
            None => self.types[0].0,
        }
    }

    /// Returns what the declared input takes.
    pub(crate) fn constraints<'a>(
        &self,
        input: &'a MapEntry,
        path: &Path,
    ) -> Result<Constraints<'a>, Box<InvalidInput>> {
        let key = |entry: &MapEntry, location: Location, message: String, help: Option<String>| {
            Box::new(InvalidInput { path: path.key(&entry.key), location, message, help })
        };
        let name = self.type_name(input);
        let found = self.types.iter().find(|(known, _)| *known == name);
        let kind = match (found, input.value.get("type")) {
            (Some((_, kind)), _) => *kind,
            (None, entry) => {
                let entry = entry.unwrap_or(input);
                let names = self.types.map(|(name, _)| name);
                let message = format!("{} is not the type of an input", quoted(name));
                let help = format!("use one of {}", listed(&names));
                return Err(key(entry, entry.value.location, message, Some(help)));
            }
        };
        let of_type = [("options", kind.takes_options()), (self.pattern_key, kind.takes_pattern())];
        for (name_of_key, is_taken) in of_type {
            if let Some(entry) = input.value.get(name_of_key).filter(|_| !is_taken) {
                let message = format!("an input of the type `{name}` has no `{name_of_key}`");
                return Err(key(entry, entry.key_location, message, Some("remove it".to_owned())));
            }
        }
        let options = match input.value.get("options") {
            None => None,
            Some(entry) => match (self.typed)(&entry.value) {
                InputValue::List(options) if options.len() <= MAX_OPTIONS => Some(options),
                _ => {
                    let message = format!("`options` takes a list of at most {MAX_OPTIONS} values");
                    return Err(key(entry, entry.key_location, message, None));
                }
            },
        };
        let pattern = match input.value.get(self.pattern_key) {
            None => None,
            Some(entry) => match (self.pattern)(scalar(&entry.value).unwrap_or_default()) {
                Ok(pattern) => Some(pattern),
                Err(why) => {
                    let of = quoted(&input.key);
                    let message = format!("the `{}` of {of} is not valid: {why}", self.pattern_key);
                    return Err(key(entry, entry.value.location, message, None));
                }
            },
        };
        Ok(Constraints { kind, options, pattern, max_len: MAX_FILE_BYTES })
    }

    /// Checks the value `given` at `path`.
    pub(crate) fn check(
        &self,
        constraints: &Constraints<'_>,
        input: &MapEntry,
        given: &MapEntry,
        path: Path,
    ) -> Result<(), Box<InvalidInput>> {
        let Err(mismatch) = constraints.check(&(self.typed)(&given.value)) else { return Ok(()) };
        let name = quoted(&input.key);
        let location = if given.value.is_null() { given.key_location } else { given.value.location };
        let (message, help) = match &mismatch {
            Mismatch::Type(_) | Mismatch::Length(_) => {
                (format!("the input {name} takes {}", mismatch.expected()), None)
            }
            Mismatch::Option { value, .. } => {
                let message = format!("{} is none of the options of {name}", quoted(value));
                (message, Some(format!("use {}", mismatch.expected())))
            }
            Mismatch::Pattern { value, written } => {
                let (value, written) = (quoted(value), quoted(written));
                let message =
                    format!("{value} does not match the `{}` of {name}: {written}", self.pattern_key);
                (message, None)
            }
        };
        Err(Box::new(InvalidInput { path, location, message, help }))
    }
}
