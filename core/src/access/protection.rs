//! Protected environments: who must approve a job before it acts on one of them.
//!
//! The rules are kept by the server and not in a pipeline file: the person who writes the file is the one to be controlled.

use super::{
    provider::ProviderKind,
    roles::{MAX_NAME_LEN, Person, Role, matches},
};
use crate::text::is_control;
use crate::time::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Maximum number of approvals that a rule requires.
pub const MAX_APPROVALS: u32 = 10;
/// Maximum number of patterns of a rule.
pub const MAX_APPROVERS: usize = 20;
/// Maximum number of rules of a repository.
pub const MAX_PROTECTIONS: usize = 50;
/// Maximum length of the pattern of environments, in bytes.
const MAX_ENVIRONMENT_LEN: usize = 255;
/// Maximum number of recorded approvals of a job.
const MAX_GIVEN: usize = 50;
/// The pattern of every person who may approve in the repository.
pub const ANY_PERSON: &str = "user:*";

/// Protects environments of a repository, or changes the rule for them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProtectEnvironmentRequest {
    /// The repository, in any form of its address.
    pub repo: String,
    /// Name of the environment; `*` stands for any characters.
    #[schemars(length(min = 1, max = 255))]
    pub environment: String,
    /// How many people must approve a job, 1 to 10.
    #[schemars(range(min = 1, max = 10))]
    pub approvals: u32,
    /// Who may approve: `user:PROVIDER:NAME`, `group:PROVIDER:NAME`, `role:NAME` or `token:NAME`; `*` stands for any characters.
    /// Empty: every person who may approve in the repository.
    #[serde(default)]
    #[schemars(length(max = 20))]
    pub by: Vec<String>,
    /// Whether the approval of who started the execution does not count.
    #[serde(default)]
    pub exclude_starter: bool,
}

/// A rule that protects environments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EnvironmentProtection {
    /// Name of the repository.
    pub repo: String,
    /// Name of the environment; `*` stands for any characters.
    pub environment: String,
    /// How many people must approve a job.
    pub approvals: u32,
    /// Who may approve.
    pub by: Vec<String>,
    /// Whether the approval of who started the execution does not count.
    pub exclude_starter: bool,
    /// When it was set.
    pub set_at: Timestamp,
    /// Name of who set it.
    pub set_by: String,
}

/// The rules of a repository.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProtectionList {
    /// In the order of their environments.
    pub protections: Vec<EnvironmentProtection>,
}

/// Query of the rules of a repository.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProtectionQuery {
    /// The repository, in any form of its address.
    pub repo: String,
}

/// Removes the rule of an environment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UnprotectEnvironmentRequest {
    /// The repository, in any form of its address.
    pub repo: String,
    /// The environment, as the rule has it.
    pub environment: String,
}

/// The reply to the removal of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UnprotectEnvironmentReply {
    /// Whether there was such a rule.
    pub removed: bool,
}

/// A rule is not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtectionError {
    /// The environment is empty, too long, or has control characters.
    #[error(
        "the name of an environment has 1 to {MAX_ENVIRONMENT_LEN} bytes, none of them control characters"
    )]
    Environment,
    /// Not a possible number.
    #[error(
        "an environment requires 1 to {MAX_APPROVALS} approvals, not {0}; to remove the rule, use `unprotect`"
    )]
    Approvals(u32),
    /// Too many patterns.
    #[error("a rule names at most {MAX_APPROVERS} approvers; use groups, or patterns")]
    TooManyApprovers,
    /// A pattern is not valid.
    #[error(
        "`{0}` does not say who may approve: write it as user:PROVIDER:NAME, group:PROVIDER:NAME, role:developer, \
         role:maintainer, role:admin or token:NAME, with oidc, github, gitlab or gitea as the provider"
    )]
    Approver(String),
}

impl ProtectEnvironmentRequest {
    /// Checks the rule, and returns it with its approvers written as they are compared.
    pub fn checked(mut self) -> Result<Self, ProtectionError> {
        let environment = &self.environment;
        if !(1..=MAX_ENVIRONMENT_LEN).contains(&environment.len()) || environment.contains(is_control) {
            return Err(ProtectionError::Environment);
        }
        if !(1..=MAX_APPROVALS).contains(&self.approvals) {
            return Err(ProtectionError::Approvals(self.approvals));
        }
        if self.by.len() > MAX_APPROVERS {
            return Err(ProtectionError::TooManyApprovers);
        }
        let by: BTreeSet<String> =
            self.by.iter().map(|one| checked_approver(one)).collect::<Result<_, _>>()?;
        self.by = if by.is_empty() { vec![ANY_PERSON.to_owned()] } else { by.into_iter().collect() };
        Ok(self)
    }
}

