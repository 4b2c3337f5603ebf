//! Parses a condition: first with a CEL parser, then by resolving names and types.

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, SourceInfo, operators};
use cel::parser::Parser;
use std::cell::RefCell;

use super::error::{ConditionError, quoted, syntax_fault};
use super::evaluation_error::EvaluationError;
use super::nesting::{check_nesting, comparison_depth, without_case};
use super::open::{Decision, OpenCondition};
use super::outputs::{MAX_OUTPUTS, OutputPath, OutputReference, output_path};
use super::paths::{check_size, glob};
use super::predicate::{
    Context, EVENTS, Fact, MAX_DEPTH, Pattern, Predicate, Source, TEXT_FACTS, UPSTREAM_STATUSES, Value,
};
use crate::repository::webhook::PullRequestAction;
use crate::text::suggest;

/// Maximum length of a condition in bytes; a translated one is longer than what its user wrote.
pub const MAX_LEN: usize = 16_000;
/// The parser needs a kilobyte of stack for each rule of its grammar, so that the deepest and longest condition would
/// overflow the stack of a server thread. It runs on a thread with a large stack, of which only the used part is
/// allocated.
const STACK_BYTES: usize = 256 << 20;

const BOOL_FACTS: [&str; 2] = ["fork", "draft"];
const FUNCTIONS: [&str; 5] = ["env", "defined", "changed", "changed_since", "exists"];
const METHODS: [&str; 6] = ["startsWith", "endsWith", "contains", "matches", "lowerAscii", "upperAscii"];

/// A checked condition.
#[derive(Debug, Clone)]
pub struct Condition {
    pub(super) predicate: Predicate,
    outputs: Vec<OutputReference>,
}

/// Parses and checks a condition.
///
/// # Errors
/// Returns the first error.
pub fn check(text: &str) -> Result<Condition, ConditionError> {
    parse_on_large_stack(text)
}

impl Condition {
    /// Evaluates the condition in `context`, before any job runs. What depends on outputs stays open.
    ///
    /// # Errors
    /// A variable that is used as a pattern is none, a text is too long, or there is no ref to compare with.
    pub fn decide(&self, context: &Context<'_>) -> Result<Decision, EvaluationError> {
        Ok(match self.predicate.reduce(Source::Planned(*context))? {
            Predicate::Const(holds) => Decision::Known(holds),
            open => Decision::Open(OpenCondition(open)),
        })
    }

    /// Returns the outputs that it refers to, in order.
    #[must_use]
    pub fn outputs(&self) -> &[OutputReference] {
        &self.outputs
    }
}

/// Parses a condition.
fn parse_on_large_stack(text: &str) -> Result<Condition, ConditionError> {
    let whole = |message: &str| ConditionError {
        start: 0,
        length: text.chars().count().max(1),
        message: message.to_owned(),
        help: None,
    };
    if text.trim().is_empty() {
        return Err(ConditionError {
            help: Some("write a condition, such as `branch == default_branch`".to_owned()),
            ..whole("the condition is empty")
        });
    }
    if text.len() > MAX_LEN {
        return Err(whole(&format!("the condition has {} bytes; the limit is {MAX_LEN}", text.len())));
    }
    check_nesting(text)?;
    let result = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, || parse(text));
        thread.ok().and_then(|thread| thread.join().ok())
    });
    result.unwrap_or_else(|| Err(whole("the condition cannot be parsed")))
}

fn parse(text: &str) -> Result<Condition, ConditionError> {
    let parsed = Parser::new().max_recursion_depth(MAX_DEPTH).parse_with_source_info(text);
    let (expression, source) = parsed.map_err(|errors| {
        let first = errors.errors.first();
        syntax_fault(
            text,
            first.map_or((1, 0), |error| error.pos),
            first.map_or("", |error| error.msg.as_str()),
        )
    })?;
    let parser = ConditionParser { text, source, outputs: RefCell::default() };
    let predicate = parser.predicate(&expression)?;
    let outputs = parser.outputs.into_inner();
    match outputs.get(MAX_OUTPUTS) {
        Some(first) => Err(ConditionError {
            start: first.start,
            length: first.length,
            message: format!("it refers to more than {MAX_OUTPUTS} outputs"),
            help: Some("let a script decide, and write its result as one output".to_owned()),
        }),
        None => Ok(Condition { predicate, outputs }),
    }
}

