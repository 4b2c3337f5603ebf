//! GitLab's conditions, as `rules: if` and `only: variables` have them: read with their places, by hand, as no crate knows them.
//!
//! Operands are `$NAME`, `"text"`, `'text'`, `null` and patterns `/regex/flags`; `==`, `!=`, `=~` and `!~` bind strongest, then `&&`,
//! then `||`; brackets may stand around conditions.

use crate::condition;
use crate::gitlab::conditions::cel::CelExpr;
use crate::gitlab::variables::{Piece, Scope};

/// How deep brackets may lie in each other: the native language allows no more.
const MAX_DEPTH: usize = 16;

/// What is wrong with a condition, and where: characters counted from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) at: usize,
    pub(crate) length: usize,
    pub(crate) message: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Variable(String),
    Text(String),
    Pattern { body: String, flags: String },
    Null,
    Sign(&'static str),
}

#[derive(Debug, Clone)]
struct PlacedToken {
    token: Token,
    at: usize,
    length: usize,
}

const OPERATORS: [&str; 8] = ["==", "!=", "=~", "!~", "&&", "||", "(", ")"];

/// A condition of GitLab's in the native language; `scope` knows the variables of the file.
pub(crate) fn translate(text: &str, scope: &Scope) -> Result<CelExpr, Fault> {
    let tokens = tokens(text)?;
    let end = text.chars().count();
    let mut reader = Parser { tokens: &tokens, next: 0, depth: 0, end, scope };
    let condition = reader.any()?;
    match reader.peek() {
        None => Ok(condition),
        Some(extra) => Err(fault(extra, "this is not expected here")),
    }
}

fn fault(placed: &PlacedToken, message: impl Into<String>) -> Fault {
    Fault { at: placed.at, length: placed.length, message: message.into() }
}

fn tokens(text: &str) -> Result<Vec<PlacedToken>, Fault> {
    let signs: Vec<char> = text.chars().collect();
    let mut tokens: Vec<PlacedToken> = Vec::new();
    let mut at = 0;
    while at < signs.len() {
        let sign = signs[at];
        if sign.is_whitespace() {
            at += 1;
            continue;
        }
        let wrong = |message: &str| Fault { at, length: 1, message: message.to_owned() };
        let (token, length) = match sign {
            '$' => variable(&signs[at..]).ok_or_else(|| wrong("`$` is followed by no name"))?,
            '"' | '\'' => {
                let length = signs[at + 1..].iter().position(|c| *c == sign);
                let length = length.ok_or_else(|| wrong("the text that starts here has no end"))?;
                (Token::Text(signs[at + 1..at + 1 + length].iter().collect()), length + 2)
            }
            '/' => pattern(&signs[at..]).ok_or_else(|| wrong("the pattern that starts here has no end"))?,
            _ => {
                let rest: String = signs[at..].iter().take(5).collect();
                if let Some(sign) = OPERATORS.iter().find(|sign| rest.starts_with(**sign)) {
                    (Token::Sign(sign), sign.len())
                } else if rest.starts_with("null")
                    && !rest[4..].starts_with(|c: char| c.is_alphanumeric() || c == '_')
                {
                    (Token::Null, 4)
                } else {
                    return Err(wrong("this means nothing in a condition of GitLab's"));
                }
            }
        };
        tokens.push(PlacedToken { token, at, length });
        at += length;
    }
    Ok(tokens)
}

fn variable(signs: &[char]) -> Option<(Token, usize)> {
    let braced = signs.get(1) == Some(&'{');
    let start = if braced { 2 } else { 1 };
    let name: String =
        signs[start..].iter().take_while(|c| c.is_ascii_alphanumeric() || **c == '_').collect();
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let end = start + name.len();
    if braced && signs.get(end) != Some(&'}') {
        return None;
    }
    Some((Token::Variable(name), end + usize::from(braced)))
}