fn checked_approver(text: &str) -> Result<String, ProtectionError> {
    let invalid = || ProtectionError::Approver(text.chars().take(MAX_NAME_LEN).collect());
    if text.len() > MAX_NAME_LEN || text.contains(is_control) {
        return Err(invalid());
    }
    let (kind, name) = text.split_once(':').filter(|(_, name)| !name.is_empty()).ok_or_else(invalid)?;
    match kind {
        "user" | "group" if name == "*" => Ok(text.to_owned()),
        "user" | "group" => {
            let (provider, name) =
                name.split_once(':').filter(|(_, name)| !name.is_empty()).ok_or_else(invalid)?;
            let provider = ProviderKind::parse(provider).ok_or_else(invalid)?;
            Ok(format!("{kind}:{}", provider.qualified(name)))
        }
        // Viewers may approve nothing.
        "role" => match name.parse::<Role>() {
            Ok(role) if role > Role::Viewer => Ok(text.to_owned()),
            _ => Err(invalid()),
        },
        "token" => Ok(text.to_owned()),
        _ => Err(invalid()),
    }
}

impl EnvironmentProtection {
    /// Whether the rule is for the environment `name`.
    #[must_use]
    pub fn protects(&self, name: &str) -> bool {
        matches(&self.environment, name)
    }

    /// Returns how many approvals are missing. A person counts once.
    #[must_use]
    pub fn missing(&self, given: &[GivenApproval]) -> u32 {
        let who: BTreeSet<&str> =
            given.iter().filter(|one| one.counts_for(self)).map(|one| one.id.as_str()).collect();
        self.approvals.saturating_sub(u32::try_from(who.len()).unwrap_or(u32::MAX))
    }
}

/// Who approves.
#[derive(Debug, Clone, Copy)]
pub enum Approver<'a> {
    /// A person who signed in.
    Person {
        /// The person.
        person: &'a Person,
        /// Their role in the repository.
        role: Option<Role>,
    },
    /// A token of a machine. It counts only where a rule names it.
    Token {
        /// Its id.
        id: &'a str,
        /// Its name.
        name: &'a str,
    },
}

impl Approver<'_> {
    /// Returns what identifies them: one person has one id, with whatever session or personal token they come.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Self::Person { person, .. } => &person.id,
            Self::Token { id, .. } => id,
        }
    }

    /// Returns the name for display.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Person { person, .. } => &person.name,
            Self::Token { name, .. } => name,
        }
    }

    fn is_selected_by(&self, pattern: &str) -> bool {
        let Some((kind, pattern)) = pattern.split_once(':') else { return false };
        match (self, kind) {
            (Self::Person { person, .. }, "user") => person.names.iter().any(|name| matches(pattern, name)),
            (Self::Person { person, .. }, "group") => person.groups.iter().any(|name| matches(pattern, name)),
            (Self::Person { role, .. }, "role") => {
                pattern.parse::<Role>().is_ok_and(|least| *role >= Some(least))
            }
            (Self::Token { name, .. }, "token") => matches(pattern, name),
            _ => false,
        }
    }

    /// Whether they started the execution. Without an id, the name decides, as of who pushed: at whichever provider it is theirs.
    fn is(&self, starter: Starter<'_>) -> bool {
        if let Some(id) = starter.id {
            return id == self.id();
        }
        let Some(started) = starter.name else { return false };
        let is_own =
            |name: &String| name.split_once(':').is_some_and(|(_, name)| name.eq_ignore_ascii_case(started));
        match self {
            Self::Person { person, .. } => person.name == started || person.names.iter().any(is_own),
            Self::Token { name, .. } => *name == started,
        }
    }
}

/// Who started an execution.
#[derive(Debug, Clone, Copy, Default)]
pub struct Starter<'a> {
    /// Id of the person or token, if known.
    pub id: Option<&'a str>,
    /// The name that is shown.
    pub name: Option<&'a str>,
}

/// An approval that was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenApproval {
    /// Id of the person or token.
    pub id: String,
    /// Their name.
    pub name: String,
    /// When.
    pub at: Timestamp,
    /// The patterns of the rules of that time that select them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by: Vec<String>,
    /// Whether they started the execution.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_starter: bool,
}

impl GivenApproval {
    fn counts_for(&self, rule: &EnvironmentProtection) -> bool {
        let is_excluded = rule.exclude_starter && self.is_starter;
        !is_excluded && rule.by.iter().any(|pattern| self.by.contains(pattern))
    }
}

/// Whether all rules have the approvals that they require.
#[must_use]
pub fn is_approved(rules: &[EnvironmentProtection], given: &[GivenApproval]) -> bool {
    rules.iter().all(|rule| rule.missing(given) == 0)
}

/// An approval does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApprovalRejection {
    /// No rule selects them.
    NotApprover,
    /// They started the execution.
    Starter,
    /// The maximum number of approvals is recorded.
    TooMany,
}

/// What an approval changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalOutcome {
    /// All approvals that are given now.
    pub given: Vec<GivenApproval>,
    /// Whether that is another set than before.
    pub changed: bool,
    /// Whether the job may run.
    pub is_approved: bool,
}

