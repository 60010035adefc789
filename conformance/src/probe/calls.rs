//! System calls that are harmless where they succeed, made to see what a seccomp filter says of them.

use std::ffi::OsString;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType};
use serde_json::{Map, Value, json};

/// Makes each named call and gives 0 or its errno; a name that is not known gives `null`.
pub(super) fn attempt(names: &[OsString]) -> Value {
    let results = names.iter().map(|name| {
        let name = name.to_string_lossy().into_owned();
        let result = call(&name).map_or(Value::Null, |result| match result {
            Ok(()) => json!(0),
            Err(errno) => json!(errno.raw_os_error()),
        });
        (name, result)
    });
    Value::Object(results.collect::<Map<_, _>>())
}

/// `None` for a name that is not known. A name may have an argument after a colon.
fn call(name: &str) -> Option<Result<(), Errno>> {
    let (name, argument) = name.split_once(':').unwrap_or((name, ""));
    Some(match name {
        "mkdir" => rustix::fs::mkdir("/tmp/probe", Mode::RWXU),
        "chmod" => rustix::fs::chmod("/tmp", Mode::from_raw_mode(0o1777)),
        "sethostname" => rustix::system::sethostname(b"probe"),
        "setpriority" => rustix::process::setpriority_process(None, argument.parse().unwrap_or(0)),
        "getpriority" => rustix::process::getpriority_process(None).map(drop),
        "getpgid" => rustix::process::getpgid(None).map(drop),
        "getsid" => rustix::process::getsid(None).map(drop),
        "kill" => rustix::process::test_kill_process(rustix::process::getpid()),
        "chroot" => rustix::process::chroot("/"),
        "socket" => {
            let family = AddressFamily::from_raw(argument.parse().unwrap_or(1));
            rustix::net::socket(family, SocketType::DGRAM, None).map(drop)
        }
        "memfd_create" => {
            rustix::fs::memfd_create("probe", rustix::fs::MemfdFlags::CLOEXEC).map(drop)
        }
        "open" => {
            rustix::fs::open(argument, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map(drop)
        }
        "open-rw" => {
            rustix::fs::open(argument, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map(drop)
        }
        "mknod" => rustix::fs::mknodat(
            rustix::fs::CWD,
            "/tmp/node",
            rustix::fs::FileType::CharacterDevice,
            Mode::RUSR,
            rustix::fs::makedev(1, 3),
        ),
        "unshare" => sys::namespace::unshare(sys::namespace::Kinds::UTS),
        _ => return None,
    })
}