/// A parsed expression by its type.
enum TypedExpr {
    Predicate(Predicate),
    Text(Value),
    List(Vec<Value>),
}

impl TypedExpr {
    const fn type_name(&self) -> &'static str {
        match self {
            Self::Predicate(_) => "a boolean",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
        }
    }
}

struct ConditionParser<'a> {
    text: &'a str,
    source: SourceInfo,
    /// The outputs that were found so far.
    outputs: RefCell<Vec<OutputReference>>,
}

impl ConditionParser<'_> {
    fn fault(&self, at: &IdedExpr, message: impl Into<String>) -> ConditionError {
        // The parser counts bytes, and includes the last one.
        let characters = |bytes: usize| self.text.char_indices().take_while(|(at, _)| *at < bytes).count();
        let (start, stop) = self.source.offset_for(at.id).unwrap_or_default();
        let (start, end) = (characters(start as usize), characters(stop as usize + 1));
        ConditionError {
            start,
            length: end.saturating_sub(start).max(1),
            message: message.into(),
            help: None,
        }
    }

    fn predicate(&self, of: &IdedExpr) -> Result<Predicate, ConditionError> {
        match self.expression(of)? {
            TypedExpr::Predicate(test) => Ok(test),
            other => {
                let fault =
                    self.fault(of, format!("a condition must be a boolean, not {}", other.type_name()));
                let is_text = matches!(other, TypedExpr::Text(_));
                Err(ConditionError {
                    help: is_text.then(|| "compare it, as in `!= \"\"`".to_owned()),
                    ..fault
                })
            }
        }
    }

    fn text(&self, of: &IdedExpr) -> Result<Value, ConditionError> {
        match self.expression(of)? {
            TypedExpr::Text(value) => Ok(value),
            other => Err(self.fault(of, format!("expected a string, not {}", other.type_name()))),
        }
    }

    fn expression(&self, of: &IdedExpr) -> Result<TypedExpr, ConditionError> {
        if let Some(path) = output_path(of) {
            return self.output(of, &path);
        }
        match &of.expr {
            Expr::Literal(LiteralValue::Boolean(value)) => {
                Ok(TypedExpr::Predicate(Predicate::Const(*value.inner())))
            }
            Expr::Literal(LiteralValue::String(text)) => {
                Ok(TypedExpr::Text(Value::Literal(text.inner().to_owned())))
            }
            Expr::Literal(LiteralValue::Null) => Err(ConditionError {
                help: Some("a variable that is not set is `\"\"`; use `defined(\"NAME\")` to distinguish it from an empty one".to_owned()),
                ..self.fault(of, "null is not supported")
            }),
            Expr::Literal(_) => Err(ConditionError {
                help: Some("put it in quotes: variables are strings".to_owned()),
                ..self.fault(of, "numbers are not supported")
            }),
            Expr::Ident(name) => self.name(of, name),
            Expr::List(list) => {
                let items: Result<Vec<_>, _> = list.elements.iter().map(|item| self.text(item)).collect();
                items.map(TypedExpr::List)
            }
            Expr::Call(call) => self.call(of, call),
            Expr::Select(_) => Err(ConditionError {
                help: Some(
                    "an output of another job is `needs.JOB.outputs.NAME`, a variable `env(\"NAME\")`".to_owned(),
                ),
                ..self.fault(of, "fields are not supported")
            }),
            Expr::Comprehension(_) | Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => {
                Err(self.fault(of, "this part of CEL is not supported"))
            }
        }
    }

    /// Reads `needs.JOB.outputs.NAME`.
    fn output(&self, of: &IdedExpr, path: &OutputPath<'_>) -> Result<TypedExpr, ConditionError> {
        let start = self.fault(path.root, "").start;
        let last = self.fault(path.last, "");
        let end = last.start + last.length + path.suffix_len();
        let at = OutputReference { job: String::new(), output: String::new(), start, length: end - start };
        let [job, "outputs", output] = path.parts.as_slice() else {
            let message = "an output of a job is written `needs.JOB.outputs.NAME`";
            return Err(ConditionError {
                help: Some(
                    "a name with other characters is in brackets: `needs[\"unit tests\"].outputs.NAME`"
                        .to_owned(),
                ),
                start,
                length: at.length,
                ..self.fault(of, message)
            });
        };
        let (job, name) = ((*job).to_owned(), (*output).to_owned());
        self.outputs.borrow_mut().push(OutputReference { job: job.clone(), output: name.clone(), ..at });
        Ok(TypedExpr::Text(Value::Output { job, name }))
    }

    fn name(&self, of: &IdedExpr, name: &str) -> Result<TypedExpr, ConditionError> {
        if let Some((_, fact)) = TEXT_FACTS.iter().find(|(known, _)| *known == name) {
            return Ok(TypedExpr::Text(Value::Fact(*fact)));
        }
        match name {
            "fork" => return Ok(TypedExpr::Predicate(Predicate::Fork)),
            "draft" => return Ok(TypedExpr::Predicate(Predicate::Draft)),
            _ => {}
        }
        let known = || TEXT_FACTS.iter().map(|(name, _)| *name).chain(BOOL_FACTS);
        let help = match suggest::nearest(name, known()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_') => {
                format!("write `env(\"{name}\")` for a variable")
            }
            None => {
                format!("the names are {}; put strings in quotes", known().collect::<Vec<_>>().join(", "))
            }
        };
        Err(ConditionError { help: Some(help), ..self.fault(of, format!("unknown name {}", quoted(name))) })
    }

    fn call(&self, of: &IdedExpr, call: &CallExpr) -> Result<TypedExpr, ConditionError> {
        let name = call.func_name.as_str();
        if let Some(target) = &call.target {
            return self.method(of, target, name, &call.args);
        }
        let test = match (name, call.args.as_slice()) {
            (operators::LOGICAL_NOT, [inner]) => Predicate::Not(Box::new(self.predicate(inner)?)),
            (operators::LOGICAL_AND, [left, right]) => {
                Predicate::And(Box::new(self.predicate(left)?), Box::new(self.predicate(right)?))
            }
            (operators::LOGICAL_OR, [left, right]) => {
                Predicate::Or(Box::new(self.predicate(left)?), Box::new(self.predicate(right)?))
            }
            (operators::EQUALS, [left, right]) => self.equal(of, left, right)?,
            (operators::NOT_EQUALS, [left, right]) => Predicate::Not(Box::new(self.equal(of, left, right)?)),
            (operators::IN, [value, list]) => {
                let value_at = value;
                let value = self.text(value)?;
                match self.expression(list)? {
                    TypedExpr::List(items) => {
                        for item in &items {
                            self.check_value(value_at, &value, item)?;
                        }
                        Predicate::In(value, items)
                    }
                    other => {
                        let fault =
                            self.fault(list, format!("`in` requires a list, not {}", other.type_name()));
                        return Err(ConditionError {
                            help: Some("write `in [\"a\", \"b\"]`".to_owned()),
                            ..fault
                        });
                    }
                }
            }
            (operators::CONDITIONAL, [test, then, other]) => return self.choice(of, test, then, other),
            (operators::ADD, [left, right]) => {
                // A chain of `+` is flattened.
                let mut parts = match self.text(left)? {
                    Value::Join(parts) => parts,
                    other => vec![other],
                };
                parts.push(self.text(right)?);
                return Ok(TypedExpr::Text(Value::Join(parts)));
            }
            ("env", [name]) => {
                return Ok(TypedExpr::Text(Value::Variable(Box::new(self.variable_name(name)?))));
            }
            ("defined", [name]) => Predicate::Defined(self.variable_name(name)?),
            ("changed", globs @ [_, ..]) => Predicate::Changed(self.globs(globs)?),
            ("changed_since", [reference, globs @ ..]) if !globs.is_empty() => {
                self.changed_since(reference, globs)?
            }
            ("exists" | "has_file", globs @ [_, ..]) => Predicate::Exists(self.globs(globs)?),
            _ => return Err(self.unknown_call(of, name)),
        };
        Ok(TypedExpr::Predicate(test))
    }

    /// A function of its own, as its values need not be on the stack at every level of a condition.
    fn changed_since(&self, reference: &IdedExpr, globs: &[IdedExpr]) -> Result<Predicate, ConditionError> {
        Ok(Predicate::ChangedSince(self.variable_name(reference)?, self.globs(globs)?))
    }

    /// Variables and refs are known before any job runs, so that an output cannot name one.
    fn variable_name(&self, of: &IdedExpr) -> Result<Value, ConditionError> {
        match self.text(of)? {
            name if name.has_output() => {
                Err(self.fault(of, "an output cannot be the name of a variable or of a ref"))
            }
            name => Ok(name),
        }
    }

    /// Creates the error of a call: the parser reports the position of the bracket, but users expect that of the name.
    fn call_fault(&self, of: &IdedExpr, name: &str, message: impl Into<String>) -> ConditionError {
        let fault = self.fault(of, message);
        let length = name.chars().count();
        match fault.start.checked_sub(length) {
            Some(at) if self.text.chars().skip(at).take(length).eq(name.chars()) => {
                ConditionError { start: at, length, ..fault }
            }
            _ => fault,
        }
    }

    fn unknown_call(&self, of: &IdedExpr, name: &str) -> ConditionError {
        if FUNCTIONS.contains(&name) {
            let takes = match name {
                "env" | "defined" => "one name",
                "changed_since" => "a ref, and one glob or more",
                _ => "one glob or more",
            };
            return self.call_fault(of, name, format!("`{name}` takes {takes}"));
        }
        if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
            let sign = name.trim_matches('_');
            let fault = self.fault(of, format!("the operator {} is not supported", quoted(sign)));
            let help = (sign == "-" && self.text.contains("needs.")).then(|| {
                "put the name of a job in brackets, as in `needs[\"build-app\"].outputs.NAME`".to_owned()
            });
            return ConditionError { help, ..fault };
        }
        let help = if METHODS.contains(&name) {
            format!("call it on a string: `branch.{name}(..)`")
        } else {
            match suggest::nearest(name, FUNCTIONS.into_iter().chain(METHODS)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the functions are {}", FUNCTIONS.join(", ")),
            }
        };
        ConditionError {
            help: Some(help),
            ..self.call_fault(of, name, format!("unknown function {}", quoted(name)))
        }
    }

    fn method(
        &self,
        of: &IdedExpr,
        target: &IdedExpr,
        name: &str,
        arguments: &[IdedExpr],
    ) -> Result<TypedExpr, ConditionError> {
        if !METHODS.contains(&name) {
            let help = match suggest::nearest(name, METHODS) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the methods of a string are {}", METHODS.join(", ")),
            };
            let fault = self.call_fault(of, name, format!("a string has no method {}", quoted(name)));
            return Err(ConditionError { help: Some(help), ..fault });
        }
        let text = self.text(target)?;
        let test = match (name, arguments) {
            ("lowerAscii", []) => return Ok(TypedExpr::Text(Value::Lower(Box::new(without_case(text))))),
            ("upperAscii", []) => return Ok(TypedExpr::Text(Value::Upper(Box::new(without_case(text))))),
            ("startsWith", [affix]) => Predicate::StartsWith(text, self.text(affix)?),
            ("endsWith", [affix]) => Predicate::EndsWith(text, self.text(affix)?),
            ("contains", [part]) => Predicate::Contains(text, self.text(part)?),
            ("matches", [written]) => match self.text(written)? {
                Value::Literal(literal) => match Pattern::new(&literal) {
                    Ok(pattern) => Predicate::Matches(text, pattern),
                    Err(why) => {
                        return Err(self.fault(written, format!("this is not a regular expression: {why}")));
                    }
                },
                value if value.has_output() => {
                    return Err(self.fault(written, "an output cannot be a pattern"));
                }
                value => Predicate::MatchesValue(text, value),
            },
            _ => {
                let takes = if name.ends_with("Ascii") { "no argument" } else { "one string" };
                return Err(self.call_fault(of, name, format!("`{name}` takes {takes}")));
            }
        };
        Ok(TypedExpr::Predicate(test))
    }

    fn equal(&self, of: &IdedExpr, left: &IdedExpr, right: &IdedExpr) -> Result<Predicate, ConditionError> {
        match (self.expression(left)?, self.expression(right)?) {
            (TypedExpr::Predicate(a), TypedExpr::Predicate(b)) => {
                if comparison_depth(&a) >= MAX_DEPTH {
                    return Err(
                        self.fault(of, format!("more than {MAX_DEPTH} booleans are compared in a chain"))
                    );
                }
                Ok(Predicate::BoolEqual(Box::new(a), Box::new(b)))
            }
            (TypedExpr::Text(a), TypedExpr::Text(b)) => {
                self.check_value(right, &a, &b)?;
                self.check_value(left, &b, &a)?;
                Ok(Predicate::Equal(a, b))
            }
            (a, b) => {
                let message = format!("{} and {} are never equal", a.type_name(), b.type_name());
                let fault = self.fault(of, message);
                let is_list = matches!(a, TypedExpr::List(_)) || matches!(b, TypedExpr::List(_));
                Err(ConditionError { help: is_list.then(|| "use `in` to search a list".to_owned()), ..fault })
            }
        }
    }

    /// A condition on an event, an action or a status that does not exist would never hold.
    fn check_value(&self, at: &IdedExpr, value: &Value, other: &Value) -> Result<(), ConditionError> {
        let (Value::Fact(fact), Value::Literal(text)) = (value, other) else { return Ok(()) };
        let (what, known) = match fact {
            Fact::Event => ("event", EVENTS.to_vec()),
            Fact::Action => ("action", PullRequestAction::ALL.map(|(name, _)| name).to_vec()),
            Fact::UpstreamStatus => ("status", UPSTREAM_STATUSES.to_vec()),
            _ => return Ok(()),
        };
        // Without an action or a status, the value is the empty string.
        if known.contains(&text.as_str()) || text.is_empty() && *fact != Fact::Event {
            return Ok(());
        }
        let help = match (text.as_str(), suggest::nearest(text, known.iter().copied())) {
            ("merge_request" | "merge_request_event", _) => "it is called `pull_request` here".to_owned(),
            (_, Some(near)) => format!("did you mean `{near}`?"),
            _ => format!("the {what}{} are {}", if what == "status" { "es" } else { "s" }, known.join(", ")),
        };
        Err(ConditionError { help: Some(help), ..self.fault(at, format!("unknown {what} {}", quoted(text))) })
    }

    fn choice(
        &self,
        of: &IdedExpr,
        test: &IdedExpr,
        then: &IdedExpr,
        other: &IdedExpr,
    ) -> Result<TypedExpr, ConditionError> {
        let test = Box::new(self.predicate(test)?);
        match (self.expression(then)?, self.expression(other)?) {
            (TypedExpr::Predicate(a), TypedExpr::Predicate(b)) => {
                Ok(TypedExpr::Predicate(Predicate::If(test, Box::new(a), Box::new(b))))
            }
            (TypedExpr::Text(a), TypedExpr::Text(b)) => {
                Ok(TypedExpr::Text(Value::If(test, Box::new(a), Box::new(b))))
            }
            (a, b) => {
                let message = format!(
                    "both results of `? :` must have the same type, not {} and {}",
                    a.type_name(),
                    b.type_name()
                );
                Err(self.fault(of, message))
            }
        }
    }

    fn globs(&self, of: &[IdedExpr]) -> Result<Vec<String>, ConditionError> {
        let read = |one: &IdedExpr| match self.text(one)? {
            Value::Literal(text) if check_size(&text).is_ok() && glob(&text).is_ok() && !text.is_empty() => {
                Ok(text)
            }
            Value::Literal(text) => Err(self.fault(one, format!("{} is not a glob", quoted(&text)))),
            _ => Err(self.fault(one, "a glob must be a quoted literal")),
        };
        of.iter().map(read).collect()
    }
}
