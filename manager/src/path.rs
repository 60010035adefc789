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

#[cfg(test)]
mod tests {
    use super::*;

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
