//! Decides the conditions of includes for one event.

use std::borrow::Cow;

use crate::condition::{self, Context, Decision, Paths};
use crate::execution::facts::Facts;
use crate::execution::predefined;
use crate::gitlab::conditions::cel::CelExpr;
use crate::gitlab::settings::TranslateOptions;

/// For which events a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IncludeMode {
    /// For all: conditions of includes become conditions of jobs.
    AllEvents,
    /// For the one of the options, which decides conditions of includes. Without one, those are decided that do not depend on it.
    OneEvent,
}

/// Returns whether the condition of an include holds in a repository with these files; `None` if it depends on more.
pub(super) fn decide_for_files(
    condition: &CelExpr,
    files: Vec<String>,
    settings: &TranslateOptions,
) -> Option<bool> {
    let facts = Facts { files: Some(files), ..Facts::default() };
    if condition.depends_on_event_besides_files() { None } else { decide_for(condition, &facts, settings) }
}

/// Returns whether the condition of an include holds; `None` if it depends on what is not known.
pub(super) fn decide(condition: &CelExpr, settings: &TranslateOptions) -> Option<bool> {
    let facts = match &settings.event {
        Some(facts) => Cow::Borrowed(facts.as_ref()),
        None if condition.depends_on_event() => return None,
        None => Cow::Owned(Facts::default()),
    };
    decide_for(condition, &facts, settings)
}

fn decide_for(condition: &CelExpr, facts: &Facts, settings: &TranslateOptions) -> Option<bool> {
    let external = &settings.external;
    let is_unknown = |name: &str| external.hidden.contains(name) || external.of_environments.contains(name);
    // What changed since another ref is read for the complete pipeline only.
    if condition.compares_changes() || condition.variables().any(is_unknown) {
        return None;
    }
    let mut variables = predefined::execution_variables(facts, &settings.name);
    variables.extend(external.values.clone());
    let context = Context { facts, variables: &variables, paths: &Paths::new(facts) };
    match condition::check(&condition.clone().into_text()).ok()?.decide(&context) {
        Ok(Decision::Known(holds)) => Some(holds),
        Ok(Decision::Open(_)) | Err(_) => None,
    }
}
