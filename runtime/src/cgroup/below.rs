//! Cgroups below the container's own that annotations ask for, as crun has them.
//!
//! With `run.oci.delegate-cgroup` the container's processes are in a cgroup below the one that has the limits: what the container does
//! to its part of the hierarchy, it does there, and the limits stay out of its reach. On v1 that would not hold.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use super::plan::{Member, Version};
use super::{Error, Layout};

const DELEGATED: &str = "run.oci.delegate-cgroup";

/// The cgroup that an annotation names; an empty one is none.
///
/// # Errors
/// For a path that leads elsewhere.
pub(super) fn named(
    annotations: Option<&HashMap<String, String>>,
    name: &str,
) -> Result<Option<PathBuf>, Error> {
    let text = annotations.and_then(|annotations| annotations.get(name));
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let path = Path::new(text.trim_start_matches('/'));
    let clean: PathBuf =
        path.components().filter(|component| matches!(component, Component::Normal(_))).collect();
    if clean != path || clean.as_os_str().is_empty() || text.contains(['\n', '\0']) {
        let what = format!("use the cgroup `{}` below the container's", text.escape_debug());
        let why = "it has to be a plain path, without `..`";
        return Err(Error::refused(what, format!("/annotations/{name}"), why));
    }
    Ok(Some(clean))
}

/// The cgroup that is handed to the container. `members` are those that the container gets.
///
/// # Errors
/// Where the container has no part of v2, or v1 hierarchies besides.
pub(super) fn delegated(
    annotations: Option<&HashMap<String, String>>,
    layout: &Layout,
    members: &[Member],
) -> Result<Option<PathBuf>, Error> {
    let path = named(annotations, DELEGATED)?;
    let possible = matches!(layout, Layout::Unified(_))
        && members.iter().any(|member| member.version == Version::V2);
    match path {
        Some(path) if !possible => {
            let what = format!("delegate the cgroup `{}`", path.display());
            let why = match layout {
                Layout::Unified(_) => "the container gets no cgroup of its own",
                Layout::Legacy(_) | Layout::Hybrid(..) => "it is not supported on cgroup v1",
            };
            Err(Error::refused(what, format!("/annotations/{DELEGATED}"), why))
        }
        path => Ok(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_leads_elsewhere_is_refused() {
        let read = |text: &str| {
            let annotations = HashMap::from([(DELEGATED.to_owned(), text.to_owned())]);
            named(Some(&annotations), DELEGATED).map_err(|error| error.to_string())
        };
        assert_eq!(read("payload"), Ok(Some("payload".into())));
        assert_eq!(read("/a/b"), Ok(Some("a/b".into())));
        assert_eq!(read(""), Ok(None));
        for text in ["..", "a/../b", "/", "a\nb", "."] {
            let error = read(text).unwrap_err();
            assert!(error.contains("/annotations/run.oci.delegate-cgroup"), "{error}");
        }
    }
}
