//! References to outputs of jobs in conditions: `needs.JOB.outputs.NAME`.

use cel::common::ast::{Expr, IdedExpr, LiteralValue, operators};

/// Maximum number of outputs that a condition refers to: their total size is bounded by that of the outputs of so many jobs.
pub(super) const MAX_OUTPUTS: usize = 10;

/// An output that a condition refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputReference {
    /// Name of the job in the file.
    pub job: String,
    /// Name of its output.
    pub output: String,
    /// Position of the first character of the reference, counted from 0.
    pub start: usize,
    /// Number of its characters.
    pub length: usize,
}

/// A chain of fields that begins with `needs`.
pub(super) struct OutputPath<'a> {
    /// The name `needs`.
    pub root: &'a IdedExpr,
    /// The expression whose position is the last that the parser knows.
    pub last: &'a IdedExpr,
    /// The names of the fields.
    pub parts: Vec<&'a str>,
    /// Whether the last field is in brackets.
    is_index: bool,
}

impl OutputPath<'_> {
    /// Returns the number of characters after the position of `last`: that is the dot before a field, or the text in brackets.
    pub fn suffix_len(&self) -> usize {
        if self.is_index { 1 } else { self.parts.last().map_or(0, |part| part.chars().count()) }
    }
}

/// Returns the chain of fields that `of` is, if it begins with `needs`.
pub(super) fn output_path(of: &IdedExpr) -> Option<OutputPath<'_>> {
    match &of.expr {
        Expr::Ident(name) if name == "needs" => {
            Some(OutputPath { root: of, last: of, parts: Vec::new(), is_index: false })
        }
        Expr::Select(select) if !select.test => {
            let mut path = output_path(&select.operand)?;
            path.parts.push(&select.field);
            (path.last, path.is_index) = (of, false);
            Some(path)
        }
        Expr::Call(call) if call.func_name == operators::INDEX && call.target.is_none() => {
            let [operand, key] = call.args.as_slice() else { return None };
            let Expr::Literal(LiteralValue::String(field)) = &key.expr else { return None };
            let mut path = output_path(operand)?;
            path.parts.push(field.inner());
            (path.last, path.is_index) = (key, true);
            Some(path)
        }
        _ => None,
    }
}
