//! What of an ended execution may be removed, and why.

use super::settings::{RetentionRule, limit};
use crate::{ids::ExecutionId, time::Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Nothing is removed for this time after the end of an execution: notifications and what follows it may still read it.
pub const MIN_AGE_MS: u64 = DAY_MS;
const DAY_MS: u64 = 86_400_000;

/// What the records say about the retention of an execution.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RetentionState {
    /// Who pinned it, if someone did: it is kept until they unpin it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pinned: Option<Pin>,
    /// Whether it is being removed: nothing may refer to it any more.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub removing: bool,
    /// Whether its logs were removed before it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub logs_removed: bool,
    /// Whether its artifacts were removed before it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub artifacts_removed: bool,
}

impl RetentionState {
    /// Whether it says nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Why an execution is kept for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pin {
    /// Who pinned it.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What needs an execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NeededBy {
    /// An execution that retries it or reuses its results.
    Retry(ExecutionId),
    /// The execution whose job started it.
    Parent(ExecutionId),
    /// An execution that one of its jobs started, and that is kept.
    Child(ExecutionId),
    /// The next execution of its concurrency group, which has not ended.
    Group(ExecutionId),
    /// An environment whose deployments can run again.
    Environment(String),
}

/// What the decision needs to know of an execution.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecutionFacts {
    /// When it ended; `None`: it has not.
    pub ended_at: Option<Timestamp>,
    /// 1 for the newest execution of its pipeline, 2 for the one before it; `None`: not known, and old.
    pub rank: Option<u64>,
    /// Whether it is the newest of its branch and pipeline.
    pub is_newest_of_branch: bool,
    /// Whether it is of a tag.
    pub is_tagged: bool,
    /// Whether a user pinned it.
    pub is_pinned: bool,
    /// What needs it.
    pub needed_by: Option<NeededBy>,
}

/// Why an execution is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeepReason {
    /// It has not ended.
    Live,
    /// It ended less than a day ago.
    JustEnded,
    /// A user pinned it.
    Pinned,
    /// Something needs it.
    Needed(NeededBy),
    /// It is of a tag.
    Tagged,
    /// It is the newest of its branch, for so many days.
    NewestOfBranch(u32),
    /// No rule limits it.
    NoLimit,
    /// It is younger than so many days.
    Days(u32),
    /// It is among so many of the newest of its pipeline.
    Last(u32),
}

/// Why an execution, or something of it, is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RemovalReason {
    /// It ended more than so many days ago.
    Days(u32),
    /// It is not among so many of the newest of its pipeline.
    Last(u32),
    /// Both.
    DaysAndLast(u32, u32),
}

/// What of a kept execution is removed, each for being older than so many days.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExpiredParts {
    /// Its logs.
    pub logs: Option<u32>,
    /// Its artifacts.
    pub artifacts: Option<u32>,
}

/// What to do with an execution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Keep it, without these parts.
    Keep(KeepReason, ExpiredParts),
    /// Remove it with all that it stored.
    Remove(RemovalReason),
}

/// Decides about an execution. Facts that protect only ever keep more: with fewer of them known, the decision never keeps what it
/// would remove with all of them.
#[must_use]
pub fn decide(rule: &RetentionRule, facts: &ExecutionFacts, now: Timestamp) -> Decision {
    let keep = |reason| Decision::Keep(reason, ExpiredParts::default());
    let Some(ended_at) = facts.ended_at else { return keep(KeepReason::Live) };
    let age = now.since_ms(ended_at);
    if age < MIN_AGE_MS {
        return keep(KeepReason::JustEnded);
    }
    if facts.is_pinned {
        return keep(KeepReason::Pinned);
    }
    if let Some(by) = &facts.needed_by {
        return keep(KeepReason::Needed(by.clone()));
    }
    if facts.is_tagged && rule.keeps_tags() {
        return keep(KeepReason::Tagged);
    }
    if let Some(days) = rule.branch_days().filter(|days| facts.is_newest_of_branch && !is_over(age, *days)) {
        return keep(KeepReason::NewestOfBranch(days));
    }
    let parts = ExpiredParts {
        logs: limit(rule.log_days).filter(|days| is_over(age, *days)),
        artifacts: limit(rule.artifact_days).filter(|days| is_over(age, *days)),
    };
    let last = limit(rule.last);
    let reason = match (rule.days, last) {
        (Some(0), _) | (None, None) => return Decision::Keep(KeepReason::NoLimit, parts),
        (Some(days), _) if !is_over(age, days) => return Decision::Keep(KeepReason::Days(days), parts),
        (_, Some(last)) if facts.rank.is_some_and(|rank| rank <= u64::from(last)) => {
            return Decision::Keep(KeepReason::Last(last), parts);
        }
        (Some(days), Some(last)) => RemovalReason::DaysAndLast(days, last),
        (Some(days), None) => RemovalReason::Days(days),
        (None, Some(last)) => RemovalReason::Last(last),
    };
    Decision::Remove(reason)
}

