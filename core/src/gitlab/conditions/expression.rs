//! GitLab's conditions, as in `rules: if` and `only: variables`: a hand-written parser with positions, because no crate
//! supports them.
//!
//! Operands are `$NAME`, `"text"`, `'text'`, `null` and patterns `/regex/flags`; `==`, `!=`, `=~` and `!~` bind
//! strongest, then `&&`, then `||`; conditions may be in parentheses.

use crate::condition::{self, PatternError};
use crate::gitlab::conditions::cel::CelExpr;
use crate::gitlab::variables::{Piece, Scope};

/// Maximum nesting depth of parentheses: the native language allows no more.
const MAX_DEPTH: usize = 16;

/// An error in a condition and its position, in characters from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) at: usize,
    pub(crate) length: usize,
    pub(crate) message: String,
    /// A suggestion how to fix it.
    pub(crate) help: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Variable(String),
    Text(String),
    Pattern { body: String, flags: String },
    Null,
    Operator(&'static str),
}

#[derive(Debug, Clone)]
struct PlacedToken {
    token: Token,
    at: usize,
    length: usize,
}

const OPERATORS: [&str; 8] = ["==", "!=", "=~", "!~", "&&", "||", "(", ")"];

/// Translates a condition of GitLab into the native language; `scope` has the variables of the file.
pub(crate) fn translate(text: &str, scope: &Scope) -> Result<CelExpr, Fault> {
    let tokens = tokens(text)?;
    let end = text.chars().count();
    let mut parser = Parser { tokens: &tokens, next: 0, depth: 0, end, scope };
    let condition = parser.disjunction()?;
    match parser.peek() {
        None => Ok(condition),
        Some(extra) => Err(fault(extra, "this is not expected here")),
    }
}

fn fault(placed: &PlacedToken, message: impl Into<String>) -> Fault {
    Fault { at: placed.at, length: placed.length, message: message.into(), help: None }
}

fn tokens(text: &str) -> Result<Vec<PlacedToken>, Fault> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens: Vec<PlacedToken> = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let sign = chars[at];
        if sign.is_whitespace() {
            at += 1;
            continue;
        }
        let fault_at = |message: &str| Fault { at, length: 1, message: message.to_owned(), help: None };
        let (token, length) = match sign {
            '$' if chars.get(at + 1) == Some(&'{') => {
                return Err(fault_at("GitLab takes `$NAME` in conditions, without braces"));
            }
            '$' => variable(&chars[at..]).ok_or_else(|| fault_at("`$` must be followed by a name"))?,
            '"' | '\'' => {
                let length = chars[at + 1..].iter().position(|c| *c == sign);
                let length = length.ok_or_else(|| fault_at("this string is not closed"))?;
                (Token::Text(chars[at + 1..at + 1 + length].iter().collect()), length + 2)
            }
            '/' => pattern(&chars[at..]).ok_or_else(|| fault_at("this pattern is not closed"))?,
            _ => {
                let rest: String = chars[at..].iter().take(5).collect();
                if let Some(sign) = OPERATORS.iter().find(|sign| rest.starts_with(**sign)) {
                    (Token::Operator(sign), sign.len())
                } else if rest.starts_with("null")
                    && !rest[4..].starts_with(|c: char| c.is_alphanumeric() || c == '_')
                {
                    (Token::Null, 4)
                } else {
                    let help = foreign_syntax_help(&rest).map(str::to_owned);
                    return Err(Fault { help, ..fault_at("this is not valid in a GitLab condition") });
                }
            }
        };
        tokens.push(PlacedToken { token, at, length });
        at += length;
    }
    Ok(tokens)
}

/// Suggests what to write instead of syntax of other languages at the start of `rest`.
fn foreign_syntax_help(rest: &str) -> Option<&'static str> {
    let word = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
    match (word, rest.chars().next()?) {
        ("", '=') => Some("write `==` to compare"),
        ("" | "and" | "or", '&' | '|' | 'a' | 'o') => Some("write `&&` or `||`"),
        ("", '!') => Some("GitLab has no `!` before a condition; compare with `!=`, or with `== null`"),
        ("", _) => None,
        _ => Some("write a variable as `$NAME`, and a text between quotes"),
    }
}

fn variable(chars: &[char]) -> Option<(Token, usize)> {
    let name: String = chars[1..].iter().take_while(|c| c.is_ascii_alphanumeric() || **c == '_').collect();
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let end = 1 + name.len();
    Some((Token::Variable(name), end))
}

