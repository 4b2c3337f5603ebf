//! Writes a document as YAML text.

use std::fmt::Write as _;

use super::tree::{Kind, Node};

/// Writes a document in block style, without the top-level keys that only hold values for anchors.
pub(crate) fn write(root: &Node) -> String {
    let mut out = String::new();
    if let Kind::Mapping(mapping) = &root.kind {
        let kept = mapping.entries.iter().filter(|entry| !is_anchor_holder(&entry.key)).cloned();
        value(&Node::mapping(kept.collect(), root.location), 0, &mut out);
    }
    out
}

/// Writes what follows a `key:`, a `-`, or nothing, up to the end of the line.
fn value(node: &Node, indent: usize, out: &mut String) {
    match &node.kind {
        Kind::Scalar { text, plain } => {
            out.push_str(if indent == 0 { "" } else { " " });
            scalar(text, *plain, indent, out);
            out.push('\n');
        }
        Kind::Sequence(items) if items.is_empty() => out.push_str(" []\n"),
        Kind::Mapping(mapping) if mapping.entries.is_empty() => out.push_str(" {}\n"),
        Kind::Sequence(items) => {
            begin(indent, out);
            for item in items {
                pad(indent, out);
                out.push('-');
                value(item, indent + 1, out);
            }
        }
        Kind::Mapping(mapping) => {
            begin(indent, out);
            for entry in &mapping.entries {
                pad(indent, out);
                let simple = entry.key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '.')
                    && entry.key.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
                if simple {
                    out.push_str(&entry.key);
                } else {
                    quoted(&entry.key, out);
                }
                out.push(':');
                value(&entry.value, indent + 1, out);
            }
        }
    }
}

fn begin(indent: usize, out: &mut String) {
    if indent > 0 {
        out.push('\n');
    }
}

fn pad(indent: usize, out: &mut String) {
    for _ in 0..indent {
        out.push_str("  ");
    }
}

fn scalar(text: &str, plain: bool, indent: usize, out: &mut String) {
    if plain && text.is_empty() {
        out.push('~');
    } else if plain && !text.contains(is_odd) {
        out.push_str(text);
    } else if is_block(text) {
        out.push_str(if text.ends_with('\n') { "|" } else { "|-" });
        for line in text.trim_end_matches('\n').split('\n') {
            out.push('\n');
            if !line.is_empty() {
                pad(indent, out);
                out.push_str(line);
            }
        }
    } else {
        quoted(text, out);
    }
}

/// Whether a text keeps its value when it is written as a block scalar.
fn is_block(text: &str) -> bool {
    let body = text.strip_suffix('\n').unwrap_or(text);
    body.contains('\n')
        && !body.ends_with('\n')
        && !body.starts_with([' ', '\n'])
        && !body.contains(|c| is_odd(c) && c != '\n')
        && body.split('\n').all(|line| !line.trim().is_empty() || line.is_empty())
}

/// Whether some YAML readers take a character for a line break or drop it.
fn is_odd(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

fn quoted(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if is_odd(c) => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Whether a top-level key only holds values for anchors: `.name` as in GitLab, `x-name` as in Compose.
pub(crate) fn is_anchor_holder(key: &str) -> bool {
    key.starts_with('.') || key.starts_with("x-")
}
