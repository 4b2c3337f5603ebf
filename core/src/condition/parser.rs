//! From a condition's text to what is evaluated: CEL's own parser, then names and types.

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, SourceInfo, operators};
use cel::parser::Parser;

use super::paths::glob;
use super::predicate::{Context, EVENTS, Fact, Predicate, Value, pattern, shortened};
use crate::text::suggest;

/// How long a condition may be, in bytes.
pub const MAX_LEN: usize = 2_000;
/// How deep a condition may nest.
const MAX_DEPTH: u16 = 32;
/// The parser recurses with frames of a kilobyte for each rule of its grammar, so that a condition as deep and long as may be would
/// overflow the stack of a server's thread. It gets one that is large enough; only what is used of it is ever taken.
const STACK_BYTES: usize = 64 << 20;

const TEXT_FACTS: [(&str, Fact); 7] = [
    ("branch", Fact::Branch),
    ("tag", Fact::Tag),
    ("event", Fact::Event),
    ("commit", Fact::Commit),
    ("default_branch", Fact::DefaultBranch),
    ("target_branch", Fact::TargetBranch),
    ("title", Fact::Title),
];
const BOOL_FACTS: [&str; 2] = ["fork", "draft"];
const FUNCTIONS: [&str; 4] = ["env", "defined", "changed", "exists"];
const METHODS: [&str; 6] = ["startsWith", "endsWith", "contains", "matches", "lowerAscii", "upperAscii"];

/// What is wrong with a condition, and where in its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The first character meant, counted from 0.
    pub at: usize,
    /// How many characters are meant; at least 1.
    pub length: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// A condition that was checked.
#[derive(Debug, Clone)]
pub struct Condition(Predicate);

/// Reads and checks a condition.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn check(text: &str) -> Result<Condition, Fault> {
    read(text).map(Condition)
}

impl Condition {
    /// Whether it holds in `context`.
    ///
    /// # Errors
    /// Words on a pattern that comes from a variable and is none.
    pub fn holds(&self, context: &Context<'_>) -> Result<bool, String> {
        self.0.holds(context)
    }
}

/// Reads a condition.
fn read(text: &str) -> Result<Predicate, Fault> {
    let whole = |message: &str| Fault {
        at: 0,
        length: text.chars().count().max(1),
        message: message.to_owned(),
        help: None,
    };
    if text.trim().is_empty() {
        return Err(Fault {
            help: Some("write a condition, such as `branch == default_branch`".to_owned()),
            ..whole("the condition is empty")
        });
    }
    if text.len() > MAX_LEN {
        return Err(whole(&format!("the condition has {} bytes, and {MAX_LEN} is the limit", text.len())));
    }
    too_nested(text)?;
    let read = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, || parsed(text));
        thread.ok().and_then(|thread| thread.join().ok())
    });
    read.unwrap_or_else(|| Err(whole("the condition cannot be read")))
}

fn parsed(text: &str) -> Result<Predicate, Fault> {
    let parsed = Parser::new().max_recursion_depth(MAX_DEPTH).parse_with_source_info(text);
    let (expression, source) = parsed.map_err(|errors| {
        let first = errors.errors.first();
        syntax(text, first.map_or((1, 0), |error| error.pos), first.map_or("", |error| error.msg.as_str()))
    })?;
    let reader = ConditionParser { text, source };
    reader.test(&expression)
}

/// Brackets and choices make the parser recurse before it counts how deep, so these are counted first.
fn too_nested(text: &str) -> Result<(), Fault> {
    let (mut depth, mut signs) = (0_u16, 0_u16);
    for (at, sign) in text.chars().enumerate() {
        match sign {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            '?' => signs += 1,
            _ => {}
        }
        if depth > MAX_DEPTH || signs > MAX_DEPTH {
            let message = format!("the condition nests more than {MAX_DEPTH} deep");
            return Err(Fault { at, length: 1, message, help: None });
        }
    }
    Ok(())
}

