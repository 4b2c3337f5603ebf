//! Concurrency groups of jobs: which jobs have a place, and which wait for one. A pure function of the group's record.
//!
//! A job requests a place once everything else that it waits for has ended, and keeps it over all its attempts. Jobs get places in
//! the order of their requests. A job has at most one group, so that no two jobs wait for each other's places.

use crate::{guarded, ids::JobId, time::Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// Maximum number of jobs in the waiting list of a group. Others request a place again later.
pub const MAX_WAITING_JOBS: usize = 1_000;

/// Milliseconds until the first waiting job checks its group again; the second one does after twice that time, and so on.
const RECHECK_MS: i64 = 30_000;
/// Maximum interval between two checks of a waiting job, in milliseconds.
const MAX_RECHECK_MS: i64 = 5 * 60_000;

/// A job that has a place in a group or waits for one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupMember {
    /// The job. All its attempts share the place.
    pub job: JobId,
    /// The limit of the group in the job's pipeline file.
    pub limit: u32,
    /// Since when it waits or waited: its request, or the end of its `start_in`. Before that time it gets no place.
    pub since: Timestamp,
}

/// The record of a group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobGroup {
    /// The jobs that have a place.
    pub holders: Vec<GroupMember>,
    /// The jobs that wait for one, ordered by `since`.
    pub waiting: Vec<GroupMember>,
}

/// What changes a group.
#[derive(Debug, Clone, Copy)]
pub enum GroupEvent<'a> {
    /// These jobs, in this order, request a place; repeating the request changes nothing.
    Request {
        /// The jobs, and since when each waits.
        jobs: &'a [(JobId, Timestamp)],
        /// The limit of the group in their pipeline file.
        limit: u32,
    },
    /// These jobs have ended, or their records do not exist any more.
    Ended(&'a [JobId]),
}

/// A group after an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupChange {
    /// The group.
    pub group: JobGroup,
    /// The jobs that got a place.
    pub granted: Vec<JobId>,
}

impl JobGroup {
    /// Whether no job has a place or waits for one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.holders.is_empty() && self.waiting.is_empty()
    }

    /// Whether a job has a place.
    #[must_use]
    pub fn has_place(&self, job: JobId) -> bool {
        self.holders.iter().any(|member| member.job == job)
    }

    /// Returns the position of a job in the waiting list; 0 is the first.
    #[must_use]
    pub fn position(&self, job: JobId) -> Option<usize> {
        self.waiting.iter().position(|member| member.job == job)
    }

    /// Returns when a job without a place checks the group again, in case that the process that should grant one has died.
    #[must_use]
    pub fn recheck_at(&self, job: JobId, now: Timestamp) -> Timestamp {
        let position = self.position(job).unwrap_or(MAX_WAITING_JOBS);
        if let Some(member) = self.waiting.get(position).filter(|member| member.since > now) {
            return member.since;
        }
        let factor = i64::try_from(position).unwrap_or(MAX_RECHECK_MS).saturating_add(1);
        now.plus_ms(RECHECK_MS.saturating_mul(factor).min(MAX_RECHECK_MS))
    }

    /// Whether a job with this limit can have a place beside the holders. The lowest limit applies: files of different commits may
    /// have different ones.
    fn has_room(&self, limit: u32) -> bool {
        let lowest = self.holders.iter().map(|member| member.limit).fold(limit, u32::min).max(1);
        guarded!(JobGroupLimit, self.holders.len() < lowest as usize)
    }

    /// Adds a job behind those that wait longer.
    fn add_waiting(&mut self, member: GroupMember) {
        let at = self.waiting.partition_point(|other| other.since <= member.since);
        self.waiting.insert(at, member);
    }

    /// Gives places to the first waiting jobs, as far as there are any.
    fn grant(&mut self, now: Timestamp) -> Vec<JobId> {
        let mut granted = Vec::new();
        while self.waiting.first().is_some_and(|first| first.since <= now && self.has_room(first.limit)) {
            let member = self.waiting.remove(0);
            granted.push(member.job);
            self.holders.push(member);
        }
        granted
    }
}

