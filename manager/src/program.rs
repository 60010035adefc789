//! Where the programs are that we call: runtimes, those that write id mappings, AppArmor's parser, what carries a user's network.

use std::ffi::OsStr;
use std::path::PathBuf;

/// Directories that hold such programs on common distributions, and that may be missing from an unprivileged PATH.
const USUAL: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program in PATH, or where programs usually are. A relative directory of PATH is passed over, as Go does: what it means depends on
/// where we are called, and who may write there.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let find = |path: &OsStr| sys::exec::find_program(name, path);
    find(&path).or_else(|| find(OsStr::new(USUAL)))
}
