//! The environment of a job, and what the job does with it.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The environment of a job: where it deploys to, or what it stops.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Environment {
    /// Its name; chooses among the repository's secrets. May hold `${NAME}` references.
    pub name: String,
    /// Its URL.
    #[serde(default)]
    pub url: Option<String>,
    /// What the job does with it.
    #[serde(default, skip_serializing_if = "EnvironmentAction::is_default")]
    pub action: EnvironmentAction,
    /// The job that stops it, by its name in the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_stop: Option<String>,
    /// How long after the deployment it is stopped, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_stop_in_s: Option<u64>,
    /// What it is for. `None`: derived from its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<DeploymentTier>,
    /// A text with references, whose value is `auto_stop_in` instead; not in a plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_stop_in_reference: Option<String>,
}

/// Maximum of `auto_stop_in` in seconds: ten years.
pub(crate) const MAX_AUTO_STOP_S: u64 = 3_653 * 86_400;

impl Environment {
    /// Sets the predefined variables about the environment that do not follow from its name.
    pub fn add_variables(&self, variables: &mut IndexMap<String, String>) {
        variables.insert("CI_ENVIRONMENT_ACTION".to_owned(), self.action.name().to_owned());
        if let Some(tier) = self.tier {
            variables.insert("CI_ENVIRONMENT_TIER".to_owned(), tier.name().to_owned());
        }
    }
}

/// What a job does with its environment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EnvironmentAction {
    /// It deploys to it.
    #[default]
    Start,
    /// It stops it.
    Stop,
    /// It prepares it; no deployment is recorded.
    Prepare,
    /// It checks it; no deployment is recorded.
    Verify,
    /// It uses it; no deployment is recorded.
    Access,
}

impl EnvironmentAction {
    /// All actions with their names in pipeline files.
    pub const ALL: [(&'static str, Self); 5] = [
        ("start", Self::Start),
        ("stop", Self::Stop),
        ("prepare", Self::Prepare),
        ("verify", Self::Verify),
        ("access", Self::Access),
    ];

    /// Whether it is the default.
    #[must_use]
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "required by serde")]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Returns its name in pipeline files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Prepare => "prepare",
            Self::Verify => "verify",
            Self::Access => "access",
        }
    }

    /// Whether the history of the environment lists jobs with this action.
    #[must_use]
    pub const fn is_recorded(self) -> bool {
        matches!(self, Self::Start | Self::Stop)
    }
}

/// What an environment is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeploymentTier {
    /// For users.
    Production,
    /// For a last check before production.
    Staging,
    /// For tests.
    Testing,
    /// For development, such as reviews.
    Development,
    /// For something else.
    Other,
}

impl DeploymentTier {
    /// All tiers with their names in pipeline files.
    pub const ALL: [(&'static str, Self); 5] = [
        ("production", Self::Production),
        ("staging", Self::Staging),
        ("testing", Self::Testing),
        ("development", Self::Development),
        ("other", Self::Other),
    ];

    /// Returns its name in pipeline files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Staging => "staging",
            Self::Testing => "testing",
            Self::Development => "development",
            Self::Other => "other",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{DeploymentTier, EnvironmentAction};

    #[test]
    fn names_are_those_of_the_lists() {
        assert!(EnvironmentAction::ALL.iter().all(|(name, action)| action.name() == *name));
        assert!(DeploymentTier::ALL.iter().all(|(name, tier)| tier.name() == *name));
    }
}