/// Parses a pattern and its flags. A `/` within it follows a backslash, or is not followed by what may follow a
/// pattern.
fn pattern(chars: &[char]) -> Option<(Token, usize)> {
    let mut body = String::new();
    let mut at = 1;
    loop {
        match *chars.get(at)? {
            '\\' => {
                let next = *chars.get(at + 1)?;
                if next != '/' {
                    body.push('\\');
                }
                body.push(next);
                at += 2;
            }
            '/' => {
                let flags: String = chars[at + 1..].iter().take_while(|c| "ismU".contains(**c)).collect();
                let end = at + 1 + flags.len();
                if chars.get(end).is_none_or(|c| c.is_whitespace() || matches!(c, ')' | '&' | '|')) {
                    return Some((Token::Pattern { body, flags }, end));
                }
                body.push('/');
                at += 1;
            }
            c => {
                body.push(c);
                at += 1;
            }
        }
    }
}

struct Parser<'a> {
    tokens: &'a [PlacedToken],
    next: usize,
    depth: usize,
    end: usize,
    scope: &'a Scope,
}

/// An operand of a comparison.
#[derive(Clone)]
enum Operand {
    Null,
    Text(String),
    Variable(String),
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a PlacedToken> {
        self.tokens.get(self.next)
    }

    fn next_token(&mut self) -> Result<&'a PlacedToken, Fault> {
        let token = self.peek().ok_or_else(|| Fault {
            at: self.end,
            length: 1,
            message: "the condition is incomplete".to_owned(),
            help: None,
        })?;
        self.next += 1;
        Ok(token)
    }

    fn accept(&mut self, sign: &str) -> bool {
        let accepted = self
            .peek()
            .is_some_and(|placed| matches!(placed.token, Token::Operator(operator) if operator == sign));
        self.next += usize::from(accepted);
        accepted
    }

    fn disjunction(&mut self) -> Result<CelExpr, Fault> {
        let mut left = self.conjunction()?;
        while self.accept("||") {
            left = left.or(self.conjunction()?);
        }
        Ok(left)
    }

    fn conjunction(&mut self) -> Result<CelExpr, Fault> {
        let mut left = self.comparison()?;
        while self.accept("&&") {
            left = left.and(self.comparison()?);
        }
        Ok(left)
    }

    fn comparison(&mut self) -> Result<CelExpr, Fault> {
        let first = self.next_token()?;
        if first.token == Token::Operator("(") {
            self.depth += 1;
            if self.depth > MAX_DEPTH {
                return Err(fault(
                    first,
                    format!("parentheses are nested more than {MAX_DEPTH} levels deep"),
                ));
            }
            let inner = self.disjunction()?;
            self.depth -= 1;
            if !self.accept(")") {
                return Err(fault(first, "this parenthesis is not closed"));
            }
            return Ok(inner);
        }
        let left = self.operand(first)?;
        let Some(operator) = self.peek() else { return Ok(self.is_truthy(&left)) };
        let Token::Operator(sign @ ("==" | "!=" | "=~" | "!~")) = operator.token else {
            return Ok(self.is_truthy(&left));
        };
        self.next += 1;
        let second = self.next_token()?;
        let condition = match sign {
            "==" | "!=" => self.equal(&left, &self.operand(second)?),
            _ => self.matches(&left, second)?,
        };
        Ok(if sign.starts_with('!') { condition.not() } else { condition })
    }

    /// Returns an operand; a variable that a rule of `workflow` sets is its value.
    fn operand(&self, placed: &PlacedToken) -> Result<Operand, Fault> {
        Ok(match operand(placed)? {
            Operand::Variable(name) => match self.scope.value_of_workflow(&name) {
                Some(value) => Operand::Text(value.to_owned()),
                None => Operand::Variable(name),
            },
            other => other,
        })
    }

    /// A value by itself is true if it is set and not empty.
    fn is_truthy(&self, of: &Operand) -> CelExpr {
        match of {
            Operand::Null => CelExpr::constant(false),
            Operand::Text(text) => CelExpr::constant(!text.trim().is_empty()),
            Operand::Variable(name) => CelExpr::equal(self.value(name), CelExpr::literal("")).not(),
        }
    }

    fn value(&self, name: &str) -> CelExpr {
        match self.scope.runtime_pieces(name) {
            None => CelExpr::variable(name),
            Some(pieces) => CelExpr::concat(
                pieces
                    .iter()
                    .map(|piece| match piece {
                        Piece::Text(text) => CelExpr::literal(text),
                        Piece::Name(name) => CelExpr::variable(name),
                    })
                    .collect(),
            ),
        }
    }

    /// Whether a variable is set.
    fn is_set(&self, name: &str) -> CelExpr {
        if self.scope.runtime_pieces(name).is_some() {
            CelExpr::constant(true)
        } else {
            CelExpr::defined(name)
        }
    }

    /// A variable that is not set is null, which differs from the empty string.
    fn equal(&self, left: &Operand, right: &Operand) -> CelExpr {
        match (left, right) {
            (Operand::Null, Operand::Null) => CelExpr::constant(true),
            (Operand::Null, Operand::Text(_)) | (Operand::Text(_), Operand::Null) => CelExpr::constant(false),
            (Operand::Text(left), Operand::Text(right)) => CelExpr::constant(left == right),
            (Operand::Null, Operand::Variable(name)) | (Operand::Variable(name), Operand::Null) => {
                self.is_set(name).not()
            }
            (Operand::Text(text), Operand::Variable(name))
            | (Operand::Variable(name), Operand::Text(text)) => {
                let same = CelExpr::equal(self.value(name), CelExpr::literal(text));
                if text.is_empty() { self.is_set(name).and(same) } else { same }
            }
            (Operand::Variable(left), Operand::Variable(right)) => {
                let same = CelExpr::equal(self.value(left), self.value(right));
                // Every repository has a default branch, so an unknown one does not count as not set.
                match (left.as_str(), right.as_str()) {
                    ("CI_DEFAULT_BRANCH", other) | (other, "CI_DEFAULT_BRANCH") => {
                        return same.and(self.is_set(other));
                    }
                    _ => {}
                }
                let both_set = self.is_set(left);
                if both_set.as_constant().is_some() && self.is_set(right).as_constant().is_some() {
                    return same;
                }
                same.and(CelExpr::equal(self.is_set(left), self.is_set(right)))
            }
        }
    }

    /// Whether a value is a part of `text`, which is how GitLab matches a value with a text that is no pattern; one that is not
    /// set is the empty text.
    fn is_part_of(&self, left: &Operand, text: &str) -> CelExpr {
        match left {
            Operand::Null => CelExpr::constant(true),
            Operand::Text(part) => CelExpr::constant(text.contains(part.as_str())),
            Operand::Variable(name) => CelExpr::contains(text, &self.value(name)),
        }
    }

    fn matches(&self, left: &Operand, right: &PlacedToken) -> Result<CelExpr, Fault> {
        let (body, flags) = match &right.token {
            Token::Pattern { body, flags } => (body.clone(), flags.clone()),
            Token::Variable(name) => match self.scope.fixed_value(name) {
                Some(text) => match whole_pattern(&text) {
                    Some(pattern) => pattern,
                    None => return Ok(self.is_part_of(left, &text)),
                },
                // As in GitLab, nothing matches a pattern that is not set.
                None if self.scope.is_case() || !self.scope.may_be_set(name) => {
                    return Ok(CelExpr::constant(false));
                }
                None => {
                    let message = format!(
                        "the pattern in `${name}` is unknown: the file sets no such variable to `/.../`"
                    );
                    return Err(fault(right, message));
                }
            },
            Token::Text(text) => match whole_pattern(text) {
                Some(pattern) => pattern,
                None => return Ok(self.is_part_of(left, text)),
            },
            Token::Null | Token::Operator(_) => {
                return Err(fault(right, "expected a pattern between slashes: `/.../`"));
            }
        };
        let pattern = if flags.is_empty() { body } else { format!("(?{flags}){body}") };
        let compiled = condition::compile_pattern(&pattern)
            .map_err(|why| fault(right, format!("this pattern is not valid: {why}")))?;
        Ok(match left {
            Operand::Null => CelExpr::constant(false),
            Operand::Text(text) => CelExpr::constant(compiled.is_match(text)),
            Operand::Variable(name) => {
                let is_match = CelExpr::matches(self.value(name), &pattern);
                // A variable that is not set matches nothing, but here it is the empty string.
                if compiled.is_match("") { self.is_set(name).and(is_match) } else { is_match }
            }
        })
    }
}