/// The parser's complaint in the words of this project; its own lists tokens.
fn syntax(text: &str, (line, column): (isize, isize), said: &str) -> Fault {
    let line = usize::try_from(line - 1).unwrap_or(0);
    let column = usize::try_from(column - 1).unwrap_or(0);
    let before: usize = text.split_inclusive('\n').take(line).map(|line| line.chars().count()).sum();
    let at = (before + column).min(text.chars().count());
    let token = |marker: &str| {
        said.split_once(marker).and_then(|(_, rest)| rest.split_once('\'')).map(|(token, _)| token.to_owned())
    };
    let unknown = token("token recognition error at: '");
    let odd = token("mismatched input '")
        .or_else(|| token("extraneous input '"))
        .or_else(|| token("no viable alternative at input '"));
    let length = odd.as_deref().filter(|odd| *odd != "<EOF>").map_or(1, |odd| odd.chars().count().max(1));
    let message = match (&unknown, odd.as_deref()) {
        (Some(sign), _) => format!("{} means nothing here", quoted(sign.trim())),
        (None, Some("<EOF>")) => "the condition ends before it is whole".to_owned(),
        (None, Some(odd)) => format!("{} is not expected here", quoted(odd)),
        (None, None) if said.contains("recursion") => {
            format!("the condition nests more than {MAX_DEPTH} deep")
        }
        (None, None) => match said.split_once("reserved identifier: ") {
            Some((_, word)) => format!("{} is a word that CEL keeps for itself", quoted(word)),
            None => "this is not a condition".to_owned(),
        },
    };
    Fault { at, length, message, help: habits(text) }
}

/// Advice on what other languages write.
fn habits(text: &str) -> Option<String> {
    let advice = if text.contains("=~") {
        "write `text.matches(\"regex\")` instead of `=~`"
    } else if text.contains('$') || text.contains("var(") {
        "write `env(\"NAME\")` for a variable"
    } else if text.contains(" and ")
        || text.contains(" or ")
        || text.starts_with("not ")
        || text.contains(" not ")
    {
        "write `&&`, `||` and `!`"
    } else if text.replace("==", "").replace("!=", "").contains('=') {
        "write `==` to compare"
    } else {
        return None;
    };
    Some(advice.to_owned())
}

fn quoted(text: &str) -> String {
    format!("`{}`", shortened(text))
}

/// How many comparisons of truth values lie in each other, from the left.
fn compared(test: &Predicate) -> u16 {
    let mut test = test;
    let mut depth = 0;
    loop {
        test = match test {
            Predicate::Alike(left, _) => {
                depth += 1;
                left
            }
            Predicate::Not(inner) => inner,
            _ => return depth,
        };
    }
}

/// What an expression is, once read.
enum TypedExpr {
    Predicate(Predicate),
    Text(Value),
    List(Vec<Value>),
}

impl TypedExpr {
    const fn called(&self) -> &'static str {
        match self {
            Self::Predicate(_) => "a truth value",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
        }
    }
}

struct ConditionParser<'a> {
    text: &'a str,
    source: SourceInfo,
}

