//! Builds native conditions. All names of the native language that a translation uses are defined here.

use std::fmt::Write as _;

use crate::execution::predefined::is_execution_variable;

/// Precedence of a condition's outermost operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Precedence {
    Or,
    And,
    Compare,
    Atom,
}

/// A condition, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CelExpr {
    text: String,
    precedence: Precedence,
}

impl CelExpr {
    fn atom(text: String) -> Self {
        Self { text, precedence: Precedence::Atom }
    }

    /// Returns a boolean constant.
    pub(crate) fn constant(value: bool) -> Self {
        Self::atom(value.to_string())
    }

    /// Returns a string literal.
    pub(crate) fn literal(text: &str) -> Self {
        let mut out = String::with_capacity(text.len() + 2);
        let raw = text.contains('\\')
            && !text.contains(['"', '\n', '\r', '\0'])
            && !text.contains(char::is_control);
        out.push_str(if raw { "r\"" } else { "\"" });
        for c in text.chars() {
            match c {
                '\\' | '"' if !raw => {
                    out.push('\\');
                    out.push(c);
                }
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                c if c.is_control() => {
                    let _ = write!(out, "\\u{:04x}", u32::from(c));
                }
                c => out.push(c),
            }
        }
        out.push('"');
        Self::atom(out)
    }

    /// Returns the value of a variable.
    pub(crate) fn variable(name: &str) -> Self {
        Self::atom(format!("env(\"{name}\")"))
    }

    /// Whether a variable is set.
    pub(crate) fn defined(name: &str) -> Self {
        Self::atom(format!("defined(\"{name}\")"))
    }

    /// Whether the event is a pull request.
    pub(crate) fn is_pull_request() -> Self {
        Self::equal(Self::atom("event".to_owned()), Self::literal("pull_request"))
    }

    /// Whether one of these globs matches a changed file.
    pub(crate) fn changed(globs: &[String]) -> Self {
        Self::call("changed", globs)
    }

    /// Whether one of these globs matches a file that changed since the ref that `reference` names.
    pub(crate) fn changed_since(reference: &Self, globs: &[String]) -> Self {
        let globs: Vec<String> = globs.iter().map(|text| Self::literal(text).text).collect();
        Self::atom(format!("changed_since({}, {})", reference.text, globs.join(", ")))
    }

    /// Whether it compares changes with a ref.
    pub(crate) fn compares_changes(&self) -> bool {
        self.text.contains("changed_since(")
    }

    /// Whether one of these globs matches a file.
    pub(crate) fn exists(globs: &[String]) -> Self {
        Self::call("exists", globs)
    }

    fn call(name: &str, texts: &[String]) -> Self {
        let texts: Vec<String> = texts.iter().map(|text| Self::literal(text).text).collect();
        Self::atom(format!("{name}({})", texts.join(", ")))
    }

    /// Returns the concatenation of strings.
    pub(crate) fn concat(parts: Vec<Self>) -> Self {
        let texts: Vec<String> = parts.into_iter().map(|part| part.text).collect();
        match texts.as_slice() {
            [] => Self::literal(""),
            [text] => Self::atom(text.clone()),
            texts => Self::atom(format!("({})", texts.join(" + "))),
        }
    }

    /// Whether two strings, or two booleans, are equal.
    pub(crate) fn equal(left: Self, right: Self) -> Self {
        Self::infix(left, "==", right, Precedence::Compare)
    }

    /// Whether a part of `text` matches `pattern`.
    pub(crate) fn matches(text: Self, pattern: &str) -> Self {
        let text = text.parenthesized(Precedence::Atom);
        Self::atom(format!("{text}.matches({})", Self::literal(pattern).text))
    }

    /// Whether `part` is a part of `text`.
    pub(crate) fn contains(text: &str, part: &Self) -> Self {
        Self::atom(format!("{}.contains({})", Self::literal(text).text, part.text))
    }

    /// Returns the conjunction.
    pub(crate) fn and(self, other: Self) -> Self {
        match (self.as_constant(), other.as_constant()) {
            (Some(true), _) | (_, Some(false)) => other,
            (_, Some(true)) | (Some(false), _) => self,
            _ => Self::infix(self, "&&", other, Precedence::And),
        }
    }

    /// Returns the disjunction.
    pub(crate) fn or(self, other: Self) -> Self {
        match (self.as_constant(), other.as_constant()) {
            (Some(false), _) | (_, Some(true)) => other,
            (_, Some(false)) | (Some(true), _) => self,
            _ => Self::infix(self, "||", other, Precedence::Or),
        }
    }

