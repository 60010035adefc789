//! What is wrong with a container that has ended, as its state says it: everything, for what is left out is looked for in vain.

/// All of it in one line, each once; `None` where nothing is wrong.
#[must_use]
pub fn all(faults: impl IntoIterator<Item = String>) -> Option<String> {
    let mut each: Vec<String> = Vec::new();
    for fault in faults {
        // What is written down may say it already, and so may several who met the same.
        if !each.iter().any(|known| known.contains(&fault)) {
            each.push(fault);
        }
    }
    (!each.is_empty()).then(|| each.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_told_and_none_twice() {
        let all = |faults: &[&str]| all(faults.iter().map(ToString::to_string));
        assert_eq!(all(&[]), None);
        assert_eq!(all(&["the log", "the mount"]).unwrap(), "the log; the mount");
        assert_eq!(
            all(&["the log; the mount", "the mount", "a port"]).unwrap(),
            "the log; the mount; a port"
        );
    }
}
