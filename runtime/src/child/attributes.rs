//! Scheduling, labels, execution domain: what the process is besides its ids.

use crate::plan::attributes::{Attribute, Label};
use rustix::fs::{Mode, OFlags, PROC_SUPER_MAGIC};
use rustix::io::Errno;
use rustix::process::Pid;
use sys::{execution, scheduling};

/// More processors than any kernel is built for.
const EVERY: [u64; 128] = [u64::MAX; 128];

/// Sets an attribute of ourselves.
pub(super) fn apply(attribute: &Attribute) -> Result<(), Errno> {
    match attribute {
        Attribute::Scheduler { .. } | Attribute::IoPriority { .. } => schedule(None, attribute),
        Attribute::Affinity(mask) => scheduling::set_affinity(mask),
        Attribute::AnyProcessor => {
            // Where a filter around us denies it, the process runs where we do: no reason to fail.
            let _ = scheduling::set_affinity(&EVERY);
            Ok(())
        }
        Attribute::Personality(domain) => execution::set_personality(*domain),
        Attribute::MemoryPolicy { mode, nodes } => execution::set_memory_policy(*mode, nodes),
        Attribute::Label(label) => write(label),
    }
}

/// Sets what another process, which has the privilege, can set too: the parent does it for a child in a user namespace.
pub(crate) fn schedule(pid: Option<Pid>, attribute: &Attribute) -> Result<(), Errno> {
    match attribute {
        Attribute::Scheduler { scheduler, .. } => scheduling::set_scheduler(pid, scheduler),
        Attribute::IoPriority { class, priority } => {
            scheduling::set_io_priority(pid, *class, *priority)
        }
        _ => Err(Errno::PROTO),
    }
}

/// A label that is written anywhere but into a procfs has confined nobody (CVE-2019-16884).
fn write(label: &Label) -> Result<(), Errno> {
    let file = match rustix::fs::open(label.path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()) {
        Err(Errno::NOENT) if label.optional => return Ok(()),
        opened => opened?,
    };
    if rustix::fs::fstatfs(&file)?.f_type != PROC_SUPER_MAGIC {
        return Err(Errno::XDEV);
    }
    rustix::io::write(&file, label.value.to_bytes()).map(drop)
}
