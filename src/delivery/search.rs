//! Walks from a name to everything that it stands for, whatever stands in between. Pure.
//!
//! Each node is looked at once, so that the walk ends, and each end is found once. A node that is met again below itself stands
//! for what is *beyond* it: an alias for the user of the same name, an account with a `.forward` for its mailbox. So `alice:
//! alice, bob` reaches alice's mailbox, and a circle of names that are nobody's reaches nothing.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::hash::Hash;
use std::io;
use std::vec;

/// So many nodes are looked at; more is a mistake, or worse.
const MOST: usize = 100_000;

/// What a node is found to be.
#[derive(Debug)]
pub(super) enum Found<N, E> {
    /// It stands for these.
    Leads {
        /// Why, in words.
        why: String,
        /// In order.
        to: Vec<N>,
        /// Who answers for what is below, if not whoever does above.
        owner: Option<String>,
    },
    /// It is the same as that one.
    Next(N),
    /// Nothing follows.
    End(E),
}

/// What a walk came to.
#[derive(Debug)]
pub(super) struct Walk<E> {
    /// The ends, and who answers for each.
    pub(super) ends: Vec<(E, Option<String>)>,
    /// The way, in words, with the depth of each step.
    pub(super) steps: Vec<(usize, String)>,
}

#[derive(Copy, Clone, PartialEq, Eq)]
enum State {
    /// What is below it is being looked at.
    Open,
    Done,
}

struct Frame<N> {
    node: N,
    rest: vec::IntoIter<N>,
    depth: usize,
    owner: Option<String>,
}

/// Walks from `start`. `key`: two ends with the same are one.
pub(super) fn walk<N, E>(
    start: N,
    mut look: impl FnMut(&N) -> io::Result<Found<N, E>>,
    beyond: impl Fn(&N) -> Option<N>,
    key: impl Fn(&E) -> String,
) -> io::Result<Walk<E>>
where
    N: Clone + Eq + Hash + Display,
    E: Display,
{
    let mut walk = Walk { ends: Vec::new(), steps: Vec::new() };
    let (mut states, mut known) = (HashMap::new(), HashSet::new());
    let mut stack: Vec<Frame<N>> = Vec::new();
    let mut next = Some((start, 0, None));
    loop {
        let Some((node, depth, owner)) = next.take() else {
            let Some(frame) = stack.last_mut() else { return Ok(walk) };
            match frame.rest.next() {
                Some(node) => next = Some((node, frame.depth, frame.owner.clone())),
                None => drop(stack.pop().map(|frame| states.insert(frame.node, State::Done))),
            }
            continue;
        };
        match states.get(&node) {
            Some(State::Done) => {
                walk.steps.push((depth, format!("{node}: as above")));
                continue;
            }
            Some(State::Open) => {
                match beyond(&node) {
                    Some(node) => next = Some((node, depth, owner)),
                    None => walk.steps.push((depth, format!("{node}: goes in a circle"))),
                }
                continue;
            }
            None if states.len() >= MOST => return Err(io::Error::other("it leads to too many")),
            None => {}
        }
        let (to, depth, owner) = match look(&node)? {
            Found::End(end) => {
                states.insert(node, State::Done);
                let is_new = known.insert(key(&end));
                walk.steps.push((depth, if is_new { end.to_string() } else { format!("{end}: as above") }));
                if is_new {
                    walk.ends.push((end, owner));
                }
                continue;
            }
            Found::Next(node) => (vec![node], depth, owner),
            Found::Leads { why, to, owner: new } => {
                walk.steps.push((depth, format!("{node}: {why}")));
                (to, depth + 1, new.or(owner))
            }
        };
        states.insert(node.clone(), State::Open);
        stack.push(Frame { node, rest: to.into_iter(), depth, owner });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    /// Names and what they stand for. A number without a row is an end; one with a row may be a user as well.
    type Graph = Vec<Vec<usize>>;

    #[derive(Clone, Debug, PartialEq, Eq, Hash)]
    enum Node {
        Alias(usize),
        User(usize),
    }

    impl Display for Node {
        fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(out, "{self:?}")
        }
    }

    fn found(graph: &Graph, users: &[bool], from: usize) -> Vec<usize> {
        let look = |node: &Node| {
            Ok(match node {
                Node::Alias(name) => match graph.get(*name) {
                    Some(to) => {
                        Found::Leads { why: String::new(), to: to.iter().copied().map(Node::Alias).collect(), owner: None }
                    }
                    None => Found::Next(Node::User(*name)),
                },
                Node::User(name) => Found::End(*name),
            })
        };
        let beyond = |node: &Node| match node {
            Node::Alias(name) if users.get(*name) == Some(&true) => Some(Node::User(*name)),
            _ => None,
        };
        walk(Node::Alias(from), look, beyond, usize::to_string).unwrap().ends.into_iter().map(|(end, _)| end).collect()
    }

    /// All that can be reached, by the plainest search there is.
    fn reached(graph: &Graph, from: usize) -> BTreeSet<usize> {
        let (mut all, mut size) = (BTreeSet::from([from]), 0);
        while all.len() > size {
            size = all.len();
            let more: Vec<usize> = all.iter().filter_map(|name| graph.get(*name)).flatten().copied().collect();
            all.extend(more);
        }
        all
    }

    /// Does a name lead back to itself?
    fn is_in_circle(graph: &Graph, name: usize) -> bool {
        graph.get(name).is_some_and(|to| to.iter().any(|next| reached(graph, *next).contains(&name)))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn a_walk_finds_what_a_plain_search_finds(graph in proptest::collection::vec(proptest::collection::vec(0usize..16, 0..5), 1..12),
            users in proptest::collection::vec(any::<bool>(), 12)) {
            for from in 0..graph.len() {
                let found = found(&graph, &users, from);
                let once: BTreeSet<usize> = found.iter().copied().collect();
                prop_assert_eq!(once.len(), found.len(), "an end is found twice");
                let all = reached(&graph, from);
                let ends: BTreeSet<usize> = all.iter().copied().filter(|name| *name >= graph.len()).collect();
                let here: BTreeSet<usize> = once.iter().copied().filter(|name| *name >= graph.len()).collect();
                prop_assert_eq!(here, ends);
                // Of names that are aliases as well, users are reached who lead back to themselves.
                for name in once.iter().filter(|name| **name < graph.len()) {
                    prop_assert!(users[*name] && all.contains(name) && is_in_circle(&graph, *name));
                }
                for (name, to) in graph.iter().enumerate().filter(|(name, _)| all.contains(name)) {
                    prop_assert!(!users[name] || !to.contains(&name) || once.contains(&name), "{name} names itself");
                }
            }
        }
    }

    #[test]
    fn a_long_way_needs_no_stack() {
        let graph: Graph = (1..50_000).map(|next| vec![next]).collect();
        assert_eq!(found(&graph, &[], 0), [49_999]);
    }
}