impl ConditionParser<'_> {
    fn fault(&self, at: &IdedExpr, message: impl Into<String>) -> Fault {
        // The parser counts bytes, and names the last one.
        let characters = |bytes: usize| self.text.char_indices().take_while(|(at, _)| *at < bytes).count();
        let (start, stop) = self.source.offset_for(at.id).unwrap_or_default();
        let (start, end) = (characters(start as usize), characters(stop as usize + 1));
        Fault { at: start, length: end.saturating_sub(start).max(1), message: message.into(), help: None }
    }

    fn test(&self, of: &IdedExpr) -> Result<Predicate, Fault> {
        match self.read(of)? {
            TypedExpr::Predicate(test) => Ok(test),
            other => {
                let fault =
                    self.fault(of, format!("a condition is a truth value, and this is {}", other.called()));
                let text = matches!(other, TypedExpr::Text(_));
                Err(Fault { help: text.then(|| "compare it, as in `!= \"\"`".to_owned()), ..fault })
            }
        }
    }

    fn text(&self, of: &IdedExpr) -> Result<Value, Fault> {
        match self.read(of)? {
            TypedExpr::Text(value) => Ok(value),
            other => Err(self.fault(of, format!("a text is expected here, and this is {}", other.called()))),
        }
    }

    fn read(&self, of: &IdedExpr) -> Result<TypedExpr, Fault> {
        match &of.expr {
            Expr::Literal(LiteralValue::Boolean(value)) => {
                Ok(TypedExpr::Predicate(Predicate::Const(*value.inner())))
            }
            Expr::Literal(LiteralValue::String(text)) => {
                Ok(TypedExpr::Text(Value::Literal(text.inner().to_owned())))
            }
            Expr::Literal(LiteralValue::Null) => Err(Fault {
                help: Some("what is not set is `\"\"`; `defined(\"NAME\")` tells the two apart".to_owned()),
                ..self.fault(of, "there is no null here")
            }),
            Expr::Literal(_) => Err(Fault {
                help: Some("put it between quotes: variables are texts".to_owned()),
                ..self.fault(of, "there are no numbers here")
            }),
            Expr::Ident(name) => self.name(of, name),
            Expr::List(list) => {
                let items: Result<Vec<_>, _> = list.elements.iter().map(|item| self.text(item)).collect();
                items.map(TypedExpr::List)
            }
            Expr::Call(call) => self.call(of, call),
            Expr::Select(_) => Err(self.fault(of, "there are no fields here")),
            Expr::Comprehension(_) | Expr::Map(_) | Expr::Struct(_) | Expr::Unspecified => {
                Err(self.fault(of, "this part of CEL is not used here"))
            }
        }
    }

    fn name(&self, of: &IdedExpr, name: &str) -> Result<TypedExpr, Fault> {
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
            None => format!("known are {}; put text between quotes", known().collect::<Vec<_>>().join(", ")),
        };
        Err(Fault { help: Some(help), ..self.fault(of, format!("nothing is called {} here", quoted(name))) })
    }

    fn call(&self, of: &IdedExpr, call: &CallExpr) -> Result<TypedExpr, Fault> {
        let name = call.func_name.as_str();
        if let Some(target) = &call.target {
            return self.method(of, target, name, &call.args);
        }
        let test = match (name, call.args.as_slice()) {
            (operators::LOGICAL_NOT, [inner]) => Predicate::Not(Box::new(self.test(inner)?)),
            (operators::LOGICAL_AND, [left, right]) => {
                Predicate::And(Box::new(self.test(left)?), Box::new(self.test(right)?))
            }
            (operators::LOGICAL_OR, [left, right]) => {
                Predicate::Or(Box::new(self.test(left)?), Box::new(self.test(right)?))
            }
            (operators::EQUALS, [left, right]) => self.equal(of, left, right)?,
            (operators::NOT_EQUALS, [left, right]) => Predicate::Not(Box::new(self.equal(of, left, right)?)),
            (operators::IN, [value, list]) => {
                let value_at = value;
                let value = self.text(value)?;
                match self.read(list)? {
                    TypedExpr::List(items) => {
                        for item in &items {
                            self.check_event(value_at, &value, item)?;
                        }
                        Predicate::In(value, items)
                    }
                    other => {
                        let fault =
                            self.fault(list, format!("`in` takes a list, and this is {}", other.called()));
                        return Err(Fault { help: Some("write `in [\"a\", \"b\"]`".to_owned()), ..fault });
                    }
                }
            }
            (operators::CONDITIONAL, [test, then, other]) => return self.choice(of, test, then, other),
            (operators::ADD, [left, right]) => {
                // A long chain is as flat as it looks.
                let mut parts = match self.text(left)? {
                    Value::Join(parts) => parts,
                    other => vec![other],
                };
                parts.push(self.text(right)?);
                return Ok(TypedExpr::Text(Value::Join(parts)));
            }
            ("env", [name]) => return Ok(TypedExpr::Text(Value::Variable(Box::new(self.text(name)?)))),
            ("defined", [name]) => Predicate::Defined(self.text(name)?),
            ("changed", globs @ [_, ..]) => Predicate::Changed(self.globs(globs)?),
            ("exists" | "has_file", globs @ [_, ..]) => Predicate::Exists(self.globs(globs)?),
            _ => return Err(self.no_call(of, name)),
        };
        Ok(TypedExpr::Predicate(test))
    }

    /// A fault of a call: the parser places it at the bracket, people look at the name.
    fn call_fault(&self, of: &IdedExpr, name: &str, message: impl Into<String>) -> Fault {
        let fault = self.fault(of, message);
        let length = name.chars().count();
        match fault.at.checked_sub(length) {
            Some(at) if self.text.chars().skip(at).take(length).eq(name.chars()) => {
                Fault { at, length, ..fault }
            }
            _ => fault,
        }
    }

    fn no_call(&self, of: &IdedExpr, name: &str) -> Fault {
        if FUNCTIONS.contains(&name) {
            let takes = if matches!(name, "env" | "defined") { "one name" } else { "one glob or more" };
            return self.call_fault(of, name, format!("`{name}` takes {takes}"));
        }
        if !name.starts_with(|c: char| c.is_ascii_alphabetic()) {
            let sign = name.trim_matches('_');
            return self.fault(of, format!("{} is not used here", quoted(sign)));
        }
        let help = if METHODS.contains(&name) {
            format!("write it behind a text: `branch.{name}(..)`")
        } else {
            match suggest::nearest(name, FUNCTIONS.into_iter().chain(METHODS)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the functions are {}", FUNCTIONS.join(", ")),
            }
        };
        Fault {
            help: Some(help),
            ..self.call_fault(of, name, format!("there is no function {}", quoted(name)))
        }
    }

    fn method(
        &self,
        of: &IdedExpr,
        target: &IdedExpr,
        name: &str,
        arguments: &[IdedExpr],
    ) -> Result<TypedExpr, Fault> {
        if !METHODS.contains(&name) {
            let help = match suggest::nearest(name, METHODS) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("a text has {}", METHODS.join(", ")),
            };
            let fault = self.call_fault(of, name, format!("a text has no function {}", quoted(name)));
            return Err(Fault { help: Some(help), ..fault });
        }
        let text = self.text(target)?;
        let test = match (name, arguments) {
            ("lowerAscii", []) => return Ok(TypedExpr::Text(Value::Lower(Box::new(text)))),
            ("upperAscii", []) => return Ok(TypedExpr::Text(Value::Upper(Box::new(text)))),
            ("startsWith", [with]) => Predicate::StartsWith(text, self.text(with)?),
            ("endsWith", [with]) => Predicate::EndsWith(text, self.text(with)?),
            ("contains", [part]) => Predicate::Contains(text, self.text(part)?),
            ("matches", [written]) => match self.text(written)? {
                Value::Literal(literal) => match pattern(&literal) {
                    Ok(pattern) => Predicate::Matches(text, pattern),
                    Err(why) => {
                        return Err(self.fault(written, format!("this is not a regular expression: {why}")));
                    }
                },
                value => Predicate::MatchesValue(text, value),
            },
            _ => {
                let takes = if name.ends_with("Ascii") { "nothing" } else { "one text" };
                return Err(self.call_fault(of, name, format!("`{name}` takes {takes}")));
            }
        };
        Ok(TypedExpr::Predicate(test))
    }

    fn equal(&self, of: &IdedExpr, left: &IdedExpr, right: &IdedExpr) -> Result<Predicate, Fault> {
        match (self.read(left)?, self.read(right)?) {
            (TypedExpr::Predicate(a), TypedExpr::Predicate(b)) => {
                if compared(&a) >= MAX_DEPTH {
                    return Err(
                        self.fault(of, format!("more than {MAX_DEPTH} truth values are compared in a row"))
                    );
                }
                Ok(Predicate::Alike(Box::new(a), Box::new(b)))
            }
            (TypedExpr::Text(a), TypedExpr::Text(b)) => {
                self.check_event(right, &a, &b)?;
                self.check_event(left, &b, &a)?;
                Ok(Predicate::Equal(a, b))
            }
            (a, b) => {
                let message = format!("{} and {} are never equal", a.called(), b.called());
                let fault = self.fault(of, message);
                let list = matches!(a, TypedExpr::List(_)) || matches!(b, TypedExpr::List(_));
                Err(Fault { help: list.then(|| "write `in` to look in a list".to_owned()), ..fault })
            }
        }
    }

    /// An event that does not exist would be a condition that never holds.
    fn check_event(&self, at: &IdedExpr, value: &Value, other: &Value) -> Result<(), Fault> {
        let (Value::Fact(Fact::Event), Value::Literal(event)) = (value, other) else { return Ok(()) };
        if EVENTS.contains(&event.as_str()) {
            return Ok(());
        }
        let help = match (event.as_str(), suggest::nearest(event, EVENTS)) {
            ("merge_request" | "merge_request_event", _) => "it is called `pull_request` here".to_owned(),
            (_, Some(near)) => format!("did you mean `{near}`?"),
            _ => format!("the events are {}", EVENTS.join(", ")),
        };
        Err(Fault { help: Some(help), ..self.fault(at, format!("there is no event {}", quoted(event))) })
    }

    fn choice(
        &self,
        of: &IdedExpr,
        test: &IdedExpr,
        then: &IdedExpr,
        other: &IdedExpr,
    ) -> Result<TypedExpr, Fault> {
        let test = Box::new(self.test(test)?);
        match (self.read(then)?, self.read(other)?) {
            (TypedExpr::Predicate(a), TypedExpr::Predicate(b)) => {
                Ok(TypedExpr::Predicate(Predicate::If(test, Box::new(a), Box::new(b))))
            }
            (TypedExpr::Text(a), TypedExpr::Text(b)) => {
                Ok(TypedExpr::Text(Value::If(test, Box::new(a), Box::new(b))))
            }
            (a, b) => {
                let message =
                    format!("both sides of `:` must be of one type, not {} and {}", a.called(), b.called());
                Err(self.fault(of, message))
            }
        }
    }

    fn globs(&self, of: &[IdedExpr]) -> Result<Vec<String>, Fault> {
        let read = |one: &IdedExpr| match self.text(one)? {
            Value::Literal(text) if glob(&text).is_ok() && !text.is_empty() => Ok(text),
            Value::Literal(text) => Err(self.fault(one, format!("{} is not a glob", quoted(&text)))),
            _ => Err(self.fault(one, "a glob must be written out between quotes here")),
        };
        of.iter().map(read).collect()
    }
}
