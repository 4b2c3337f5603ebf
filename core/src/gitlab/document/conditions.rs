//! Joins the conditions under which files are included.

use std::collections::HashMap;
use std::rc::Rc;

use crate::gitlab::conditions::cel::CelExpr;

/// Maximum length of the condition of an included job, in bytes.
pub(super) const MAX_CONDITION_BYTES: usize = 16 << 10;

/// A condition that is longer than [`MAX_CONDITION_BYTES`].
#[derive(Clone, Copy)]
pub(super) struct TooLong;

/// Returns the message about such a condition.
pub(super) fn too_long_condition() -> String {
    format!("the condition of the included files has more than {MAX_CONDITION_BYTES} bytes")
}

/// Conditions of two, each made once: many jobs have the same.
#[derive(Default)]
pub(super) struct JoinedConditions(HashMap<(*const CelExpr, *const CelExpr), JoinedCondition>);

/// The two conditions, which keep their addresses taken, and theirs together.
type JoinedCondition = (Rc<CelExpr>, Rc<CelExpr>, Result<Option<Rc<CelExpr>>, TooLong>);

impl JoinedConditions {
    /// Returns `join` of two conditions; `None` if that always holds. An addition joins two conditions in one way only.
    pub(super) fn join(
        &mut self,
        left: &Rc<CelExpr>,
        right: &Rc<CelExpr>,
        join: fn(CelExpr, CelExpr) -> CelExpr,
    ) -> Result<Option<Rc<CelExpr>>, TooLong> {
        if Rc::ptr_eq(left, right) || left == right {
            return Ok(Some(Rc::clone(left)));
        }
        let made = self.0.entry((Rc::as_ptr(left), Rc::as_ptr(right))).or_insert_with(|| {
            let joined = if left.len() + right.len() > MAX_CONDITION_BYTES {
                Err(TooLong)
            } else {
                let joined = join(CelExpr::clone(left), CelExpr::clone(right));
                Ok((joined.as_constant() != Some(true)).then(|| Rc::new(joined)))
            };
            (Rc::clone(left), Rc::clone(right), joined)
        });
        made.2.clone()
    }
}
