//! "Did you mean": the known name that is nearest to what was typed.

/// The name with the fewest letters that are missing, too many, wrong or swapped, if they are few enough to be a slip.
pub fn nearest<'n>(typed: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let distances = names.into_iter().map(|name| (distance(typed, name), name));
    let (slips, name) = distances.min_by_key(|(slips, _)| *slips)?;
    // One slip in three letters; a name that begins as typed is meant anyway.
    let begun = typed.len() >= 3 && name.starts_with(typed);
    (begun || slips <= typed.chars().count().max(3) / 3).then_some(name)
}

/// How far a slip is from a name; the case of letters counts for nothing.
fn distance(typed: &str, name: &str) -> usize {
    strsim::osa_distance(&typed.to_lowercase(), &name.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_found_and_another_word_is_not() {
        let names = ["create", "inspect", "kill", "logs", "ps", "pull", "run", "start", "stop"];
        for (typed, meant) in [
            ("rnu", Some("run")),
            ("crate", Some("create")),
            ("insp", Some("inspect")),
            ("strat", Some("start")),
            ("PULL", Some("pull")),
            ("teleport", None),
            ("x", None),
        ] {
            assert_eq!(nearest(typed, names), meant, "{typed}");
        }
    }
}
