//! THREAD (RFC 5256 §3): ORDEREDSUBJECT and REFERENCES. No recursion: a thread may be as deep as the mailbox is long. Pure.

use super::run::Hit;
use super::sort::sent;
use crate::imapd::grammar::search::Algorithm;
use crate::mail::casemap;
use crate::mail::structure::Keys;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::Write;

/// Steps from child to parent in one command, to see that no link makes a loop. Mail that takes more was made to take more, and
/// is put together with less care.
const STEPS: usize = 50_000_000;

/// A message that is to be threaded.
#[derive(Clone, Debug, Default)]
pub struct Message {
    /// The base subject's key.
    subject: Vec<u8>,
    is_reply: bool,
    /// In seconds.
    sent: i64,
    id: Option<String>,
    references: Vec<String>,
}

impl Message {
    /// From what it is sorted by.
    pub fn new(keys: Keys, hit: &Hit) -> Message {
        let sent = sent(&keys, hit);
        let Keys { base_subject, is_reply, message_id, references, .. } = keys;
        Message { subject: casemap::key(&base_subject), is_reply, sent, id: message_id, references }
    }
}

/// A message, or a dummy that stands for one that is not there.
#[derive(Debug, Default)]
struct Node {
    message: Option<usize>,
    parent: Option<usize>,
    children: Vec<usize>,
}

/// Threads. The first nodes are the messages, in their order.
#[derive(Debug)]
pub struct Forest<'a> {
    messages: &'a [Message],
    nodes: Vec<Node>,
    /// Without parents, in order.
    roots: Vec<usize>,
}

/// Who answers whom, as long as that may still change.
#[derive(Debug)]
struct Links {
    nodes: Vec<Link>,
    /// Left of [`STEPS`].
    steps: usize,
}

#[derive(Copy, Clone, Debug, Default)]
struct Link {
    parent: Option<usize>,
    /// How many have it as parent.
    children: usize,
}

impl Links {
    /// A dummy.
    fn add(&mut self) -> usize {
        self.nodes.push(Link::default());
        self.nodes.len() - 1
    }

    /// Makes one the child of another, unless it has a parent, or that is below it.
    fn link(&mut self, parent: usize, child: usize) {
        let Link { parent: own, children } = self.nodes[child];
        if own.is_some() || parent == child || (children > 0 && self.is_below(parent, child)) {
            return;
        }
        self.nodes[child].parent = Some(parent);
        self.nodes[parent].children += 1;
    }

    fn unlink(&mut self, child: usize) {
        if let Some(parent) = self.nodes[child].parent.take() {
            self.nodes[parent].children -= 1;
        }
    }

    fn is_below(&mut self, node: usize, above: usize) -> bool {
        let mut at = Some(node);
        while let Some(own) = at {
            if own == above || self.steps == 0 {
                return true;
            }
            self.steps -= 1;
            at = self.nodes[own].parent;
        }
        false
    }
}

/// Puts messages, which are in the order of their numbers, together.
pub fn threads(algorithm: Algorithm, messages: &[Message]) -> Forest<'_> {
    let node = |message| Node { message: Some(message), ..Node::default() };
    let mut forest = Forest { messages, nodes: (0..messages.len()).map(node).collect(), roots: Vec::new() };
    match algorithm {
        Algorithm::OrderedSubject => forest.by_subject(),
        Algorithm::References => forest.by_references(),
    }
    forest
}

