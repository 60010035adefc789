//! A balanced search tree over system call numbers.
//!
//! Profiles allow long runs of numbers and single out a few, so that the tree's leaves are not numbers but stretches: a
//! verdict that holds for a range, and up to [`MOST_EXCEPTIONS`] single numbers in it that have verdicts of their own.
//! An exception costs one instruction, where cutting the range around it would cost two.

use super::diagram::{Diagram, Id, Source, Test};

/// More would make programs no shorter by more than a few instructions, and the search linear.
const MOST_EXCEPTIONS: usize = 4;

/// A range of numbers and its verdict: it begins with the number and ends where the next one begins, the last one never.
pub(super) type Range = (u32, Id);

/// Builds the tree of a function from numbers to verdicts. The ranges are in order, and the first begins with 0.
pub(super) fn build(diagram: &mut Diagram, mut ranges: Vec<Range>) -> Id {
    ranges.dedup_by_key(|range| range.1);
    search(diagram, &stretches(&ranges))
}

/// Cuts the ranges into stretches: the background at the even places, exceptions at the odd.
fn stretches(mut ranges: &[Range]) -> Vec<&[Range]> {
    let mut stretches = Vec::with_capacity(ranges.len());
    while let [(_, background), ..] = *ranges {
        let mut end = 1;
        while let [(number, _), (next, verdict), ..] = ranges[end..]
            && next - number == 1
            && verdict == background
            && end < 2 * MOST_EXCEPTIONS
        {
            end += 2;
        }
        let (stretch, rest) = ranges.split_at(end);
        stretches.push(stretch);
        ranges = rest;
    }
    stretches
}

fn search(diagram: &mut Diagram, stretches: &[&[Range]]) -> Id {
    if let [[(_, background), exceptions @ ..]] = *stretches {
        return exceptions.iter().step_by(2).rev().fold(*background, |id, &(number, verdict)| {
            diagram.ask(Source::Number, Test::Equal(number), verdict, id)
        });
    }
    let (left, right) = stretches.split_at(stretches.len() / 2);
    let boundary = right[0][0].0;
    let below = search(diagram, left);
    let above = search(diagram, right);
    diagram.ask(Source::Number, Test::AtLeast(boundary), above, below)
}

#[cfg(test)]
mod tests {
    use super::super::diagram::Node;
    use super::*;

    /// The verdict for a number, and how many questions it took.
    fn find(diagram: &Diagram, mut id: Id, number: u32) -> (u32, usize) {
        let mut questions = 0;
        loop {
            id = match diagram.node(id) {
                Node::Verdict(value) => return (value, questions),
                Node::Ask { test: Test::AtLeast(k), yes, no, .. } => {
                    if number >= k {
                        yes
                    } else {
                        no
                    }
                }
                Node::Ask { test: Test::Equal(k), yes, no, .. } => {
                    if number == k {
                        yes
                    } else {
                        no
                    }
                }
                other => panic!("no part of a search tree: {other:?}"),
            };
            questions += 1;
        }
    }

    fn tree(verdicts: &[(u32, u32)]) -> (Diagram, Id) {
        let mut diagram = Diagram::default();
        let verdicts: Vec<_> =
            verdicts.iter().map(|&(number, value)| (number, diagram.verdict(value))).collect();
        let id = build(&mut diagram, verdicts);
        (diagram, id)
    }

    #[test]
    fn every_number_finds_its_verdict_in_logarithmic_time() {
        let verdicts: Vec<(u32, u32)> = (0..600).map(|n| (n, n * n % 7)).collect();
        let (diagram, root) = tree(&verdicts);
        for &(number, value) in &verdicts {
            let (found, questions) = find(&diagram, root, number);
            assert_eq!(found, value, "number {number}");
            assert!(questions <= 10 + MOST_EXCEPTIONS, "{questions} questions for {number}");
        }
        assert_eq!(find(&diagram, root, u32::MAX).0, 599 * 599 % 7);
    }

    #[test]
    fn a_run_of_equal_verdicts_is_one_leaf_and_a_single_number_in_it_one_question() {
        let (diagram, root) = tree(&[(0, 1), (1, 1), (2, 1), (5, 9), (6, 1), (70, 1)]);
        assert_eq!(diagram.len(), 3, "two verdicts and one question");
        assert_eq!([4, 5, 6].map(|number| find(&diagram, root, number)), [(1, 1), (9, 1), (1, 1)]);
    }

    #[test]
    fn the_last_range_may_be_an_exception_without_an_end() {
        let (diagram, root) = tree(&[(0, 1), (5, 9)]);
        assert_eq!([4, 5, 6].map(|number| find(&diagram, root, number).0), [1, 9, 9]);
    }
}
