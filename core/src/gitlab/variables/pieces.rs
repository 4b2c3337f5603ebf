//! Texts with references to variables, as GitLab writes them: `$NAME` and `${NAME}`.

use crate::pipeline::is_variable_name;

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Literal text.
    Text(String),
    /// A reference to a variable.
    Name(String),
}

/// A text in which variables that nobody sets are empty, and those.
pub(crate) struct WithoutUnset {
    pub(crate) text: String,
    pub(crate) unset: Vec<String>,
}

/// Splits a text: `$NAME` and `${NAME}` are variables, and `$$` is a `$`.
pub(crate) fn pieces(text: &str) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        literal.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(after) = after.strip_prefix('$') {
            literal.push('$');
            rest = after;
            continue;
        }
        let (body, braced) = after.strip_prefix('{').map_or((after, false), |body| (body, true));
        let length = body.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(body.len());
        let closed = !braced || body[length..].starts_with('}');
        if is_variable_name(&body[..length]) && closed {
            if !literal.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut literal)));
            }
            pieces.push(Piece::Name(body[..length].to_owned()));
            rest = &body[length + usize::from(braced)..];
        } else {
            literal.push('$');
            rest = after;
        }
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        pieces.push(Piece::Text(literal));
    }
    pieces
}

/// Maximum length of a reference within another one, in bytes.
const MAX_NESTED_BYTES: usize = 256;

/// Returns the first reference to a variable within the name of another one, such as `${URL_${ENV}}`.
pub(crate) fn nested_reference(text: &str) -> Option<&str> {
    let starts = text.match_indices("${").map(|(at, _)| at);
    starts.into_iter().find_map(|at| {
        let name = &text[at + 2..];
        let length = name.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))?;
        let mut near = name[length..].bytes().take(MAX_NESTED_BYTES);
        let end = name[length..].starts_with('$').then(|| near.position(|byte| byte == b'}'))??;
        let end = length + end + 1;
        let end = end + usize::from(name[end..].starts_with('}'));
        Some(&text[at..at + 2 + end])
    })
}

/// Appends `${name}`.
pub(crate) fn push_reference(name: &str, out: &mut String) {
    out.push_str("${");
    out.push_str(name);
    out.push('}');
}

/// Returns the text of parts without references.
pub(crate) fn literal_text(pieces: &[Piece]) -> Option<String> {
    pieces
        .iter()
        .map(|piece| match piece {
            Piece::Text(text) => Some(text.as_str()),
            Piece::Name(_) => None,
        })
        .collect()
}

/// Returns the parts in the form for double quotes in a shell.
pub(crate) fn quote_for_shell(pieces: &[Piece]) -> String {
    let mut out = String::new();
    for piece in pieces {
        match piece {
            Piece::Name(name) => push_reference(name, &mut out),
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

#[cfg(test)]
mod tests {
    use super::nested_reference;

    #[test]
    fn nested_reference_is_found_nearby_only() {
        assert_eq!(nested_reference("a ${URL_${ENV}} b"), Some("${URL_${ENV}}"));
        assert_eq!(nested_reference(&"${".repeat(350_000)), None);
        assert_eq!(nested_reference(&format!("${{A${{{}}}", "é".repeat(200))), None);
    }
}
