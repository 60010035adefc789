//! A decision diagram: what a filter computes, without registers, addresses or jump distances.
//!
//! Nodes are shared by content, so that equal questions with equal outcomes exist once, whichever system call or ABI
//! asks them; node ids are therefore equal exactly when what they decide was built alike. Diagrams are built from the
//! verdicts upwards and hold no cycle. A question whose answer follows from the question above it is never asked.

/// A node of a diagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Id(u32);

/// The 32-bit word of `struct seccomp_data` that a question is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// `AUDIT_ARCH_*`.
    Architecture,
    /// The system call number; below a [`Node::Strip`], what is left of it.
    Number,
    /// The bits of `mask` in the low half of an argument.
    Low { argument: u8, mask: u32 },
    /// The bits of `mask` in the high half of an argument.
    High { argument: u8, mask: u32 },
}

/// A question about a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Test {
    Equal(u32),
    Greater(u32),
    AtLeast(u32),
    AnyBit(u32),
}

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// Ends with this `SECCOMP_RET_*` value.
    Verdict(u32),
    /// Goes on with one of two nodes.
    Ask { source: Source, test: Test, yes: Id, no: Id },
    /// Drops the bits of the system call number that are not in `mask`, for all nodes below.
    Strip { mask: u32, next: Id },
}

/// All nodes made so far.
pub(super) struct Diagram {
    nodes: Vec<Node>,
    /// An open-addressed index by content: the id of a node plus one, or 0. A power of two of them, at most half taken.
    slots: Vec<u32>,
}

impl Default for Diagram {
    /// An empty diagram, with room for that of a container's usual profile.
    fn default() -> Diagram {
        const USUAL: usize = 256;
        Diagram { nodes: Vec::with_capacity(USUAL), slots: vec![0; 2 * USUAL] }
    }
}

impl Diagram {
    /// What `id` does.
    pub(super) fn node(&self, id: Id) -> Node {
        self.nodes[id.0 as usize]
    }

    /// The number of nodes, whether or not anything leads to them.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// An index into a table of [`Diagram::len`] entries.
    pub(super) fn index(id: Id) -> usize {
        id.0 as usize
    }

    /// A node that ends with a `SECCOMP_RET_*` value.
    pub(super) fn verdict(&mut self, value: u32) -> Id {
        self.intern(Node::Verdict(value))
    }

    /// A node that drops bits of the system call number.
    pub(super) fn strip(&mut self, mask: u32, next: Id) -> Id {
        self.intern(Node::Strip { mask, next })
    }

    /// A node that asks a question, or a simpler one that decides the same.
    pub(super) fn ask(&mut self, source: Source, test: Test, yes: Id, no: Id) -> Id {
        match test {
            Test::AtLeast(0) => return yes,
            Test::Greater(u32::MAX) | Test::AnyBit(0) => return no,
            _ => {}
        }
        let yes = self.given(source, test, true, yes);
        let no = self.given(source, test, false, no);
        if yes == no { yes } else { self.intern(Node::Ask { source, test, yes, no }) }
    }

    /// Where `id` leads when the answer to a question is known already: past every question that this answer settles.
    pub(super) fn given(&self, source: Source, test: Test, answer: bool, mut id: Id) -> Id {
        while let Node::Ask { source: asked, test: next, yes, no } = self.node(id) {
            if asked != source {
                break;
            }
            match next.settled_by(test, answer) {
                Some(true) => id = yes,
                Some(false) => id = no,
                None => break,
            }
        }
        id
    }

    /// The node of this content, which is added when there is none.
    fn intern(&mut self, node: Node) -> Id {
        let slot = self.slot(node);
        if let Some(index) = self.slots[slot].checked_sub(1) {
            return Id(index);
        }
        let id = Id(u32::try_from(self.nodes.len()).expect("far fewer nodes than 2^32"));
        self.nodes.push(node);
        self.slots[slot] = id.0 + 1;
        if 2 * self.nodes.len() > self.slots.len() {
            self.slots = vec![0; 2 * self.slots.len()];
            for index in 0..self.nodes.len() {
                let slot = self.slot(self.nodes[index]);
                self.slots[slot] = index as u32 + 1;
            }
        }
        id
    }

    /// The slot of a node, or the free one where it belongs.
    fn slot(&self, node: Node) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = node.hash() & mask;
        while let Some(index) = self.slots[slot].checked_sub(1)
            && self.nodes[index as usize] != node
        {
            slot = (slot + 1) & mask;
        }
        slot
    }
}

impl Node {
    /// A multiplicative hash. The words come from a validated profile, of which some thousands of nodes are made at most. What kind
    /// of question it is and about which argument is left out: hardly any two nodes differ in nothing else.
    fn hash(self) -> usize {
        const FACTOR: u64 = 0x517c_c1b7_2722_0a95;
        let pair = |high: u32, low: u32| u64::from(high) << 32 | u64::from(low);
        let (question, leads_to) = match self {
            Node::Verdict(value) => (pair(0, value), 0),
            Node::Ask { source, test, yes, no } => {
                let (Test::Equal(k) | Test::Greater(k) | Test::AtLeast(k) | Test::AnyBit(k)) = test;
                let mask = match source {
                    Source::Architecture | Source::Number => 0,
                    Source::Low { mask, .. } | Source::High { mask, .. } => mask,
                };
                (pair(mask, k), pair(yes.0, no.0))
            }
            Node::Strip { mask, next } => (pair(mask, 0), pair(next.0, 0)),
        };
        let hash = (question.wrapping_mul(FACTOR).rotate_left(32) ^ leads_to).wrapping_mul(FACTOR);
        (hash >> 32) as usize
    }
}

