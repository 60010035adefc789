//! The process that holds a user's namespace while nothing else does: the user namespace, and another one the network namespace.
//!
//! It is `nman` itself under the name in [`ARGV0`]: it makes the namespace, waits until its parent has mapped the ids, and
//! then sleeps. `namespace` in the state directory says which process it is, and when that began, for ids are used again. The file
//! is locked by whoever reads or writes it, and watched by the process, which ends when the file goes: with the state directory
//! at the end of a session, or by hand; a network namespace's with the last container that is in need of it.

use super::mapping::{Plan, User};
use crate::error::{Error, Result};
use crate::process::{Process, birth};
use caps::CapSet;
use rustix::fs::{FlockOperation, Mode, OFlags, flock, inotify};
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount,
};
use rustix::process::{chdir, pivot_root};
use rustix::stdio;
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use sys::namespace::{Kinds, unshare};

/// The name under which `main` runs [`main`] instead of the command line.
pub const ARGV0: &str = "nman-pause";

/// What it is to hold.
#[derive(Clone, Copy)]
pub(super) enum Purpose<'a> {
    /// A new user namespace, which gets these ids.
    NewUser(&'a User, &'a Plan),
    /// The user namespace that it begins in.
    User,
    /// A new network namespace.
    NewNetwork,
    /// The network namespace that it begins in.
    Network,
}

impl Purpose<'_> {
    /// Its argument.
    fn word(self) -> &'static str {
        match self {
            Self::NewUser(..) => "make",
            Self::User => "stay",
            Self::NewNetwork => "make-network",
            Self::Network => "stay-network",
        }
    }

    /// For errors, and for whoever looks at the user's units.
    fn namespace(self) -> &'static str {
        match self {
            Self::NewUser(..) | Self::User => "user namespace",
            Self::NewNetwork | Self::Network => "network namespace",
        }
    }
}

/// The file that says which process it is.
pub(super) const NOTE: &str = "namespace";

/// What it says when the namespace is there; else the number of the error.
const READY: &[u8] = b"ready";
/// What it is told when its ids are mapped.
const GO: &[u8] = b"go";

/// The file that says which process it is, locked.
pub(super) struct Note {
    path: PathBuf,
    file: File,
}

impl Note {
    /// Waits until nobody else looks for the namespace, or makes it. The file is `namespace` in that directory.
    pub(super) fn lock(directory: &Path) -> Result<Self> {
        loop {
            if let Some(note) = Self::lock_by(directory, FlockOperation::LockExclusive)? {
                return Ok(note);
            }
        }
    }

    /// The same without a wait; `None` while somebody else has it.
    pub(super) fn try_lock(directory: &Path) -> Result<Option<Self>> {
        Self::lock_by(directory, FlockOperation::NonBlockingLockExclusive)
    }

    /// `None` where it would have been waited for.
    fn lock_by(directory: &Path, operation: FlockOperation) -> Result<Option<Self>> {
        let path = directory.join(NOTE);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        loop {
            let file = rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR)
                .map_err(Error::io("open", &path))?;
            match flock(&file, operation) {
                Ok(()) => {}
                Err(Errno::INTR) => continue,
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(errno) => return Err(Error::io("lock", &path)(errno)),
            }
            // It may have been removed while it was waited for: another one has its name now, or none.
            let inode = |stat: rustix::fs::Stat| (stat.st_dev, stat.st_ino);
            let own = rustix::fs::fstat(&file).map(inode).ok();
            if own.is_some() && own == rustix::fs::lstat(&path).map(inode).ok() {
                return Ok(Some(Self { path, file: file.into() }));
            }
        }
    }

    /// The process that is written down, and when it began.
    pub(super) fn written(&self) -> Option<(i32, u64)> {
        let (mut text, mut file) = (String::new(), &self.file);
        file.rewind().ok()?;
        file.take(64).read_to_string(&mut text).ok()?;
        read(&text)
    }

    /// Removes the file, whereupon the process ends.
    pub(super) fn remove(self) -> Result<()> {
        std::fs::remove_file(&self.path).map_err(Error::io("remove", &self.path))
    }

    /// The process, if it is still there.
    pub(super) fn holder(&self) -> Option<OwnedFd> {
        let (pid, born) = self.written()?;
        Process::born(pid, born).map(OwnedFd::from)
    }

    fn write(&self, pid: u32, born: u64) -> Result<()> {
        let mut file = &self.file;
        let mut write = || {
            file.rewind()?;
            file.set_len(0)?;
            file.write_all(format!("{pid} {born}\n").as_bytes())
        };
        write().map_err(Error::io("write", &self.path))
    }
}