/// Returns the body and the flags of a text that is a pattern as a whole: `/regex/flags`.
fn whole_pattern(text: &str) -> Option<(String, String)> {
    let chars: Vec<char> = text.chars().collect();
    let (token, length) = chars.first().filter(|c| **c == '/').and_then(|_| pattern(&chars))?;
    match token {
        Token::Pattern { body, flags } if length == chars.len() => Some((body, flags)),
        _ => None,
    }
}

fn operand(placed: &PlacedToken) -> Result<Operand, Fault> {
    match &placed.token {
        Token::Null => Ok(Operand::Null),
        Token::Text(text) => Ok(Operand::Text(text.clone())),
        Token::Variable(name) => Ok(Operand::Variable(name.clone())),
        Token::Pattern { .. } => Err(fault(placed, "a pattern is allowed only on the right of `=~` or `!~`")),
        Token::Operator(_) => Err(fault(placed, "expected a variable or a string")),
    }
}

/// Returns the native pattern of `/regex/flags`, as in `only` and `except`; `None` if the text is not a pattern.
pub(crate) fn native_pattern(text: &str) -> Option<Result<String, PatternError>> {
    let (body, flags) = whole_pattern(text)?;
    let pattern = if flags.is_empty() { body } else { format!("(?{flags}){body}") };
    Some(condition::compile_pattern(&pattern).map(|_| pattern))
}
