//! Class F: out of the cgroup, or by its name to the host.

use std::fs;
use std::path::{Path, PathBuf};

use super::Verdict;
use super::cases::{judge, not_tried, run};
use crate::fixture::{BundleDir, Canary, Runtime, cgroups, unique_name};

/// Everything that a container could try on what it sees of its cgroups.
const ESCAPE: &str = r#"
    for directory in /sys/fs/cgroup /sys/fs/cgroup/*; do
        [ -e $directory/cgroup.procs ] || continue
        mkdir $directory/escape && echo "made $directory/escape"
        for file in cgroup.procs tasks release_agent notify_on_release devices.allow memory.limit_in_bytes pids.max; do
            [ -e $directory/$file ] && echo 1 >$directory/$file && echo "wrote $directory/$file"
        done
    done 2>/dev/null
    echo tried"#;

pub(super) fn write_to_cgroups(runtime: &Runtime) -> Verdict {
    match run(runtime, &BundleDir::new().shell(ESCAPE)) {
        Ok(output) if output.text() == "tried" => Verdict::Safe,
        // An attack that works may well be its own end: it limits the number of its processes.
        Ok(output) if output.stdout().contains("/sys/fs/cgroup") => {
            Verdict::Broken(output.to_string())
        }
        Ok(output) => not_tried(output.to_string()),
        Err(why) => not_tried(why),
    }
}

/// Up from the cgroup's hierarchy to the root of the host, and down to a place where a directory with the names of control files
/// would do harm.
pub(super) fn path_to_the_host(runtime: &Runtime) -> Verdict {
    let canary = Canary::new();
    let place = canary.below_root().join("empty/made");
    let mut verdict = Verdict::Safe;
    let name = unique_name();
    for up in ["/", "", &format!("/{name}/../")] {
        let path = format!("{up}../../../../../../{}", place.display());
        let bundle = BundleDir::new().set("/linux/cgroupsPath", path);
        verdict = match run(runtime, &bundle) {
            Ok(output) => judge(&canary, &output),
            Err(why) => not_tried(why),
        };
        if verdict != Verdict::Safe {
            break;
        }
    }
    remove_clamped(&place);
    cgroups::destroy(&name);
    verdict
}

/// Who takes `..` for the hierarchy's root, or the caller's cgroup, has made a cgroup with the rest of the path, and its parents are left.
fn remove_clamped(place: &Path) {
    let made: Vec<PathBuf> = cgroups::all();
    for (depth, parent) in place.ancestors().enumerate().take(place.components().count()) {
        // Not those that only end alike: `run` may be somebody else's.
        let tail = place.components().count() - depth;
        for path in made.iter().filter(|path| path.ends_with(parent) && tail > 2) {
            path.ancestors().take(tail).for_each(|path| drop(fs::remove_dir(path)));
        }
    }
}