impl Forest<'_> {
    /// The first message with a subject has the others as children; threads are in the order of their first messages.
    fn by_subject(&mut self) {
        let messages = self.messages;
        let mut order: Vec<(&Message, usize)> = messages.iter().zip(0..).collect();
        order.sort_by_key(|(message, at)| (&message.subject, message.sent, *at));
        for thread in order.chunk_by(|(one, _), (other, _)| one.subject == other.subject) {
            let Some(((_, first), others)) = thread.split_first() else { continue };
            self.roots.push(*first);
            others.iter().for_each(|(_, other)| self.adopt(*first, *other));
        }
        let mut roots = std::mem::take(&mut self.roots);
        roots.sort_by_key(|root| self.place(*root));
        self.roots = roots;
    }

    /// The six steps of RFC 5256 §3.
    fn by_references(&mut self) {
        self.link_all();
        self.prune();
        self.sort_roots();
        self.merge_subjects();
        self.sort_all();
    }

    /// Step 1.
    fn link_all(&mut self) {
        let mut nodes: HashMap<&str, usize> = HashMap::new();
        for (at, message) in self.messages.iter().enumerate() {
            if let Some(id) = &message.id {
                nodes.entry(id).or_insert(at);
            }
        }
        let mut links = Links { nodes: vec![Link::default(); self.messages.len()], steps: STEPS };
        for (at, message) in self.messages.iter().enumerate() {
            let mut before = None;
            for id in &message.references {
                let next = *nodes.entry(id).or_insert_with(|| links.add());
                if let Some(before) = before {
                    links.link(before, next);
                }
                before = Some(next);
            }
            // Who knows best whom it answers is the message itself.
            links.unlink(at);
            if let Some(parent) = before {
                links.link(parent, at);
            }
        }
        self.nodes.resize_with(links.nodes.len(), Node::default);
        for (at, link) in links.nodes.iter().enumerate() {
            match link.parent {
                Some(parent) => self.adopt(parent, at),
                None => self.roots.push(at),
            }
        }
    }

    fn node(&self, at: usize) -> &Node {
        const NONE: &Node = &Node { message: None, parent: None, children: Vec::new() };
        self.nodes.get(at).unwrap_or(NONE)
    }

    fn is_dummy(&self, at: usize) -> bool {
        self.node(at).message.is_none()
    }

    /// All nodes, parents before their children.
    fn downwards(&self) -> Vec<usize> {
        let mut all = self.roots.clone();
        let mut next = 0;
        while let Some(at) = all.get(next) {
            all.extend_from_slice(&self.node(*at).children);
            next += 1;
        }
        all
    }

    /// Step 3: dummies go, and their children take their places; but of several threads none is made of what was one.
    fn prune(&mut self) {
        for at in self.downwards().into_iter().rev() {
            let children = std::mem::take(&mut self.nodes[at].children);
            let mut kept = Vec::with_capacity(children.len());
            for child in children {
                if self.is_dummy(child) {
                    kept.append(&mut self.nodes[child].children);
                } else {
                    kept.push(child);
                }
            }
            kept.iter().for_each(|child| self.nodes[*child].parent = Some(at));
            self.nodes[at].children = kept;
        }
        let mut roots = Vec::with_capacity(self.roots.len());
        for root in std::mem::take(&mut self.roots) {
            match (self.is_dummy(root), self.node(root).children.as_slice()) {
                (true, []) => {}
                (true, &[only]) => {
                    self.nodes[only].parent = None;
                    roots.push(only);
                }
                _ => roots.push(root),
            }
        }
        self.roots = roots;
    }

    /// By sent date, then by number; a dummy is where its first child is.
    fn place(&self, at: usize) -> (i64, usize) {
        let node = self.node(at);
        let message = node.message.or_else(|| self.node(*node.children.first()?).message);
        let at = message.unwrap_or(usize::MAX);
        (self.messages.get(at).map_or(i64::MAX, |message| message.sent), at)
    }

    fn sort_children(&mut self, at: usize) {
        let mut children = std::mem::take(&mut self.nodes[at].children);
        children.sort_by_key(|child| self.place(*child));
        self.nodes[at].children = children;
    }

    /// Step 4.
    fn sort_roots(&mut self) {
        let mut roots = std::mem::take(&mut self.roots);
        for root in &roots {
            self.sort_children(*root);
        }
        roots.sort_by_key(|root| self.place(*root));
        self.roots = roots;
    }

    /// Step 6. But for the roots no place depends on what is below it, so the order of the sets makes no difference.
    fn sort_all(&mut self) {
        for at in self.downwards() {
            self.sort_children(at);
        }
        self.sort_roots();
    }

    fn is_reply(&self, at: usize) -> bool {
        self.node(at).message.and_then(|message| self.messages.get(message)).is_some_and(|message| message.is_reply)
    }

    /// Step 5: threads with the same subject become one.
    fn merge_subjects(&mut self) {
        let messages = self.messages;
        let roots = std::mem::take(&mut self.roots);
        let subject = |forest: &Self, root: usize| {
            let (_, at) = forest.place(root);
            messages.get(at).map(|message| message.subject.as_slice()).filter(|subject| !subject.is_empty())
        };
        let mut table: HashMap<&[u8], usize> = HashMap::new();
        for &root in &roots {
            let Some(subject) = subject(self, root) else { continue };
            match table.entry(subject) {
                Entry::Vacant(place) => drop(place.insert(root)),
                Entry::Occupied(mut place) => {
                    let own = *place.get();
                    let better = self.is_dummy(root) || (self.is_reply(own) && !self.is_reply(root));
                    if !self.is_dummy(own) && better {
                        place.insert(root);
                    }
                }
            }
        }
        let mut kept = Vec::with_capacity(roots.len());
        for &root in &roots {
            // It may have become a child by now.
            if self.node(root).parent.is_some() {
                continue;
            }
            let chief = subject(self, root).and_then(|subject| table.get_mut(subject)).filter(|chief| **chief != root);
            let Some(chief) = chief else {
                kept.push(root);
                continue;
            };
            match (self.is_dummy(*chief), self.is_dummy(root)) {
                (true, true) => {
                    let children = std::mem::take(&mut self.nodes[root].children);
                    children.iter().for_each(|child| self.adopt(*chief, *child));
                }
                (true, false) => self.adopt(*chief, root),
                (false, _) if self.is_reply(root) && !self.is_reply(*chief) => self.adopt(*chief, root),
                (false, _) => {
                    let dummy = self.nodes.len();
                    self.nodes.push(Node::default());
                    let before = std::mem::replace(chief, dummy);
                    self.adopt(dummy, before);
                    self.adopt(dummy, root);
                    kept.push(dummy);
                }
            }
        }
        kept.retain(|root| self.node(*root).parent.is_none());
        self.roots = kept;
    }

    /// Makes a thread part of another.
    fn adopt(&mut self, parent: usize, child: usize) {
        self.nodes[child].parent = Some(parent);
        self.nodes[parent].children.push(child);
    }

    /// `*thread-list`, with these names of the messages.
    ///
    /// ```abnf
    /// thread-list    = "(" (thread-members / thread-nested) ")"
    /// thread-members = nz-number *(SP nz-number) [SP thread-nested]
    /// thread-nested  = 2*thread-list
    /// ```
    pub fn show(&self, names: &[u32]) -> String {
        enum Do {
            List(usize),
            /// Is it the first in its list?
            Node(usize, bool),
            Close,
        }
        let mut out = String::new();
        let mut stack: Vec<Do> = self.roots.iter().rev().map(|root| Do::List(*root)).collect();
        while let Some(next) = stack.pop() {
            match next {
                Do::List(at) => {
                    out.push('(');
                    stack.extend([Do::Close, Do::Node(at, true)]);
                }
                Do::Close => out.push(')'),
                Do::Node(at, is_first) => {
                    let node = self.node(at);
                    let name = node.message.and_then(|message| names.get(message));
                    if let Some(name) = name {
                        let _ = write!(out, "{}{name}", if is_first { "" } else { " " });
                    }
                    let is_first = is_first && name.is_none();
                    match node.children.as_slice() {
                        &[only] => stack.push(Do::Node(only, is_first)),
                        children => {
                            if !children.is_empty() && !is_first {
                                out.push(' ');
                            }
                            stack.extend(children.iter().rev().map(|child| Do::List(*child)));
                        }
                    }
                }
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `id < reference reference: subject`, sent one after the other; a subject that begins with `Re:` is a reply's.
    fn messages(lines: &[&str]) -> Vec<Message> {
        let message = |(line, sent): (&&str, i64)| {
            let (head, subject) = line.split_once(':').unwrap();
            let mut ids = head.split([' ', '<']).filter(|id| !id.is_empty()).map(str::to_owned);
            let id = ids.next().filter(|id| id != "-");
            let plain = subject.trim().trim_start_matches("Re:").trim();
            Message { subject: casemap::key(plain), is_reply: subject.contains("Re:"), sent, id, references: ids.collect() }
        };
        lines.iter().zip(0..).map(message).collect()
    }

    fn threaded(algorithm: Algorithm, lines: &[&str]) -> String {
        let names: Vec<u32> = (1..=lines.len() as u32).collect();
        threads(algorithm, &messages(lines)).show(&names)
    }

    fn referred(lines: &[&str]) -> String {
        threaded(Algorithm::References, lines)
    }

    #[test]
    fn ordered_subject() {
        // As in the example of RFC 5256 §3: a thread of one, of two, and of more.
        let lines = ["a: one", "b: two", "c: Re: TWO", "d: three", "e: Re: three", "f: Re: three", "g: Re: three"];
        assert_eq!(threaded(Algorithm::OrderedSubject, &lines), "(1)(2 3)(4 (5)(6)(7))");
        assert_eq!(threaded(Algorithm::OrderedSubject, &[]), "");
    }

    #[test]
    fn references_become_branches() {
        // The shapes in the examples of RFC 5256 §3 and §4.
        assert_eq!(referred(&["a: x", "b < a: Re: x", "c < a b: Re: x"]), "(1 2 3)");
        assert_eq!(referred(&["a: x", "b < a: Re: x", "c < a: Re: x", "d < a c: Re: x"]), "(1 (2)(3 4))");
        // §4: (3 6 (4 23)(44 7 96))
        let lines =
            ["a: x", "b < a: Re: x", "c < a b: Re: x", "d < a b c: Re: x", "e < a b: Re: x", "f < a b e: x", "g < a b e f: x"];
        assert_eq!(referred(&lines), "(1 2 (3 4)(5 6 7))");
        // §4: ((3)(5)): their parent is not there.
        assert_eq!(referred(&["a < gone: x", "b < gone: x"]), "((1)(2))");
        // One child takes the place of who is not there.
        assert_eq!(referred(&["a < gone: x", "b: y"]), "(1)(2)");
        assert_eq!(referred(&["a < far gone: x", "b < far gone: Re: x", "c < far: Re: x"]), "((1)(2)(3))");
    }

    #[test]
    fn links_that_are_wrong_make_no_loop() {
        assert_eq!(referred(&["a < a: x"]), "(1)");
        assert_eq!(referred(&["a < b: x", "b < a: y"]), "(2 1)");
        // A later message knows more than those who named it; a second one with the same ID is another.
        assert_eq!(referred(&["a: x", "c < a b: Re: x", "b < z: Re: x", "a: y", "z: z"]), "(1)(4)(5 3 2)");
        assert_eq!(referred(&["-: x", "-: y"]), "(1)(2)");
    }

    #[test]
    fn subjects_join_threads() {
        // A reply without references goes below; two that are both no reply become siblings; so do two replies.
        assert_eq!(referred(&["a: x", "b: Re: X"]), "(1 2)");
        assert_eq!(referred(&["a: Re: x", "b: x"]), "(2 1)");
        assert_eq!(referred(&["a: x", "b: x"]), "((1)(2))");
        assert_eq!(referred(&["a: Re: x", "b: Re: x", "c: Re: x"]), "((1)(2)(3))");
        assert_eq!(referred(&["a: x", "b: x", "c: Re: x"]), "((1)(2)(3))");
        // Dummies: two become one, and take in what is none.
        let lines = ["a < g: x", "b < g: Re: x", "c < h: Re: x", "d < h: Re: x", "e: x", "f:"];
        assert_eq!(referred(&lines), "((1)(2)(3)(4)(5))(6)");
        assert_eq!(referred(&["a:", "b:"]), "(1)(2)");
    }

    #[test]
    fn siblings_are_in_the_order_they_were_sent() {
        let mut some = messages(&["a: x", "b < a: Re: x", "c < a: Re: x", "d: y"]);
        (some[1].sent, some[3].sent) = (9, -1);
        assert_eq!(threads(Algorithm::References, &some).show(&[1, 2, 3, 4]), "(4)(1 (3)(2))");
        some.iter_mut().for_each(|message| message.sent = 0);
        assert_eq!(threads(Algorithm::References, &some).show(&[1, 2, 3, 4]), "(1 (2)(3))(4)");
    }

    #[test]
    fn deep_and_hostile_threads_take_no_long_time() {
        let chain =
            |at: usize| Message { id: Some(at.to_string()), references: vec![(at + 1).to_string()], ..Message::default() };
        let deep: Vec<Message> = (0..100_000).map(chain).collect();
        let names: Vec<u32> = (0..100_000).collect();
        let shown = threads(Algorithm::References, &deep).show(&names);
        assert!(shown.starts_with("(99999 99998 ") && shown.ends_with(" 0)"));
    }

    proptest! {
        /// Every message is told once, and parentheses close.
        #[test]
        fn nobody_is_lost(those in proptest::collection::vec((0..12_u8, proptest::collection::vec(0..16_u8, 0..4), 0..4_u8, any::<bool>(), 0..5_i64), 0..14)) {
            let those: Vec<Message> = those.into_iter().map(|(id, references, subject, is_reply, sent)| Message {
                subject: vec![b'a'; usize::from(subject)], is_reply, sent,
                id: Some(id.to_string()), references: references.iter().map(u8::to_string).collect(),
            }).collect();
            let names: Vec<u32> = (1..=those.len() as u32).collect();
            for algorithm in [Algorithm::OrderedSubject, Algorithm::References] {
                let shown = threads(algorithm, &those).show(&names);
                let mut told: Vec<u32> = shown.split(['(', ')', ' ']).filter_map(|name| name.parse().ok()).collect();
                told.sort_unstable();
                prop_assert_eq!(&told, &names);
                let depth = shown.bytes().try_fold(0_usize, |depth, byte| match byte {
                    b'(' => Some(depth + 1),
                    b')' => depth.checked_sub(1),
                    _ => Some(depth),
                });
                prop_assert_eq!(depth, Some(0));
                prop_assert!(!shown.contains("()") && !shown.contains("( ") && !shown.contains(" )"));
            }
        }
    }
}
