//! From a decision diagram to a classic BPF program.
//!
//! The program is laid out from its end: every node is placed after what it leads to, so that each jump distance is known
//! when the jump is written. A conditional jump reaches 255 instructions; where that is too short, a verdict is
//! repeated nearer by and any other node gets a long jump as its stand-in. The accumulator is loaded only where the
//! question before was about another word.
//!
//! Only the operations that the kernel's own evaluator knows are used (`seccomp_is_const_allow`, Linux 5.11): system calls
//! that a filter allows whatever their arguments never run the filter at all there.

use super::diagram::{Diagram, Id, Node, Source, Test};
use super::error::Error;
use sys::seccomp::{Instruction, MAX_INSTRUCTIONS};

const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
const JUMP: u16 = 0x05; // BPF_JMP | BPF_JA
const JUMP_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
const JUMP_GREATER: u16 = 0x25; // BPF_JMP | BPF_JGT | BPF_K
const JUMP_AT_LEAST: u16 = 0x35; // BPF_JMP | BPF_JGE | BPF_K
const JUMP_ANY_BIT: u16 = 0x45; // BPF_JMP | BPF_JSET | BPF_K
const RETURN: u16 = 0x06; // BPF_RET | BPF_K

/// Turns all that `root` leads to into a program. The accumulator holds nothing at its start.
pub(super) fn assemble(diagram: &Diagram, root: Id) -> Result<Vec<Instruction>, Error> {
    // Every node that is left in the end takes an instruction, and nodes are only ever given up while rules combine, so
    // that this also bounds the recursion below.
    let mut places = vec![Place::default(); diagram.len()];
    let count = mark_loads(diagram, root, &mut places);
    let too_long = |needed| Error::TooLong { needed, limit: MAX_INSTRUCTIONS };
    if count > MAX_INSTRUCTIONS {
        return Err(too_long(count));
    }
    let mut assembler = Assembler { diagram, places, backwards: Vec::with_capacity(2 * count) };
    assembler.place(root);
    assembler.enter_at_start(root);
    let Assembler { mut backwards, .. } = assembler;
    if backwards.len() > MAX_INSTRUCTIONS {
        return Err(too_long(backwards.len()));
    }
    backwards.reverse();
    Ok(backwards)
}

/// Where a node is, as distances from the end of the program.
#[derive(Clone, Copy, Default)]
struct Place {
    /// Some way to this node comes without its word in the accumulator.
    needs_load: bool,
    seen: bool,
    /// With its word in the accumulator.
    loaded: Option<Entry>,
    /// Without.
    unloaded: Option<Entry>,
}

/// A place to jump to.
#[derive(Clone, Copy)]
struct Entry {
    /// The node itself.
    target: u32,
    /// The node, or the nearest stand-in for it.
    nearest: u32,
}

impl Entry {
    fn at(position: u32) -> Entry {
        Entry { target: position, nearest: position }
    }
}

/// Finds out which nodes need a load, and returns the number of nodes that `root` leads to.
fn mark_loads(diagram: &Diagram, root: Id, places: &mut [Place]) -> usize {
    places[Diagram::index(root)].needs_load = true;
    let mut count = 0;
    let mut open = vec![root];
    while let Some(id) = open.pop() {
        if std::mem::replace(&mut places[Diagram::index(id)].seen, true) {
            continue;
        }
        count += 1;
        let (word, leads_to) = match diagram.node(id) {
            Node::Verdict(_) => continue,
            Node::Ask { source, yes, no, .. } => (source, [yes, no]),
            Node::Strip { next, .. } => (Source::Number, [next, next]),
        };
        for next in leads_to {
            places[Diagram::index(next)].needs_load |= needs_load(diagram, word, next);
            open.push(next);
        }
    }
    count
}

/// Whether a node has to load its word when the accumulator holds `word`.
fn needs_load(diagram: &Diagram, word: Source, next: Id) -> bool {
    match diagram.node(next) {
        Node::Verdict(_) => false,
        Node::Ask { source, .. } => source != word,
        Node::Strip { .. } => word != Source::Number,
    }
}

struct Assembler<'a> {
    diagram: &'a Diagram,
    places: Vec<Place>,
    backwards: Vec<Instruction>,
}

