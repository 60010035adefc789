//! Paths as text: what can be said of one without looking at a file system.

/// The names that a path leads through from its beginning, with neither empty parts nor dots; `..` takes one back, and at the
/// beginning none.
pub(crate) fn names(path: &str) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                names.pop();
            }
            part => names.push(part),
        }
    }
    names
}

/// An absolute path in its shortest form.
pub(crate) fn clean(path: &str) -> String {
    format!("/{}", names(path).join("/"))
}

/// A path in its shortest form without the slash that it may begin with. One that leaves where it begins says so: it keeps its `..`.
pub(crate) fn clean_relative(path: &str) -> String {
    let names = names(path).join("/");
    if path.starts_with('/') {
        return names;
    }
    let (mut depth, mut above) = (0_usize, 0_usize);
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if depth == 0 => above += 1,
            ".." => depth -= 1,
            _ => depth += 1,
        }
    }
    let up = "../".repeat(above);
    format!("{up}{names}").trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_path_keeps_what_leads_out_of_it() {
        for (path, short) in [
            ("a//b/./c/", "a/b/c"),
            ("/a", "a"),
            ("/../a", "a"),
            ("../a", "../a"),
            ("a/../../b", "../b"),
            ("a/../../../b/..", "../.."),
            ("a/..", ""),
            (".", ""),
        ] {
            assert_eq!(clean_relative(path), short, "{path}");
        }
    }

    #[test]
    fn a_clean_path_has_neither_dots_nor_empty_parts_and_stays_below_its_root() {
        for (path, short) in [
            ("/a//b/./c/", "/a/b/c"),
            ("/a/../b", "/b"),
            ("/../../a", "/a"),
            ("a/b/..", "/a"),
            ("/a/...", "/a/..."),
            ("", "/"),
            ("/..", "/"),
        ] {
            assert_eq!(clean(path), short, "{path}");
        }
    }
}
