//! Scalar values of triggers.

use schemars::JsonSchema;

use super::super::field::FromScalar;
use super::super::scalars::choose;
use crate::pipeline::finding::Fault;
use crate::pipeline::model::{InputKind, UpstreamStatus};
use crate::repository::webhook::PullRequestAction;

/// What happens to a pull request.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(inline)]
pub(crate) struct PullRequestType(pub(crate) PullRequestAction);

/// How another execution must end.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(inline)]
pub(crate) struct StatusOfUpstream(pub(crate) UpstreamStatus);

/// The type of an input.
#[derive(Debug, Clone, Copy, JsonSchema)]
#[schemars(inline)]
pub(crate) struct InputType(pub(crate) InputKind);

impl FromScalar for PullRequestType {
    const EXPECTED: &'static str = "`opened`, `reopened`, `synchronized`, `ready_for_review`, `labeled`, `unlabeled`, `closed` or `merged`";
    fn from_text(text: &str) -> Result<Self, Fault> {
        choose(text, Self::EXPECTED, &PullRequestAction::ALL).map(Self).map_err(|fault| match text {
            "synchronize" => fault.help("it is called `synchronized` here"),
            _ => fault,
        })
    }
}

impl FromScalar for StatusOfUpstream {
    const EXPECTED: &'static str = "`success`, `failed` or `any`";
    fn from_text(text: &str) -> Result<Self, Fault> {
        let choices = [
            ("success", UpstreamStatus::Success),
            ("failed", UpstreamStatus::Failed),
            ("any", UpstreamStatus::Any),
        ];
        choose(text, Self::EXPECTED, &choices).map(Self)
    }
}

impl FromScalar for InputType {
    const EXPECTED: &'static str = "`string`, `number`, `boolean` or `choice`";
    fn from_text(text: &str) -> Result<Self, Fault> {
        choose(text, Self::EXPECTED, &InputKind::ALL).map(Self)
    }
}
