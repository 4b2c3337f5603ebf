//! Writes conditions in the language of native pipeline files. All names of that language that a translation uses stand here.

use std::fmt::Write as _;

/// How strongly a condition's outermost operator binds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Precedence {
    Or,
    And,
    Compare,
    Whole,
}

/// A condition, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CelExpr {
    text: String,
    binding: Precedence,
}

impl CelExpr {
    fn whole(text: String) -> Self {
        Self { text, binding: Precedence::Whole }
    }

    /// A truth value.
    pub(crate) fn constant(value: bool) -> Self {
        Self::whole(value.to_string())
    }

    /// A text.
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
        Self::whole(out)
    }

    /// A variable's value.
    pub(crate) fn variable(name: &str) -> Self {
        Self::whole(format!("env(\"{name}\")"))
    }

    /// Whether a variable is set.
    pub(crate) fn defined(name: &str) -> Self {
        Self::whole(format!("defined(\"{name}\")"))
    }

    /// Whether a pull request is the reason.
    pub(crate) fn is_request() -> Self {
        Self::equal(Self::whole("event".to_owned()), Self::literal("pull_request"))
    }

    /// Whether one of these globs matches a file that changed.
    pub(crate) fn changed(globs: &[String]) -> Self {
        Self::call("changed", globs)
    }

    /// Whether one of these globs matches a file.
    pub(crate) fn exists(globs: &[String]) -> Self {
        Self::call("exists", globs)
    }

    fn call(name: &str, texts: &[String]) -> Self {
        let texts: Vec<String> = texts.iter().map(|text| Self::literal(text).text).collect();
        Self::whole(format!("{name}({})", texts.join(", ")))
    }

    /// Texts one behind the other.
    pub(crate) fn joined(parts: Vec<Self>) -> Self {
        let texts: Vec<String> = parts.into_iter().map(|part| part.text).collect();
        match texts.as_slice() {
            [] => Self::literal(""),
            [only] => Self::whole(only.clone()),
            many => Self::whole(format!("({})", many.join(" + "))),
        }
    }

    /// Whether two texts, or two truth values, are the same.
    pub(crate) fn equal(left: Self, right: Self) -> Self {
        Self::infix(left, "==", right, Precedence::Compare)
    }

    /// Whether a part of `text` matches `pattern`.
    pub(crate) fn matches(text: Self, pattern: &str) -> Self {
        let text = text.within(Precedence::Whole);
        Self::whole(format!("{text}.matches({})", Self::literal(pattern).text))
    }

    /// Both.
    pub(crate) fn and(self, other: Self) -> Self {
        match (self.as_constant(), other.as_constant()) {
            (Some(true), _) | (_, Some(false)) => other,
            (_, Some(true)) | (Some(false), _) => self,
            _ => Self::infix(self, "&&", other, Precedence::And),
        }
    }

    /// One of the two at least.
    pub(crate) fn or(self, other: Self) -> Self {
        match (self.as_constant(), other.as_constant()) {
            (Some(false), _) | (_, Some(true)) => other,
            (_, Some(false)) | (Some(true), _) => self,
            _ => Self::infix(self, "||", other, Precedence::Or),
        }
    }

    /// The opposite.
    pub(crate) fn not(self) -> Self {
        if let Some(value) = self.as_constant() {
            return Self::constant(!value);
        }
        if self.binding == Precedence::Whole
            && let Some(inner) = self.text.strip_prefix('!')
        {
            return Self::whole(inner.to_owned());
        }
        if self.binding == Precedence::Compare
            && self.text.matches(" == ").count() == 1
            && !self.text.contains(" != ")
        {
            return Self { text: self.text.replacen(" == ", " != ", 1), binding: Precedence::Compare };
        }
        if self.binding == Precedence::Compare
            && self.text.matches(" != ").count() == 1
            && !self.text.contains(" == ")
        {
            return Self { text: self.text.replacen(" != ", " == ", 1), binding: Precedence::Compare };
        }
        Self::whole(format!("!{}", self.within(Precedence::Whole)))
    }

    /// Whether it does not depend on anything, and what it is then.
    pub(crate) fn as_constant(&self) -> Option<bool> {
        match self.text.as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    /// The condition as it is written in a file.
    pub(crate) fn into_text(self) -> String {
        self.text
    }

    fn infix(left: Self, operator: &str, right: Self, binding: Precedence) -> Self {
        // Operators of one kind need no brackets on the left, and of `&&` and `||` none on the right either.
        let right_least = if binding == Precedence::Compare { Precedence::Whole } else { binding };
        let left_least = if binding == Precedence::Compare { Precedence::Whole } else { binding };
        let text = format!("{} {operator} {}", left.within(left_least), right.within(right_least));
        Self { text, binding }
    }

    fn within(self, least: Precedence) -> String {
        if self.binding < least { format!("({})", self.text) } else { self.text }
    }
}

#[cfg(test)]
mod tests {
    use super::CelExpr;
    use crate::condition::check;

    #[test]
    fn brackets_are_minimal() {
        let [a, b, c] = ["A", "B", "C"].map(CelExpr::defined);
        let both = a.clone().or(b.clone()).and(c.clone());
        assert_eq!(both.clone().into_text(), "(defined(\"A\") || defined(\"B\")) && defined(\"C\")");
        assert_eq!(
            a.clone().and(b.clone()).or(c.clone()).into_text(),
            "defined(\"A\") && defined(\"B\") || defined(\"C\")"
        );
        assert_eq!(both.not().not().into_text(), "((defined(\"A\") || defined(\"B\")) && defined(\"C\"))");
        assert_eq!(a.clone().not().into_text(), "!defined(\"A\")");
        assert_eq!(CelExpr::is_request().not().into_text(), "event != \"pull_request\"");
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
                paths: &crate::condition::Paths::of(&facts),
            };
            assert_eq!(check(&condition).map(|it| it.holds(&context)), Ok(Ok(true)), "{condition}");
        }
    }
}