    /// Returns the negation.
    pub(crate) fn not(self) -> Self {
        if let Some(value) = self.as_constant() {
            return Self::constant(!value);
        }
        if self.precedence == Precedence::Atom
            && let Some(inner) = self.text.strip_prefix('!')
        {
            return Self::atom(inner.to_owned());
        }
        if self.precedence == Precedence::Compare
            && self.text.matches(" == ").count() == 1
            && !self.text.contains(" != ")
        {
            return Self { text: self.text.replacen(" == ", " != ", 1), precedence: Precedence::Compare };
        }
        if self.precedence == Precedence::Compare
            && self.text.matches(" != ").count() == 1
            && !self.text.contains(" == ")
        {
            return Self { text: self.text.replacen(" != ", " == ", 1), precedence: Precedence::Compare };
        }
        Self::atom(format!("!{}", self.parenthesized(Precedence::Atom)))
    }

    /// Returns the value if the condition is constant.
    pub(crate) fn as_constant(&self) -> Option<bool> {
        match self.text.as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    /// Returns the names of the variables in it.
    pub(crate) fn variables(&self) -> impl Iterator<Item = &str> {
        // In a literal there is a backslash before the quote.
        let calls = ["env(\"", "defined(\""].into_iter().flat_map(|call| self.text.split(call).skip(1));
        calls.filter_map(|rest| rest.split_once('"').map(|(name, _)| name))
    }

    /// Whether it may depend on the event: on its files, or on variables of the execution.
    pub(crate) fn depends_on_event(&self) -> bool {
        self.text.contains("exists(") || self.depends_on_event_besides_files()
    }

    /// Whether it may depend on more of the event than which files there are.
    pub(crate) fn depends_on_event_besides_files(&self) -> bool {
        let reads = |part: &str| self.text.contains(part);
        ["changed(", "changed_since(", "event "].into_iter().any(reads)
            || self.variables().any(is_execution_variable)
    }

    /// Returns its length in bytes, as written in a file.
    pub(crate) fn len(&self) -> usize {
        self.text.len()
    }

    /// Returns the condition as written in a file.
    pub(crate) fn into_text(self) -> String {
        self.text
    }

    fn infix(left: Self, operator: &str, right: Self, precedence: Precedence) -> Self {
        // Operators of the same kind need no parentheses on the left, and `&&` and `||` none on the right either.
        let right_min = if precedence == Precedence::Compare { Precedence::Atom } else { precedence };
        let left_min = if precedence == Precedence::Compare { Precedence::Atom } else { precedence };
        let text = format!("{} {operator} {}", left.parenthesized(left_min), right.parenthesized(right_min));
        Self { text, precedence }
    }

    fn parenthesized(self, min: Precedence) -> String {
        if self.precedence < min { format!("({})", self.text) } else { self.text }
    }
}

#[cfg(test)]
mod tests {
    use super::CelExpr;
    use crate::condition::{Decision, check};

    #[test]
    fn parentheses_are_minimal() {
        let [a, b, c] = ["A", "B", "C"].map(CelExpr::defined);
        let both = a.clone().or(b.clone()).and(c.clone());
        assert_eq!(both.clone().into_text(), "(defined(\"A\") || defined(\"B\")) && defined(\"C\")");
        assert_eq!(
            a.clone().and(b.clone()).or(c.clone()).into_text(),
            "defined(\"A\") && defined(\"B\") || defined(\"C\")"
        );
        assert_eq!(both.not().not().into_text(), "((defined(\"A\") || defined(\"B\")) && defined(\"C\"))");
        assert_eq!(a.clone().not().into_text(), "!defined(\"A\")");
        assert_eq!(CelExpr::is_pull_request().not().into_text(), "event != \"pull_request\"");
        assert_eq!(a.and(CelExpr::constant(true)).into_text(), "defined(\"A\")");
    }

    #[test]
    fn string_literals_round_trip() {
        for text in ["", "a\"b", "\\d+", "a\n\t\u{7}b", "\\\"", "ä 🦀", "' '", "\\"] {
            let condition = CelExpr::equal(CelExpr::variable("A"), CelExpr::literal(text)).into_text();
            assert!(check(&condition).is_ok(), "{condition}");
            let facts = crate::execution::facts::Facts::default();
            let variables = [("A".to_owned(), text.to_owned())].into_iter().collect();
            let context = crate::condition::Context {
                facts: &facts,
                variables: &variables,
                paths: &crate::condition::Paths::new(&facts),
            };
            let decided = check(&condition).map(|it| it.decide(&context));
            assert_eq!(decided, Ok(Ok(Decision::Known(true))), "{condition}");
        }
    }
}
