//! The order in which an embedded queue serves groups of messages.

use std::collections::HashMap;

/// Maximum number of remembered groups. A forgotten one counts as never served, so it is served a little earlier.
const MAX_GROUPS: usize = 10_000;

/// Serves the group that was served longest ago, so that the many messages of one group do not stand before those of others.
#[derive(Debug, Default)]
pub struct FairOrder {
    /// The number of the last delivery to each group.
    served: HashMap<String, u64>,
    deliveries: u64,
}

impl FairOrder {
    /// Returns the candidate to deliver: of the group that was served longest ago, and among those that never were, the one with the
    /// least `order`. A candidate is the head of its group.
    pub fn choose<T, O: Ord>(
        &self,
        candidates: impl IntoIterator<Item = T>,
        group: impl Fn(&T) -> &str,
        order: impl Fn(&T) -> O,
    ) -> Option<T> {
        candidates.into_iter().min_by_key(|candidate| (self.last_served(group(candidate)), order(candidate)))
    }

    /// Records a delivery to `group`.
    pub fn record(&mut self, group: &str) {
        self.deliveries += 1;
        if self.served.len() >= MAX_GROUPS && !self.served.contains_key(group) {
            let limit = MAX_GROUPS as u64 / 2;
            let oldest = self.deliveries.saturating_sub(limit);
            self.served.retain(|_, at| *at > oldest);
        }
        self.served.insert(group.to_owned(), self.deliveries);
    }

    fn last_served(&self, group: &str) -> u64 {
        self.served.get(group).copied().unwrap_or(0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::{FairOrder, MAX_GROUPS};
    use std::collections::VecDeque;

    /// Delivers `count` messages of these groups, each with this number of messages, and returns the groups.
    fn deliver(order: &mut FairOrder, waiting: &mut [(&'static str, VecDeque<u32>)], count: usize) -> String {
        let mut delivered = String::new();
        for _ in 0..count {
            let heads = waiting.iter().filter_map(|(group, messages)| Some((*group, *messages.front()?)));
            let (group, number) = order.choose(heads, |(group, _)| *group, |(_, number)| *number).unwrap();
            order.record(group);
            let queue = waiting.iter_mut().find(|(name, _)| *name == group).map(|(_, messages)| messages);
            assert_eq!(queue.and_then(VecDeque::pop_front), Some(number), "in order within the group");
            delivered.push_str(group);
        }
        delivered
    }

    #[test]
    fn groups_take_turns_whatever_their_size() {
        let mut order = FairOrder::default();
        let mut waiting =
            [("a", (0..100).collect()), ("b", (100..102).collect()), ("c", (102..105).collect())];
        assert_eq!(deliver(&mut order, &mut waiting, 9), "abcabcaca");
        // A group that was away is next, and then takes its turn like the others.
        waiting[1].1.extend(200..204);
        assert_eq!(deliver(&mut order, &mut waiting, 4), "baba");
    }

    #[test]
    fn one_group_is_served_in_order() {
        let mut order = FairOrder::default();
        assert_eq!(deliver(&mut order, &mut [("a", (0..5).collect())], 5), "aaaaa");
        assert_eq!(order.choose(Vec::<(&str, u32)>::new(), |(group, _)| *group, |(_, number)| *number), None);
    }

    #[test]
    fn number_of_remembered_groups_is_bounded() {
        let mut order = FairOrder::default();
        for number in 0..3 * MAX_GROUPS {
            order.record(&number.to_string());
            assert!(order.served.len() <= MAX_GROUPS);
        }
        assert_eq!(order.last_served(&(3 * MAX_GROUPS - 1).to_string()), 3 * MAX_GROUPS as u64);
    }
}
