//! How long executions and what they stored are kept: rules of the server, of repositories and of their pipelines.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Maximum value of every number in a rule: a thousand years.
const MAX_NUMBER: u32 = 365_000;
/// Maximum number of pipelines with a rule of their own.
const MAX_PIPELINES: usize = 200;
/// Maximum length of a pipeline's name, in bytes.
const MAX_NAME_LEN: usize = 200;
/// Minimum number of days for which an unused upload is kept: longer than an execution waits for an approval.
pub const MIN_UPLOAD_DAYS: u32 = 31;
/// Days for which an unused upload is kept without a rule.
const DEFAULT_UPLOAD_DAYS: u32 = 35;
/// Days for which an unused cache is kept without a rule.
const DEFAULT_CACHE_DAYS: u32 = 14;
/// Days for which the newest execution of a branch is kept without a rule.
const DEFAULT_BRANCH_DAYS: u32 = 365;

/// A rule: what is absent is as in the rule of the repository, then of the server. 0 days, or a `last` of 0, mean no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RetentionRule {
    /// Days for which an execution is kept after its end; 0: for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub days: Option<u32>,
    /// How many of the newest executions of the pipeline are kept, however old; 0: no number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<u32>,
    /// Days for which the newest execution of each branch is kept, 365 without a rule; 0: as any other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch_days: Option<u32>,
    /// Whether executions of tags are kept for ever; true without a rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_tags: Option<bool>,
    /// Days for which logs are kept after the end of their execution; 0: as long as it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_days: Option<u32>,
    /// Days for which artifacts are kept after the end of their execution, whatever their `expire_in`; 0: as long as it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_days: Option<u32>,
}

impl RetentionRule {
    /// Returns this rule with what it lacks from `base`.
    #[must_use]
    pub fn over(&self, base: &Self) -> Self {
        Self {
            days: self.days.or(base.days),
            last: self.last.or(base.last),
            branch_days: self.branch_days.or(base.branch_days),
            keep_tags: self.keep_tags.or(base.keep_tags),
            log_days: self.log_days.or(base.log_days),
            artifact_days: self.artifact_days.or(base.artifact_days),
        }
    }

    /// Whether the rule says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether executions of tags are kept for ever.
    #[must_use]
    pub fn keeps_tags(&self) -> bool {
        self.keep_tags.unwrap_or(true)
    }

    /// Returns the days for which the newest execution of a branch is kept; `None`: as any other.
    #[must_use]
    pub fn branch_days(&self) -> Option<u32> {
        limit(self.branch_days.or(Some(DEFAULT_BRANCH_DAYS)))
    }

    /// Returns the days after which something of an execution may be removed by this rule; `None`: nothing ever is.
    #[must_use]
    pub fn first_removal_days(&self) -> Option<u32> {
        let days =
            if self.days == Some(0) { None } else { self.days.or_else(|| limit(self.last).map(|_| 0)) };
        [days, limit(self.log_days), limit(self.artifact_days)].into_iter().flatten().min()
    }

    fn check(&self) -> Result<(), String> {
        let numbers = [
            ("days", self.days),
            ("last", self.last),
            ("branch_days", self.branch_days),
            ("log_days", self.log_days),
            ("artifact_days", self.artifact_days),
        ];
        match numbers.into_iter().find(|(_, number)| number.is_some_and(|number| number > MAX_NUMBER)) {
            Some((key, _)) => Err(format!("`{key}` is at most {MAX_NUMBER}")),
            None => Ok(()),
        }
    }
}

/// Returns a number that limits something; `None` if it is 0 or absent.
pub(super) fn limit(number: Option<u32>) -> Option<u32> {
    number.filter(|number| *number > 0)
}

/// The settings of a repository, or those of the server for all repositories.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RetentionSettings {
    /// The rule of all pipelines.
    #[serde(skip_serializing_if = "RetentionRule::is_empty")]
    pub rule: RetentionRule,
    /// Rules of pipelines, by their names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub pipelines: BTreeMap<String, RetentionRule>,
    /// Days for which a cache is kept after its last use; 14 without a rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_days: Option<u32>,
    /// Days for which uploaded sources are kept after their last use; 35 without a rule. Only of the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upload_days: Option<u32>,
}

impl RetentionSettings {
    /// Checks settings of a repository, or of the server.
    ///
    /// # Errors
    ///
    /// Returns what is wrong.
    pub fn check(&self, is_server: bool) -> Result<(), String> {
        self.rule.check()?;
        if self.pipelines.len() > MAX_PIPELINES {
            return Err(format!("at most {MAX_PIPELINES} pipelines have a rule of their own"));
        }
        for (name, rule) in &self.pipelines {
            if name.is_empty() || name.len() > MAX_NAME_LEN || name.contains(char::is_control) {
                return Err(format!(
                    "a pipeline's name has 1 to {MAX_NAME_LEN} bytes, without control characters"
                ));
            }
            rule.check().map_err(|wrong| format!("pipeline `{name}`: {wrong}"))?;
        }
        if self.cache_days.is_some_and(|days| !(1..=MAX_NUMBER).contains(&days)) {
            return Err(format!("`cache_days` is 1 to {MAX_NUMBER}"));
        }
        if self.upload_days.is_some() && !is_server {
            return Err("`upload_days` is a setting of the server only".into());
        }
        if self.upload_days.is_some_and(|days| !(MIN_UPLOAD_DAYS..=MAX_NUMBER).contains(&days)) {
            return Err(format!(
                "`upload_days` is {MIN_UPLOAD_DAYS} to {MAX_NUMBER}: an execution may wait 30 days for its approval"
            ));
        }
        Ok(())
    }
}

