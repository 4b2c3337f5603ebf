//! Finds cycles of needs, in time linear in jobs and needs and without recursion.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

/// Returns one cycle for each strongly connected component: the shortest through its first job, starting with that job.
/// `edges[job]` are the jobs it needs.
pub(crate) fn find(edges: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let component_of = components(edges);
    let mut members: Vec<Vec<usize>> = vec![Vec::new(); edges.len()];
    for (job, component) in component_of.iter().enumerate() {
        members[*component].push(job);
    }
    let mut cycles: Vec<Vec<usize>> = members
        .iter()
        .filter(|component| component.len() > 1)
        .map(|component| shortest_cycle(edges, &component_of, component[0]))
        .collect();
    cycles.sort_unstable();
    cycles
}

/// The shortest cycle through `start` within its component.
fn shortest_cycle(edges: &[Vec<usize>], component_of: &[usize], start: usize) -> Vec<usize> {
    let mut predecessors = HashMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(job) = queue.pop_front() {
        for next in edges[job].iter().copied().filter(|next| component_of[*next] == component_of[start]) {
            if next == start {
                let mut cycle = vec![job];
                let mut at = job;
                while let Some(before) = predecessors.get(&at) {
                    at = *before;
                    cycle.push(at);
                }
                cycle.reverse();
                return cycle;
            }
            if let Entry::Vacant(unseen) = predecessors.entry(next) {
                unseen.insert(job);
                queue.push_back(next);
            }
        }
    }
    vec![start]
}

/// Tarjan's algorithm: returns the strongly connected component of each node.
fn components(edges: &[Vec<usize>]) -> Vec<usize> {
    const UNVISITED: usize = usize::MAX;
    let mut order = vec![UNVISITED; edges.len()];
    let mut low = vec![0; edges.len()];
    let mut component = vec![UNVISITED; edges.len()];
    let mut open: Vec<usize> = Vec::new();
    let mut calls: Vec<(usize, usize)> = Vec::new();
    let (mut next_order, mut next_component) = (0, 0);
    for root in 0..edges.len() {
        if order[root] != UNVISITED {
            continue;
        }
        calls.push((root, 0));
        while let Some((node, edge)) = calls.pop() {
            if edge == 0 {
                order[node] = next_order;
                low[node] = next_order;
                next_order += 1;
                open.push(node);
            } else {
                // Back from the edge before this one.
                low[node] = low[node].min(low[edges[node][edge - 1]].min(order[node]));
            }
            let mut descended = false;
            for (at, target) in edges[node].iter().copied().enumerate().skip(edge) {
                if order[target] == UNVISITED {
                    calls.push((node, at + 1));
                    calls.push((target, 0));
                    descended = true;
                    break;
                }
                if component[target] == UNVISITED {
                    low[node] = low[node].min(order[target]);
                }
            }
            if !descended && low[node] == order[node] {
                while let Some(member) = open.pop() {
                    component[member] = next_component;
                    if member == node {
                        break;
                    }
                }
                next_component += 1;
            }
        }
    }
    component
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn shortest_cycle_is_found() {
        // 0 -> 1 -> 2 -> 3 -> 0, with the shortcut 1 -> 0.
        assert_eq!(find(&[vec![1], vec![2, 0], vec![3], vec![0]]), [vec![0, 1]]);
        assert_eq!(find(&[vec![], vec![2, 0], vec![3], vec![1, 0]]), [vec![1, 2, 3]]);
    }

    #[test]
    fn separate_cycles_are_reported_and_diamond_is_acyclic() {
        assert_eq!(find(&[vec![1], vec![0], vec![3], vec![2]]), [vec![0, 1], vec![2, 3]]);
        assert!(find(&[vec![], vec![0], vec![0], vec![1, 2]]).is_empty());
    }

    #[test]
    fn long_chains_and_cycles_do_not_recurse() {
        let chain: Vec<Vec<usize>> =
            (0..100_000_usize).map(|n| n.checked_sub(1).into_iter().collect()).collect();
        assert!(find(&chain).is_empty());
        let mut cycle = chain;
        cycle[0] = vec![99_999];
        assert_eq!(find(&cycle)[0].len(), 100_000);
    }
}