impl Assembler<'_> {
    /// Writes a node and, before it, whatever it leads to.
    fn place(&mut self, id: Id) {
        if self.places[Diagram::index(id)].loaded.is_some() {
            return;
        }
        match self.diagram.node(id) {
            // Verdicts are written where they are needed first.
            Node::Verdict(_) => {}
            Node::Ask { source, test, yes, no } => {
                self.place(no);
                self.place(yes);
                self.write_ask(id, source, test, yes, no);
            }
            Node::Strip { mask, next } => {
                self.place(next);
                let entry = self.reach(next, Source::Number, u32::MAX);
                if entry != self.last() {
                    self.write(JUMP, self.distance(entry), 0, 0);
                }
                self.write(AND, mask, 0, 0);
                self.set_loaded(id);
                self.write_load(id, Source::Number);
            }
        }
    }

    fn write_ask(&mut self, id: Id, source: Source, test: Test, yes: Id, no: Id) {
        // Making one target reachable may push the other out of reach: go on until both stay where they are.
        let (to_yes, to_no) = loop {
            let before = self.backwards.len();
            let to_yes = self.reach(yes, source, u32::from(u8::MAX));
            let to_no = self.reach(no, source, u32::from(u8::MAX));
            if self.backwards.len() == before {
                break (to_yes, to_no);
            }
        };
        let (code, k) = match test {
            Test::Equal(k) => (JUMP_EQUAL, k),
            Test::Greater(k) => (JUMP_GREATER, k),
            Test::AtLeast(k) => (JUMP_AT_LEAST, k),
            Test::AnyBit(k) => (JUMP_ANY_BIT, k),
        };
        let near = |distance: u32| u8::try_from(distance).expect("made reachable above");
        let (jt, jf) = (near(self.distance(to_yes)), near(self.distance(to_no)));
        self.write(code, k, jt, jf);
        self.set_loaded(id);
        self.write_load(id, source);
    }

    /// Writes what brings a node's word into the accumulator, in front of the node that was written last.
    fn write_load(&mut self, id: Id, source: Source) {
        if !self.places[Diagram::index(id)].needs_load {
            return;
        }
        let (offset, mask) = source.location();
        if mask != u32::MAX {
            self.write(AND, mask, 0, 0);
        }
        self.write(LOAD, offset, 0, 0);
        self.places[Diagram::index(id)].unloaded = Some(Entry::at(self.last()));
    }

    /// Makes sure that the program begins with `root`.
    fn enter_at_start(&mut self, root: Id) {
        let place = self.places[Diagram::index(root)];
        match (self.diagram.node(root), place.unloaded) {
            (Node::Verdict(value), _) => self.write(RETURN, value, 0, 0),
            (_, entry) => {
                let entry = entry.expect("the root is marked as needing a load").target;
                debug_assert_eq!(entry, self.last(), "the root is written last");
            }
        }
    }

    /// The position of `next`, or of a stand-in, for the next instruction to skip at most `limit` instructions to.
    fn reach(&mut self, next: Id, word: Source, limit: u32) -> u32 {
        let load = needs_load(self.diagram, word, next);
        let place = self.places[Diagram::index(next)];
        let entry = if load { place.unloaded } else { place.loaded };
        if let Some(entry) = entry
            && self.distance(entry.nearest) <= limit
        {
            return entry.nearest;
        }
        let target = match (self.diagram.node(next), entry) {
            (Node::Verdict(value), _) => {
                self.write(RETURN, value, 0, 0);
                self.last()
            }
            (_, Some(entry)) => {
                self.write(JUMP, self.distance(entry.target), 0, 0);
                entry.target
            }
            (_, None) => unreachable!("a node is written before what leads to it"),
        };
        let entry = Some(Entry { target, nearest: self.last() });
        let place = &mut self.places[Diagram::index(next)];
        *(if load { &mut place.unloaded } else { &mut place.loaded }) = entry;
        self.last()
    }

    /// How many instructions the next one to be written has to skip to get to a position.
    fn distance(&self, position: u32) -> u32 {
        self.last() - position
    }

    /// The position of the instruction that was written last.
    fn last(&self) -> u32 {
        u32::try_from(self.backwards.len() - 1).expect("bounded by the number of nodes")
    }

    fn set_loaded(&mut self, id: Id) {
        self.places[Diagram::index(id)].loaded = Some(Entry::at(self.last()));
    }

    fn write(&mut self, code: u16, k: u32, jt: u8, jf: u8) {
        self.backwards.push(Instruction { code, jt, jf, k });
    }
}

impl Source {
    /// The offset into `struct seccomp_data` of a little-endian machine, and the bits of interest.
    fn location(self) -> (u32, u32) {
        const ARGUMENTS: u32 = 16;
        match self {
            Source::Number => (0, u32::MAX),
            Source::Architecture => (4, u32::MAX),
            Source::Low { argument, mask } => (ARGUMENTS + 8 * u32::from(argument), mask),
            Source::High { argument, mask } => (ARGUMENTS + 8 * u32::from(argument) + 4, mask),
        }
    }
}
