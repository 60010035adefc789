//! "Did you mean": the known name that is nearest to what was typed.

/// The name with the fewest letters that are missing, too many, wrong or swapped, if they are few enough to be a slip.
pub(super) fn nearest<'n>(
    typed: &str,
    names: impl IntoIterator<Item = &'n str>,
) -> Option<&'n str> {
    let distances = names.into_iter().map(|name| (distance(typed, name), name));
    let (slips, name) = distances.min_by_key(|(slips, _)| *slips)?;
    // One slip in three letters; a name that begins as typed is meant anyway.
    let begun = typed.len() >= 3 && name.starts_with(typed);
    (begun || slips <= typed.len().max(3) / 3).then_some(name)
}

/// The command of ours that does what a command of this name does in managers of containers.
pub(super) fn of_another_tool(name: &str) -> Option<&'static str> {
    Some(match name {
        "inspect" => "state",
        "ls" => "list",
        "rm" => "delete",
        "stop" => "kill",
        "unpause" => "resume",
        _ => return None,
    })
}

/// The optimal string alignment distance.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let wrong = usize::from(a[i - 1] != b[j - 1]);
            let mut least =
                (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + wrong);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_found_and_another_word_is_not() {
        let names = ["create", "delete", "exec", "kill", "list", "run", "start", "state"];
        for (typed, meant) in [
            ("crate", Some("create")),
            ("craete", Some("create")),
            ("del", Some("delete")),
            ("rn", Some("run")),
            ("strat", Some("start")),
            ("pull", None),
            ("x", None),
        ] {
            assert_eq!(nearest(typed, names), meant, "{typed}");
        }
    }

    #[test]
    fn commands_of_other_tools_stand_for_commands_that_exist() {
        for name in ["inspect", "ls", "rm", "stop", "unpause"] {
            let ours = of_another_tool(name).expect(name);
            assert!(crate::cli::command(ours).is_ok(), "{name}: {ours}");
        }
    }
}
