//! Bounds the nesting of conditions.

use super::error::ConditionError;
use super::predicate::{MAX_DEPTH, Predicate, Value};

/// Brackets and ternaries make the parser recurse before it checks the depth, so they are counted first.
pub(super) fn check_nesting(text: &str) -> Result<(), ConditionError> {
    let (mut depth, mut ternaries) = (0_u16, 0_u16);
    for (at, sign) in text.chars().enumerate() {
        match sign {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            '?' => ternaries += 1,
            _ => {}
        }
        if depth > MAX_DEPTH || ternaries > MAX_DEPTH {
            let message = format!("the condition is nested more than {MAX_DEPTH} levels deep");
            return Err(ConditionError { start: at, length: 1, message, help: None });
        }
    }
    Ok(())
}

/// Returns the nesting depth of boolean comparisons, from the left.
pub(super) fn comparison_depth(test: &Predicate) -> u16 {
    let mut test = test;
    let mut depth = 0;
    loop {
        test = match test {
            Predicate::BoolEqual(left, _) => {
                depth += 1;
                left
            }
            Predicate::Not(inner) => inner,
            _ => return depth,
        };
    }
}

/// Returns the text whose case a value changes: of several changes only the last one counts, so that a chain of them is no
/// deeper than one.
pub(super) fn without_case(value: Value) -> Value {
    match value {
        Value::Lower(inner) | Value::Upper(inner) => *inner,
        other => other,
    }
}
