//! The rest: what an errno of a step most likely means when the files give no reason.

use super::{Diagnosis, Subject};
use crate::failure::Failure;
use crate::plan::op::Op;
use oci_spec::runtime::{PosixRlimitType, Process};
use rustix::io::Errno;

/// The reason of a failed step. A program is looked at; for other steps there are the failure's own hints, unless the files tell more.
pub fn of_failure(failure: &Failure, subject: Option<&Subject>) -> Option<Diagnosis> {
    let subject = subject?;
    match &failure.step.op {
        Op::FindExecutable { .. } => subject.examine(),
        Op::Exec { .. } => {
            // The kernel has told what it objects to: a filter may answer with any errno, and is asked first for those of it.
            let filtered = (failure.errno == Errno::PERM).then(|| subject.filter()).flatten();
            filtered
                .or_else(|| subject.examine())
                .or_else(|| refused(failure.errno, &subject.process))
        }
        Op::WorkingDirectory { .. } if failure.errno == Errno::ACCESS => {
            let inside = subject.process.cwd().join("x");
            let directory = subject.unsearchable(&super::clean(&inside))?;
            Some(Diagnosis::new(
                format!(
                    "{} may not enter the directory `{}`",
                    subject.identity,
                    directory.display()
                ),
                "give it the `x` bit for that user, or change `process.cwd` or `process.user`",
            ))
        }
        Op::Mount(_) | Op::Bind(_) | Op::Directory { .. } | Op::Device(_) | Op::Symlink { .. }
            if failure.errno == Errno::ROFS =>
        {
            Some(Diagnosis::new(
                "the root file system is read-only on the host, and what is to be mounted on is missing in it",
                "make the directory or file in the image, or keep the image on a writable file system",
            ))
        }
        _ => None,
    }
}

/// Why the kernel refused to execute a file in which nothing is wrong.
fn refused(errno: Errno, process: &Process) -> Option<Diagnosis> {
    let set = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    match errno {
        Errno::ACCESS | Errno::PERM => {
            let module = match (set(process.apparmor_profile()), set(process.selinux_label())) {
                (Some(profile), _) => format!("the AppArmor profile `{profile}`"),
                (_, Some(label)) => format!("the SELinux policy for the label `{label}`"),
                _ => "a security module of the host (AppArmor, SELinux)".to_owned(),
            };
            Some(Diagnosis::new(
                format!(
                    "nothing is wrong with the file itself, so {module} probably forbids to execute it"
                ),
                "look for a denial in `dmesg` or the audit log",
            ))
        }
        Errno::NOMEM => Some(match limit(process, PosixRlimitType::RlimitAs) {
            Some(limit) => Diagnosis::new(
                format!(
                    "the program does not fit into its limit on address space, RLIMIT_AS, of {limit} bytes"
                ),
                "raise it in `process.rlimits`",
            ),
            None => Diagnosis::new(
                "there is not enough memory to load the program",
                "raise `linux.resources.memory.limit`, or free memory on the host",
            ),
        }),
        Errno::AGAIN => Some(Diagnosis::new(
            "the user has more processes than RLIMIT_NPROC lets it have",
            "raise the limit in `process.rlimits`, or take a user that nobody else uses",
        )),
        Errno::TOOBIG => Some(Diagnosis::new(
            "arguments and environment together are too long: at most a quarter of RLIMIT_STACK, and 128 KiB for each string",
            "shorten `process.args` and `process.env`, or raise RLIMIT_STACK",
        )),
        Errno::TXTBSY => Some(Diagnosis::new(
            "somebody has the program's file open for writing",
            "start it when the copy is complete",
        )),
        _ => None,
    }
}

fn limit(process: &Process, wanted: PosixRlimitType) -> Option<u64> {
    let limits = process.rlimits().as_deref().unwrap_or_default();
    limits.iter().find(|limit| limit.typ() == wanted).map(oci_spec::runtime::PosixRlimit::soft)
}