/// All settings of a deployment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RetentionPolicy {
    /// Those of the server.
    pub server: RetentionSettings,
    /// Those of repositories, by their names.
    pub repositories: BTreeMap<String, RetentionSettings>,
}

impl RetentionPolicy {
    /// Returns the rule of a pipeline of a repository: each number of the nearest of pipeline, repository, the server's rule for the
    /// pipeline's name, and the server.
    #[must_use]
    pub fn rule(&self, repo: &str, pipeline: &str) -> RetentionRule {
        let empty = RetentionSettings::default();
        let own = self.repositories.get(repo).unwrap_or(&empty);
        let levels = [
            own.pipelines.get(pipeline),
            Some(&own.rule),
            self.server.pipelines.get(pipeline),
            Some(&self.server.rule),
        ];
        levels.into_iter().flatten().fold(RetentionRule::default(), |rule, level| rule.over(level))
    }

    /// Returns the days after which something may be removed by any of the rules; `None`: nothing ever is.
    #[must_use]
    pub fn first_removal_days(&self) -> Option<u32> {
        let names = |settings: &RetentionSettings| settings.pipelines.keys().cloned().collect::<Vec<_>>();
        // A rule of each combination of levels, with names that no pipeline and no repository have.
        let repositories = self.repositories.keys().map(String::as_str).chain(["\n"]);
        let rules = repositories.flat_map(|repo| {
            let own = self.repositories.get(repo).map(names).unwrap_or_default();
            let pipelines = own.into_iter().chain(names(&self.server)).chain(["\n".to_owned()]);
            pipelines.map(|pipeline| self.rule(repo, &pipeline)).collect::<Vec<_>>()
        });
        rules.filter_map(|rule| rule.first_removal_days()).min()
    }

    /// Returns the days for which an unused cache of a repository is kept.
    #[must_use]
    pub fn cache_days(&self, repo: &str) -> u32 {
        let own = self.repositories.get(repo).and_then(|own| own.cache_days);
        own.or(self.server.cache_days).unwrap_or(DEFAULT_CACHE_DAYS)
    }

    /// Returns the days for which an unused upload is kept.
    #[must_use]
    pub fn upload_days(&self) -> u32 {
        self.server.upload_days.unwrap_or(DEFAULT_UPLOAD_DAYS)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{RetentionPolicy, RetentionRule, RetentionSettings};

    fn days(days: u32) -> RetentionRule {
        RetentionRule { days: Some(days), ..RetentionRule::default() }
    }

    fn of(rule: RetentionRule) -> RetentionSettings {
        RetentionSettings { rule, ..RetentionSettings::default() }
    }

    #[test]
    fn nearest_level_decides_each_number() {
        let server = RetentionSettings {
            rule: RetentionRule {
                days: Some(90),
                last: Some(5),
                keep_tags: Some(false),
                ..RetentionRule::default()
            },
            pipelines: [("nightly".to_owned(), days(7))].into(),
            cache_days: Some(3),
            upload_days: Some(40),
        };
        let own = RetentionSettings {
            pipelines: [("release".to_owned(), days(0))].into(),
            cache_days: Some(30),
            ..of(RetentionRule { last: Some(50), ..RetentionRule::default() })
        };
        let policy = RetentionPolicy { server, repositories: [("h/app".to_owned(), own)].into() };
        let numbers = |repo: &str, pipeline: &str| {
            let rule = policy.rule(repo, pipeline);
            (rule.days, rule.last, rule.keeps_tags())
        };
        assert_eq!(numbers("h/app", "release"), (Some(0), Some(50), false));
        assert_eq!(numbers("h/app", "nightly"), (Some(7), Some(50), false));
        assert_eq!(numbers("h/app", "ci"), (Some(90), Some(50), false));
        assert_eq!(numbers("h/other", "ci"), (Some(90), Some(5), false));
        assert_eq!((policy.cache_days("h/app"), policy.cache_days("h/other")), (30, 3));
        assert_eq!(policy.upload_days(), 40);
        assert_eq!(policy.first_removal_days(), Some(7));
    }

    #[test]
    fn without_a_limit_nothing_is_removed() {
        assert_eq!(RetentionPolicy::default().first_removal_days(), None);
        let kept = RetentionPolicy { server: of(days(0)), ..RetentionPolicy::default() };
        assert_eq!(kept.first_removal_days(), None);
        let number = RetentionRule { last: Some(3), ..RetentionRule::default() };
        assert_eq!(number.first_removal_days(), Some(0));
        let logs = RetentionRule { log_days: Some(9), ..days(30) };
        assert_eq!(logs.first_removal_days(), Some(9));
        let forever = RetentionRule { last: Some(3), ..days(0) };
        assert_eq!(forever.first_removal_days(), None);
    }

    #[test]
    fn numbers_and_names_are_bounded() {
        assert!(of(days(365_001)).check(true).is_err());
        assert!(of(days(90)).check(false).is_ok());
        let upload = |days| RetentionSettings { upload_days: Some(days), ..RetentionSettings::default() };
        assert!(upload(30).check(true).unwrap_err().contains("31"));
        assert!(upload(31).check(true).is_ok() && upload(31).check(false).is_err());
        let named = |name: &str| RetentionSettings {
            pipelines: [(name.to_owned(), days(1))].into(),
            ..RetentionSettings::default()
        };
        assert!(named("").check(true).is_err() && named("a\n").check(true).is_err());
        assert!(serde_json::from_str::<RetentionSettings>(r#"{"rule":{"day":3}}"#).is_err());
    }
}