impl Test {
    /// The answer to `self` when `known` was answered with `answer` for the same word, if that settles it.
    fn settled_by(self, known: Test, answer: bool) -> Option<bool> {
        if self == known {
            return Some(answer);
        }
        let (low, high) = known.range(answer);
        match self {
            Test::Equal(k) if k < low || k > high => Some(false),
            Test::Equal(_) => (low == high).then_some(true),
            Test::Greater(k) => (low > k || high <= k).then_some(low > k),
            Test::AtLeast(k) => (low >= k || high < k).then_some(low >= k),
            Test::AnyBit(bits) => (low == high).then_some(low & bits != 0),
        }
    }

    /// The smallest range that holds every word for which the answer is `answer`.
    fn range(self, answer: bool) -> (u32, u32) {
        const MAX: u32 = u32::MAX;
        match (self, answer) {
            (Test::Equal(k), true) => (k, k),
            (Test::Equal(0), false) | (Test::AnyBit(_), true) => (1, MAX),
            (Test::Equal(MAX), false) => (0, MAX - 1),
            (Test::Greater(k), true) => (k.saturating_add(1), MAX),
            (Test::Greater(k), false) => (0, k),
            (Test::AtLeast(k), true) => (k, MAX),
            (Test::AtLeast(k), false) => (0, k.saturating_sub(1)),
            (Test::AnyBit(MAX), false) => (0, 0),
            (Test::Equal(_) | Test::AnyBit(_), false) => (0, MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORD: Source = Source::Number;

    fn decide(diagram: &Diagram, mut id: Id, word: u32) -> u32 {
        loop {
            match diagram.node(id) {
                Node::Verdict(value) => return value,
                Node::Strip { next, .. } => id = next,
                Node::Ask { test, yes, no, .. } => id = if holds(test, word) { yes } else { no },
            }
        }
    }

    fn holds(test: Test, word: u32) -> bool {
        match test {
            Test::Equal(k) => word == k,
            Test::Greater(k) => word > k,
            Test::AtLeast(k) => word >= k,
            Test::AnyBit(bits) => word & bits != 0,
        }
    }

    #[test]
    fn equal_nodes_are_one_node_and_a_question_with_one_outcome_is_none() {
        let mut diagram = Diagram::default();
        let (a, b) = (diagram.verdict(1), diagram.verdict(2));
        assert_eq!(diagram.verdict(1), a);
        let ask = diagram.ask(WORD, Test::Equal(7), a, b);
        assert_eq!(diagram.ask(WORD, Test::Equal(7), a, b), ask);
        assert_eq!(diagram.ask(WORD, Test::Equal(7), a, a), a);
        assert_eq!(diagram.ask(WORD, Test::AtLeast(0), a, b), a);
        assert_eq!(diagram.ask(WORD, Test::Greater(u32::MAX), a, b), b);
        assert_eq!(diagram.ask(WORD, Test::AnyBit(0), a, b), b);
        assert_eq!(diagram.len(), 3);
    }

    #[test]
    fn nodes_are_still_found_when_there_are_more_than_a_usual_profile_makes() {
        let mut diagram = Diagram::default();
        let verdicts: Vec<Id> = (0..3000).map(|value| diagram.verdict(value)).collect();
        let ask = |diagram: &mut Diagram, value: u32| {
            let [yes, no] = [value, value + 1].map(|value| verdicts[value as usize]);
            diagram.ask(WORD, Test::Equal(value), yes, no)
        };
        let asked: Vec<Id> = (0..2999).map(|value| ask(&mut diagram, value)).collect();
        assert_eq!(diagram.len(), 5999);
        assert!((0..2999).all(|value| ask(&mut diagram, value) == asked[value as usize]));
        assert!((0..3000).all(|value| diagram.verdict(value) == verdicts[value as usize]));
        assert_eq!(diagram.len(), 5999);
    }

    #[test]
    fn no_answer_is_taken_as_known_that_a_word_can_contradict() {
        let edges = [0, 1, 2, 3, 6, 7, 8, 0x7fff_ffff, 0x8000_0000, u32::MAX - 1, u32::MAX];
        let tests = edges
            .iter()
            .flat_map(|&k| [Test::Equal(k), Test::Greater(k), Test::AtLeast(k), Test::AnyBit(k)]);
        let tests: Vec<Test> = tests.collect();
        let mut settled = 0;
        for &known in &tests {
            for &next in &tests {
                for &word in &edges {
                    if let Some(answer) = next.settled_by(known, holds(known, word)) {
                        assert_eq!(
                            answer,
                            holds(next, word),
                            "{next:?} after {known:?} of {word:#x}"
                        );
                        settled += 1;
                    }
                }
            }
        }
        assert!(settled > tests.len() * edges.len(), "only {settled} answers followed");
    }

    #[test]
    fn a_settled_question_is_left_out_and_the_decision_stays() {
        let mut diagram = Diagram::default();
        let (a, b, c) = (diagram.verdict(1), diagram.verdict(2), diagram.verdict(3));
        let lower = diagram.ask(WORD, Test::AtLeast(5), b, c);
        let id = diagram.ask(WORD, Test::Equal(9), a, lower);
        let top = diagram.ask(WORD, Test::Greater(20), id, lower);
        assert_eq!(
            diagram.node(top),
            Node::Ask { source: WORD, test: Test::Greater(20), yes: b, no: lower }
        );
        assert_eq!([4, 9, 21].map(|word| decide(&diagram, top, word)), [3, 2, 2]);
    }
}
