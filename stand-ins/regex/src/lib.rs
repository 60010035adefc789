//! `regex-lite` under the name of `regex`: the same interface with a tenth of the code.
//!
//! oci-spec checks two short texts with regular expressions, an image's name and a list of processors. The machinery that `regex`
//! brings for that was 620 KB in each program. `[patch.crates-io]` in the workspace's Cargo.toml puts this in its place.

pub use regex_lite::*;

#[cfg(test)]
mod tests {
    use super::Regex;

    #[test]
    fn a_list_of_processors_is_told_from_what_is_none() {
        let list = Regex::new(r"^(\d+(-\d+)?)(,\d+(-\d+)?)*$").unwrap();
        assert!(list.is_match("0-3,7"));
        assert!(!list.is_match("0-3,") && !list.is_match("a") && !list.is_match("0-3\n"));
    }
}