/// Applies an event to a group, and gives free places to the jobs that wait longest.
#[must_use]
pub fn change_group(group: &JobGroup, event: GroupEvent<'_>, now: Timestamp) -> GroupChange {
    let mut group = group.clone();
    match event {
        GroupEvent::Request { jobs, limit } => {
            let mut known: HashSet<JobId> =
                group.holders.iter().chain(&group.waiting).map(|member| member.job).collect();
            for (job, since) in jobs {
                if group.waiting.len() < MAX_WAITING_JOBS && known.insert(*job) {
                    group.add_waiting(GroupMember { job: *job, limit, since: *since });
                }
            }
        }
        GroupEvent::Ended(jobs) => {
            let ended: HashSet<&JobId> = jobs.iter().collect();
            group.holders.retain(|member| !ended.contains(&member.job));
            group.waiting.retain(|member| !ended.contains(&member.job));
        }
    }
    let granted = group.grant(now);
    GroupChange { group, granted }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{GroupChange, GroupEvent, JobGroup, MAX_WAITING_JOBS, change_group};
    use crate::{
        ids::{ExecutionId, JobId},
        time::Timestamp,
    };
    use std::collections::{HashSet, VecDeque};
    use uuid::Uuid;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn job(ix: u32) -> JobId {
        JobId::of(ExecutionId(Uuid::from_u128(7)), ix)
    }

    fn request(group: &JobGroup, jobs: &[JobId], limit: u32) -> GroupChange {
        let jobs: Vec<(JobId, Timestamp)> = jobs.iter().map(|job| (*job, NOW)).collect();
        change_group(group, GroupEvent::Request { jobs: &jobs, limit }, NOW)
    }

    fn end(group: &JobGroup, jobs: &[JobId]) -> GroupChange {
        change_group(group, GroupEvent::Ended(jobs), NOW)
    }

    /// Visits every group that requests and ends of four jobs, with limits from 1 to 3, lead to.
    #[test]
    fn every_reachable_group_keeps_limits_and_order() {
        let limits = [1, 2, 3, 2];
        let jobs: Vec<JobId> = (0..4).map(job).collect();
        let mut seen: HashSet<(Vec<JobId>, Vec<JobId>)> = HashSet::new();
        let mut pending = VecDeque::from([JobGroup::default()]);
        let mut has_waited = false;
        while let Some(group) = pending.pop_front() {
            let ids = |members: &[super::GroupMember]| members.iter().map(|one| one.job).collect::<Vec<_>>();
            if !seen.insert((ids(&group.holders), ids(&group.waiting))) {
                continue;
            }
            has_waited |= group.waiting.len() > 1;
            let lowest = group.holders.iter().map(|one| one.limit as usize).min();
            assert!(lowest.is_none_or(|limit| group.holders.len() <= limit), "{group:?}");
            let mut members = ids(&group.holders);
            members.extend(ids(&group.waiting));
            assert_eq!(members.iter().collect::<HashSet<_>>().len(), members.len(), "{group:?}");
            assert!(group.waiting.is_empty() || !group.holders.is_empty(), "nobody is stuck: {group:?}");
            // No waiting job could have a place.
            let unchanged = GroupChange { group: group.clone(), granted: vec![] };
            assert_eq!(end(&group, &[]), unchanged);
            for (job, limit) in jobs.iter().zip(limits) {
                let asked = request(&group, &[*job], limit);
                if members.contains(job) {
                    assert_eq!(asked, unchanged, "the request is repeated");
                } else {
                    // Nobody overtakes.
                    let is_first = group.waiting.is_empty();
                    assert!(asked.granted.is_empty() || (is_first && asked.granted == [*job]), "{asked:?}");
                    assert!(
                        asked.group.has_place(*job)
                            || asked.group.position(*job) == Some(group.waiting.len())
                    );
                }
                let ended = end(&group, &[*job]);
                assert!(!ended.group.has_place(*job) && ended.group.position(*job).is_none());
                let mut order = ids(&group.waiting);
                order.retain(|waiting| waiting != job);
                let mut after = ended.granted.clone();
                after.extend(ids(&ended.group.waiting));
                assert_eq!(after, order, "places are given in the order of the requests");
                pending.extend([asked.group, ended.group]);
            }
        }
        assert!(has_waited && seen.len() > 50, "{}", seen.len());
    }

    #[test]
    fn several_places_are_given_at_once() {
        let jobs: Vec<JobId> = (0..5).map(job).collect();
        let first = request(&JobGroup::default(), &jobs, 2);
        assert_eq!(first.granted, jobs[..2]);
        let second = end(&first.group, &jobs[..3]);
        assert_eq!(second.granted, jobs[3..]);
        let last = end(&second.group, &jobs);
        assert!(last.group.is_empty() && last.granted.is_empty());
    }

    #[test]
    fn lowest_limit_of_the_holders_applies() {
        let alone = request(&JobGroup::default(), &[job(0)], 1).group;
        assert!(request(&alone, &[job(1)], 5).granted.is_empty(), "the holder is alone in its group");
        let shared = request(&JobGroup::default(), &[job(0), job(1)], 3).group;
        let waits = request(&shared, &[job(2)], 1).group;
        assert!(request(&waits, &[job(3)], 3).granted.is_empty(), "it does not overtake");
        let one_left = end(&waits, &[job(0)]);
        assert!(one_left.granted.is_empty());
        assert_eq!(end(&one_left.group, &[job(1)]).granted, [job(2)]);
        // A damaged limit stops nobody for ever.
        assert_eq!(request(&JobGroup::default(), &[job(0)], 0).granted, [job(0)]);
    }

    #[test]
    fn delayed_job_gets_no_place_before_its_time() {
        let later = NOW.plus_ms(60_000);
        let event = GroupEvent::Request { jobs: &[(job(0), later)], limit: 1 };
        let delayed = change_group(&JobGroup::default(), event, NOW);
        assert!(delayed.granted.is_empty());
        assert_eq!(delayed.group.recheck_at(job(0), NOW), later);
        let overtaken = request(&delayed.group, &[job(1)], 1);
        assert_eq!(overtaken.granted, [job(1)], "the place is free until then");
        let waits = request(&overtaken.group, &[job(2)], 1).group;
        assert_eq!((waits.position(job(2)), waits.position(job(0))), (Some(0), Some(1)));
        let next = change_group(&waits, GroupEvent::Ended(&[job(1), job(2)]), NOW);
        assert!(next.granted.is_empty() && next.group.holders.is_empty());
        assert_eq!(change_group(&next.group, event, later).granted, [job(0)]);
        assert_eq!(next.group.recheck_at(job(0), later).since_ms(later), 30_000);
    }

    #[test]
    fn waiting_list_is_bounded_and_others_come_later() {
        let many: Vec<JobId> = (0..u32::try_from(MAX_WAITING_JOBS).unwrap() + 5).map(job).collect();
        // The list is filled before the first place is given.
        let full = request(&JobGroup::default(), &many, 1).group;
        assert_eq!((full.holders.len(), full.waiting.len()), (1, MAX_WAITING_JOBS - 1));
        let again = request(&full, &many, 1).group;
        assert_eq!(again.waiting.len(), MAX_WAITING_JOBS);
        assert_eq!(again.position(many[MAX_WAITING_JOBS]), Some(MAX_WAITING_JOBS - 1));
        assert_eq!(again.position(many[MAX_WAITING_JOBS + 1]), None);
    }

    #[test]
    fn first_waiting_jobs_check_more_often() {
        let jobs: Vec<JobId> = (0..20).map(job).collect();
        let group = request(&JobGroup::default(), &jobs, 1).group;
        let after = |ix: usize| group.recheck_at(jobs[ix], NOW).since_ms(NOW);
        assert_eq!([after(1), after(2), after(19)], [30_000, 60_000, 300_000]);
        assert_eq!(group.recheck_at(job(99), NOW).since_ms(NOW), 300_000);
    }
}