/// Decides about an approval of a job by `approver`, under all `rules` of its environment.
pub fn approve(
    rules: &[EnvironmentProtection],
    given: &[GivenApproval],
    approver: Approver<'_>,
    starter: Starter<'_>,
    now: Timestamp,
) -> Result<ApprovalOutcome, ApprovalRejection> {
    let unchanged = || ApprovalOutcome { given: given.to_vec(), changed: false, is_approved: true };
    if is_approved(rules, given) {
        return Ok(unchanged());
    }
    let by: BTreeSet<&String> =
        rules.iter().flat_map(|rule| &rule.by).filter(|pattern| approver.is_selected_by(pattern)).collect();
    let approval = GivenApproval {
        id: approver.id().to_owned(),
        name: approver.name().to_owned(),
        at: now,
        by: by.into_iter().cloned().collect(),
        is_starter: approver.is(starter),
    };
    if !rules.iter().any(|rule| approval.counts_for(rule)) {
        let is_selected = !approval.by.is_empty();
        return Err(if is_selected { ApprovalRejection::Starter } else { ApprovalRejection::NotApprover });
    }
    let is_same = |one: &GivenApproval| one.id == approval.id && one.by == approval.by;
    if given.iter().any(is_same) {
        return Ok(ApprovalOutcome { is_approved: false, ..unchanged() });
    }
    let mut all: Vec<GivenApproval> = given.iter().filter(|one| one.id != approval.id).cloned().collect();
    if all.len() >= MAX_GIVEN {
        all.retain(|one| rules.iter().any(|rule| one.counts_for(rule)));
    }
    if all.len() >= MAX_GIVEN {
        return Err(ApprovalRejection::TooMany);
    }
    all.push(approval);
    Ok(ApprovalOutcome { is_approved: is_approved(rules, &all), given: all, changed: true })
}

/// What an approval by the caller would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallerApproval {
    /// It counts.
    Counts,
    /// The caller has given it.
    Given,
    /// The caller may not approve in the repository, or no rule that lacks approvals selects them.
    NotApprover,
    /// The caller started the execution, and a rule excludes who did.
    Starter,
    /// The maximum number of approvals is recorded.
    TooMany,
}

/// Returns what an approval by `approver` would be; `None`: someone who may approve nothing in the repository.
#[must_use]
pub fn caller_approval(
    rules: &[EnvironmentProtection],
    given: &[GivenApproval],
    approver: Option<Approver<'_>>,
    starter: Starter<'_>,
) -> CallerApproval {
    let Some(approver) = approver else { return CallerApproval::NotApprover };
    match approve(rules, given, approver, starter, Timestamp(0)) {
        Ok(outcome) if outcome.changed || outcome.is_approved => CallerApproval::Counts,
        Ok(_) => CallerApproval::Given,
        Err(ApprovalRejection::NotApprover) => CallerApproval::NotApprover,
        Err(ApprovalRejection::Starter) => CallerApproval::Starter,
        Err(ApprovalRejection::TooMany) => CallerApproval::TooMany,
    }
}

/// An approval, as shown to users.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApprovalView {
    /// Name of who gave it.
    pub name: String,
    /// When.
    pub at: Timestamp,
}

/// A rule of a job's environment, with what it still requires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RequiredApprovals {
    /// The environment, as the rule has it.
    pub environment: String,
    /// How many people must approve the job.
    pub approvals: u32,
    /// How many approvals are missing.
    pub missing: u32,
    /// Who may approve.
    pub by: Vec<String>,
    /// Whether the approval of who started the execution does not count.
    pub exclude_starter: bool,
}

/// The approvals of a job whose environment is protected.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApprovalProgress {
    /// The approvals that were given.
    #[serde(default)]
    pub given: Vec<ApprovalView>,
    /// What the rules require; empty once the job is approved.
    #[serde(default)]
    pub required: Vec<RequiredApprovals>,
}

impl ApprovalProgress {
    /// Returns what was given and what is missing.
    #[must_use]
    pub fn new(rules: &[EnvironmentProtection], given: &[GivenApproval]) -> Self {
        let required = |rule: &EnvironmentProtection| RequiredApprovals {
            environment: rule.environment.clone(),
            approvals: rule.approvals,
            missing: rule.missing(given),
            by: rule.by.clone(),
            exclude_starter: rule.exclude_starter,
        };
        Self {
            given: given.iter().map(|one| ApprovalView { name: one.name.clone(), at: one.at }).collect(),
            required: rules.iter().map(required).collect(),
        }
    }

    /// Says in a sentence what is missing: `production needs 1 more approval by group:oidc:ops, not by who started it`.
    #[must_use]
    pub fn describe_missing(&self) -> String {
        let lacking = self.required.iter().filter(|one| one.missing > 0);
        let texts = lacking.map(|one| {
            let plural = if one.missing == 1 { "" } else { "s" };
            let starter = if one.exclude_starter { ", not by who started it" } else { "" };
            let by = if one.by == [ANY_PERSON] {
                "people who may approve".to_owned()
            } else {
                one.by.join(" or ")
            };
            format!("{} needs {} more approval{plural} by {by}{starter}", one.environment, one.missing)
        });
        texts.collect::<Vec<_>>().join("; ")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