fn is_over(age_ms: u64, days: u32) -> bool {
    age_ms >= u64::from(days) * DAY_MS
}

impl fmt::Display for NeededBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Retry(id) => write!(f, "execution {id} reuses its results"),
            Self::Parent(id) => write!(f, "execution {id} started it"),
            Self::Child(id) => write!(f, "it started execution {id}, which is kept"),
            Self::Group(id) => write!(f, "execution {id} of its concurrency group has not ended"),
            Self::Environment(name) => write!(f, "environment {name} can deploy it again"),
        }
    }
}

impl KeepReason {
    /// Returns the name under which reports count the reason.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Live => "running or waiting",
            Self::JustEnded => "ended less than a day ago",
            Self::Pinned => "pinned",
            Self::Needed(NeededBy::Retry(_)) => "needed by a retry",
            Self::Needed(NeededBy::Parent(_) | NeededBy::Child(_)) => "belongs to a kept execution",
            Self::Needed(NeededBy::Group(_)) => "needed by its concurrency group",
            Self::Needed(NeededBy::Environment(_)) => "deployed to an environment",
            Self::Tagged => "of a tag",
            Self::NewestOfBranch(_) => "newest of its branch",
            Self::NoLimit => "no limit",
            Self::Days(_) => "young enough",
            Self::Last(_) => "among the last",
        }
    }
}