/// What is written in the file: a process, and when it began.
pub(super) fn read(text: &str) -> Option<(i32, u64)> {
    let (pid, born) = text.trim().split_once(' ')?;
    Some((pid.parse().ok()?, born.parse().ok()?))
}

/// Starts the process, writes down which it is, and returns it.
pub(super) fn start(note: &Note, purpose: Purpose<'_>) -> Result<OwnedFd> {
    let what = format!("start the process that holds the {}", purpose.namespace());
    let mut child = Command::new("/proc/self/exe")
        .arg0(ARGV0)
        .arg(purpose.word())
        .arg(&note.path)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .current_dir("/")
        .spawn()
        .map_err(Error::system(what))?;
    match settle(note, &mut child, purpose) {
        Ok(pidfd) => Ok(pidfd),
        Err(error) => {
            // It ends when its stdin does.
            drop(child.stdin.take());
            let _ = child.wait();
            Err(error)
        }
    }
}

fn settle(note: &Note, child: &mut Child, purpose: Purpose<'_>) -> Result<OwnedFd> {
    let hold = || format!("hold the {}", purpose.namespace());
    let mut said = Vec::new();
    if let Some(stdout) = &mut child.stdout {
        let _ = stdout.read_to_end(&mut said);
    }
    if said != READY {
        // Nothing, from one that was killed.
        let number = std::str::from_utf8(&said).ok().and_then(|text| text.parse().ok());
        let errno = number.map_or(Errno::IO, Errno::from_raw_os_error);
        return Err(match purpose {
            Purpose::NewUser(..) | Purpose::User => super::no_namespace(errno),
            Purpose::NewNetwork | Purpose::Network => {
                Error::system(format!("make a {}", purpose.namespace()))(errno)
            }
        });
    }
    let id = child.id();
    if let Purpose::NewUser(user, plan) = purpose {
        plan.write(user, id)?;
    }
    let failed = || Error::system(hold())(Errno::SRCH);
    let pid = i32::try_from(id).map_err(|_| failed())?;
    let born = birth(pid).ok_or_else(failed)?;
    let held = Process::born(pid, born).ok_or_else(failed)?;
    note.write(id, born)?;
    let told = child.stdin.take().map(|mut stdin: ChildStdin| stdin.write_all(GO));
    told.transpose().map_err(Error::system(hold()))?;
    super::scope::shelter("pause", purpose.namespace(), id);
    Ok(held.into())
}

/// The whole life of that process. `args` are those after the name.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.collect();
    let [purpose, note] = args.as_slice() else { return ExitCode::from(125) };
    match hold(purpose.to_str().unwrap_or_default(), Path::new(note)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(errno) => {
            let mut stdout = std::io::stdout();
            let _ = write!(stdout, "{}", errno.raw_os_error());
            ExitCode::FAILURE
        }
    }
}

fn hold(purpose: &str, note: &Path) -> std::result::Result<(), Errno> {
    let _ = rustix::process::setsid();
    // Before it can be found by what is written there.
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC)?;
    let _ = inotify::add_watch(&watch, note, inotify::WatchFlags::DELETE_SELF)?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    match purpose {
        "make" => unshare(Kinds::USER)?,
        "make-network" => unshare(Kinds::NETWORK).and_then(|()| retire())?,
        "stay-network" => retire()?,
        _ => {}
    }
    rustix::io::write(stdio::stdout(), READY)?;
    stdio::dup2_stdout(&null)?;
    let mut told = [0; GO.len()];
    // Its parent has failed, or was killed, if it says nothing.
    if rustix::io::read(stdio::stdin(), &mut told) != Ok(GO.len()) {
        return Ok(());
    }
    stdio::dup2_stdin(&null)?;
    let mut buffer = [MaybeUninit::uninit(); 512];
    let mut events = inotify::Reader::new(&watch, &mut buffer);
    loop {
        match events.next() {
            // The file is gone, or the file system that it was on: nobody can find us any more.
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Leaves every mount behind, and every capability. Whoever has started us may have been among a container's mounts, which would be there
/// as long as we are; and a program of few capabilities may open the namespaces of a process that has no more (ptrace(2),
/// "Ptrace access mode checking"): pasta has given most of its own up by then.
fn retire() -> std::result::Result<(), Errno> {
    const EMPTY: &str = "/tmp";
    unshare(Kinds::MOUNT)?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::RDONLY;
    mount("nman", EMPTY, "tmpfs", flags, None)?;
    chdir(EMPTY)?;
    pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    let clear = |set| caps::clear(None, set).map_err(|_| Errno::PERM);
    clear(CapSet::Effective).and_then(|()| clear(CapSet::Permitted))
}