/// A pattern and its flags; a `/` within it stands behind a backslash, or is not followed by what may follow a pattern.
fn pattern(signs: &[char]) -> Option<(Token, usize)> {
    let mut body = String::new();
    let mut at = 1;
    loop {
        match *signs.get(at)? {
            '\\' => {
                let next = *signs.get(at + 1)?;
                if next != '/' {
                    body.push('\\');
                }
                body.push(next);
                at += 2;
            }
            '/' => {
                let flags: String = signs[at + 1..].iter().take_while(|c| "ismU".contains(**c)).collect();
                let end = at + 1 + flags.len();
                if signs.get(end).is_none_or(|c| c.is_whitespace() || matches!(c, ')' | '&' | '|')) {
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

/// A value that is compared.
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

    fn take(&mut self) -> Result<&'a PlacedToken, Fault> {
        let token = self.peek().ok_or_else(|| Fault {
            at: self.end,
            length: 1,
            message: "the condition is incomplete".to_owned(),
        })?;
        self.next += 1;
        Ok(token)
    }

    fn sign(&mut self, sign: &str) -> bool {
        let found =
            self.peek().is_some_and(|placed| matches!(placed.token, Token::Sign(found) if found == sign));
        self.next += usize::from(found);
        found
    }

    fn any(&mut self) -> Result<CelExpr, Fault> {
        let mut left = self.all()?;
        while self.sign("||") {
            left = left.or(self.all()?);
        }
        Ok(left)
    }

    fn all(&mut self) -> Result<CelExpr, Fault> {
        let mut left = self.comparison()?;
        while self.sign("&&") {
            left = left.and(self.comparison()?);
        }
        Ok(left)
    }

    fn comparison(&mut self) -> Result<CelExpr, Fault> {
        let first = self.take()?;
        if first.token == Token::Sign("(") {
            self.depth += 1;
            if self.depth > MAX_DEPTH {
                return Err(fault(first, format!("brackets are nested more than {MAX_DEPTH} deep here")));
            }
            let inner = self.any()?;
            self.depth -= 1;
            if !self.sign(")") {
                return Err(fault(first, "this bracket is not closed"));
            }
            return Ok(inner);
        }
        let left = operand(first)?;
        let Some(operator) = self.peek() else { return Ok(self.truth(&left)) };
        let Token::Sign(sign @ ("==" | "!=" | "=~" | "!~")) = operator.token else {
            return Ok(self.truth(&left));
        };
        self.next += 1;
        let second = self.take()?;
        let condition = match sign {
            "==" | "!=" => self.equal(&left, &operand(second)?),
            _ => self.matches(&left, second)?,
        };
        Ok(if sign.starts_with('!') { condition.not() } else { condition })
    }

    /// A value by itself holds when it is set and not empty.
    fn truth(&self, of: &Operand) -> CelExpr {
        match of {
            Operand::Null => CelExpr::constant(false),
            Operand::Text(text) => CelExpr::constant(!text.trim().is_empty()),
            Operand::Variable(name) => CelExpr::equal(self.value(name), CelExpr::literal("")).not(),
        }
    }

    fn value(&self, name: &str) -> CelExpr {
        match self.scope.run_time(name) {
            None => CelExpr::variable(name),
            Some(pieces) => CelExpr::joined(
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
    fn set(&self, name: &str) -> CelExpr {
        if self.scope.run_time(name).is_some() { CelExpr::constant(true) } else { CelExpr::defined(name) }
    }

    /// What is not set is null, which is not the empty text.
    fn equal(&self, left: &Operand, right: &Operand) -> CelExpr {
        match (left, right) {
            (Operand::Null, Operand::Null) => CelExpr::constant(true),
            (Operand::Null, Operand::Text(_)) | (Operand::Text(_), Operand::Null) => CelExpr::constant(false),
            (Operand::Text(left), Operand::Text(right)) => CelExpr::constant(left == right),
            (Operand::Null, Operand::Variable(name)) | (Operand::Variable(name), Operand::Null) => {
                self.set(name).not()
            }
            (Operand::Text(text), Operand::Variable(name))
            | (Operand::Variable(name), Operand::Text(text)) => {
                let same = CelExpr::equal(self.value(name), CelExpr::literal(text));
                if text.is_empty() { self.set(name).and(same) } else { same }
            }
            (Operand::Variable(left), Operand::Variable(right)) => {
                let same = CelExpr::equal(self.value(left), self.value(right));
                // There is a default branch, if only somewhere: not to know it is not that there is none.
                match (left.as_str(), right.as_str()) {
                    ("CI_DEFAULT_BRANCH", other) | (other, "CI_DEFAULT_BRANCH") => {
                        return same.and(self.set(other));
                    }
                    _ => {}
                }
                let both_set = self.set(left);
                if both_set.as_constant().is_some() && self.set(right).as_constant().is_some() {
                    return same;
                }
                same.and(CelExpr::equal(self.set(left), self.set(right)))
            }
        }
    }

    fn matches(&self, left: &Operand, right: &PlacedToken) -> Result<CelExpr, Fault> {
        let (body, flags) = match &right.token {
            Token::Pattern { body, flags } => (body.clone(), flags.clone()),
            Token::Variable(name) => {
                let written = self.scope.fixed(name);
                let parsed =
                    written.as_deref().map(|text| text.chars().collect::<Vec<_>>()).and_then(|signs| {
                        let (token, length) =
                            signs.first().filter(|c| **c == '/').and_then(|_| pattern(&signs))?;
                        (length == signs.len()).then_some(token)
                    });
                if let Some(Token::Pattern { body, flags }) = parsed {
                    (body, flags)
                } else {
                    let message = format!(
                        "the pattern in `${name}` is not known, as the file sets no such variable to `/.../`"
                    );
                    return Err(fault(right, message));
                }
            }
            Token::Text(text) => {
                let signs: Vec<char> = text.chars().collect();
                match signs.first().filter(|c| **c == '/').and_then(|_| pattern(&signs)) {
                    Some((Token::Pattern { body, flags }, length)) if length == signs.len() => (body, flags),
                    _ => return Err(fault(right, "a pattern stands between slashes: `/.../`")),
                }
            }
            Token::Null | Token::Sign(_) => {
                return Err(fault(right, "a pattern between slashes is expected here: `/.../`"));
            }
        };
        let pattern = if flags.is_empty() { body } else { format!("(?{flags}){body}") };
        let compiled = condition::pattern(&pattern)
            .map_err(|why| fault(right, format!("this pattern cannot be read: {why}")))?;
        Ok(match left {
            Operand::Null => CelExpr::constant(false),
            Operand::Text(text) => CelExpr::constant(compiled.is_match(text)),
            Operand::Variable(name) => {
                let found = CelExpr::matches(self.value(name), &pattern);
                // What is not set matches nothing, and here it is the empty text.
                if compiled.is_match("") { self.set(name).and(found) } else { found }
            }
        })
    }
}

fn operand(placed: &PlacedToken) -> Result<Operand, Fault> {
    match &placed.token {
        Token::Null => Ok(Operand::Null),
        Token::Text(text) => Ok(Operand::Text(text.clone())),
        Token::Variable(name) => Ok(Operand::Variable(name.clone())),
        Token::Pattern { .. } => Err(fault(placed, "a pattern stands on the right of `=~` or `!~` only")),
        Token::Sign(_) => Err(fault(placed, "a variable or a text is expected here")),
    }
}

/// The native pattern of `/regex/flags`, as `only` and `except` have them; `None` where the text is none.
pub(crate) fn native_pattern(text: &str) -> Option<Result<String, String>> {
    let signs: Vec<char> = text.chars().collect();
    let (token, length) = signs.first().filter(|c| **c == '/').and_then(|_| pattern(&signs))?;
    let Token::Pattern { body, flags } = token else { return None };
    if length != signs.len() {
        return None;
    }
    let pattern = if flags.is_empty() { body } else { format!("(?{flags}){body}") };
    Some(condition::pattern(&pattern).map(|_| pattern))
}