impl fmt::Display for RemovalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Days(days) => write!(f, "ended more than {days} days ago"),
            Self::Last(last) => write!(f, "not among the last {last} of its pipeline"),
            Self::DaysAndLast(days, last) => {
                write!(f, "ended more than {days} days ago, and not among the last {last} of its pipeline")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        DAY_MS, Decision, ExecutionFacts, ExpiredParts, KeepReason, NeededBy, RemovalReason, decide,
    };
    use crate::{ids::ExecutionId, retention::settings::RetentionRule, time::Timestamp};
    use uuid::Uuid;

    const NOW: Timestamp = Timestamp(1_000 * DAY_MS.cast_signed());

    fn ago(days: i64) -> Timestamp {
        NOW.plus_ms(-days * DAY_MS.cast_signed())
    }

    fn needs() -> Vec<Option<NeededBy>> {
        let id = ExecutionId(Uuid::nil());
        vec![
            None,
            Some(NeededBy::Retry(id)),
            Some(NeededBy::Parent(id)),
            Some(NeededBy::Child(id)),
            Some(NeededBy::Group(id)),
            Some(NeededBy::Environment("prod".into())),
        ]
    }

    /// Returns every combination of facts at a few ages and ranks.
    fn all_facts() -> Vec<ExecutionFacts> {
        let mut all = Vec::new();
        let ages = [-1, 0, 1, 7, 29, 30, 90, 400].map(|days| Some(ago(days)));
        for ended_at in ages.into_iter().chain([None]) {
            for rank in [None, Some(1), Some(3), Some(4), Some(1_000)] {
                for flags in 0..8 {
                    for needed_by in needs() {
                        all.push(ExecutionFacts {
                            ended_at,
                            rank,
                            is_newest_of_branch: flags & 1 != 0,
                            is_tagged: flags & 2 != 0,
                            is_pinned: flags & 4 != 0,
                            needed_by,
                        });
                    }
                }
            }
        }
        all
    }

    fn all_rules() -> Vec<RetentionRule> {
        let numbers = [None, Some(0), Some(3), Some(30)];
        let mut all = Vec::new();
        for days in numbers {
            for last in numbers {
                for branch_days in numbers {
                    for keep_tags in [None, Some(true), Some(false)] {
                        for (log_days, artifact_days) in
                            [(None, None), (Some(7), Some(0)), (Some(60), Some(7))]
                        {
                            all.push(RetentionRule {
                                days,
                                last,
                                branch_days,
                                keep_tags,
                                log_days,
                                artifact_days,
                            });
                        }
                    }
                }
            }
        }
        all
    }

    #[test]
    fn nothing_protected_is_ever_removed() {
        for rule in all_rules() {
            for facts in all_facts() {
                let decision = decide(&rule, &facts, NOW);
                let is_protected = facts.ended_at.is_none_or(|at| NOW.since_ms(at) < DAY_MS)
                    || facts.is_pinned
                    || facts.needed_by.is_some()
                    || (facts.is_tagged && rule.keep_tags != Some(false));
                if is_protected {
                    let untouched =
                        matches!(&decision, Decision::Keep(_, parts) if *parts == ExpiredParts::default());
                    assert!(untouched, "{rule:?} {facts:?}: {decision:?}");
                }
                let has_limit =
                    rule.days != Some(0) && (rule.days.is_some() || rule.last.is_some_and(|last| last > 0));
                assert!(has_limit || !matches!(decision, Decision::Remove(_)), "{rule:?} {facts:?}");
            }
        }
    }

    #[test]
    fn removal_means_that_every_rule_allows_it() {
        for rule in all_rules() {
            for facts in all_facts() {
                if !matches!(decide(&rule, &facts, NOW), Decision::Remove(_)) {
                    continue;
                }
                let age = facts.ended_at.map_or(0, |at| NOW.since_ms(at));
                assert!(rule.days.is_none_or(|days| age >= u64::from(days) * DAY_MS), "{rule:?} {facts:?}");
                let last = rule.last.unwrap_or(0);
                assert!(facts.rank.is_none_or(|rank| rank > u64::from(last)), "{rule:?} {facts:?}");
                let branch_days = rule.branch_days.unwrap_or(365);
                assert!(
                    !facts.is_newest_of_branch || age >= u64::from(branch_days) * DAY_MS,
                    "{rule:?} {facts:?}"
                );
            }
        }
    }

    #[test]
    fn each_protecting_fact_only_keeps_more() {
        let rank_of = |decision: &Decision| match decision {
            Decision::Remove(_) => 0,
            Decision::Keep(_, parts) => {
                1 + u32::from(parts.logs.is_none()) + u32::from(parts.artifacts.is_none())
            }
        };
        for rule in all_rules() {
            for facts in all_facts() {
                let known = rank_of(&decide(&rule, &facts, NOW));
                let fewer = [
                    ExecutionFacts { rank: None, ..facts.clone() },
                    ExecutionFacts { is_newest_of_branch: false, ..facts.clone() },
                    ExecutionFacts { needed_by: None, ..facts.clone() },
                ];
                for fewer in fewer {
                    assert!(rank_of(&decide(&rule, &fewer, NOW)) <= known, "{rule:?} {facts:?} {fewer:?}");
                }
            }
        }
    }

    #[test]
    fn reasons_name_the_rule_that_decided() {
        let rule = RetentionRule { days: Some(30), last: Some(3), ..RetentionRule::default() };
        let old = ExecutionFacts { ended_at: Some(ago(31)), rank: Some(4), ..ExecutionFacts::default() };
        assert_eq!(decide(&rule, &old, NOW), Decision::Remove(RemovalReason::DaysAndLast(30, 3)));
        let kept = |facts: ExecutionFacts| match decide(&rule, &facts, NOW) {
            Decision::Keep(reason, _) => reason,
            Decision::Remove(reason) => panic!("removed: {reason}"),
        };
        assert_eq!(kept(ExecutionFacts { ended_at: Some(ago(29)), ..old.clone() }), KeepReason::Days(30));
        assert_eq!(kept(ExecutionFacts { rank: Some(3), ..old.clone() }), KeepReason::Last(3));
        assert_eq!(kept(ExecutionFacts { is_tagged: true, ..old.clone() }), KeepReason::Tagged);
        assert_eq!(
            kept(ExecutionFacts { is_newest_of_branch: true, ..old.clone() }),
            KeepReason::NewestOfBranch(365)
        );
        assert_eq!(kept(ExecutionFacts { is_pinned: true, ..old }), KeepReason::Pinned);
    }

    #[test]
    fn parts_expire_before_their_execution() {
        let rule = RetentionRule {
            days: Some(90),
            log_days: Some(30),
            artifact_days: Some(7),
            ..RetentionRule::default()
        };
        let parts = |days| match decide(
            &rule,
            &ExecutionFacts { ended_at: Some(ago(days)), ..ExecutionFacts::default() },
            NOW,
        ) {
            Decision::Keep(_, parts) => Some((parts.logs, parts.artifacts)),
            Decision::Remove(_) => None,
        };
        assert_eq!(parts(6), Some((None, None)));
        assert_eq!(parts(7), Some((None, Some(7))));
        assert_eq!(parts(30), Some((Some(30), Some(7))));
        assert_eq!(parts(90), None);
    }
}
