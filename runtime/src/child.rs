//! The child: walks the plan's steps and becomes the container's process (invariant I2).
//!
//! It runs in a copy of the parent's memory made by clone3, with one thread. It does not parse, format or log; a failed step is
//! a number to the parent, which has the same plan and can say what it was.

pub(crate) mod attributes;
pub(crate) mod console;
mod copy_up;
mod file_systems;
mod hooks;
pub(crate) mod identity;
mod inherited;
mod passwd;
mod protected_paths;

use crate::plan::op::{Op, Source, Step};
use crate::wire::{self, Message};
use file_systems::propagation;
use protected_paths::Protection;
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::process::Rlimit;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use sys::clone;
use sys::fd::until_exec;
use sys::namespace::{self, Kinds};

/// Exit status of a child whose step failed; nobody sees it, because the parent reports the failure itself.
const FAILED: i32 = 1;

/// What the parent opened for the child before the clone.
#[derive(Debug, Default)]
pub struct Resources {
    /// The files by which the container's cgroups are entered, open for writing.
    pub cgroups: Vec<BorrowedFd<'static>>,
    /// The plan's bind sources.
    pub sources: Vec<Source>,
    /// For each of them that is carried as one, its detached mount tree.
    pub trees: Vec<Option<OwnedFd>>,
    /// The caller's limit on open files, where it was raised for the set-up.
    pub files: Option<Rlimit>,
    /// Where the master of the pseudo-terminal goes.
    pub console: Option<OwnedFd>,
    /// The socket on which the process waits for `start`.
    pub start: Option<OwnedFd>,
    /// The container's init, whose namespaces are joined (`exec`).
    pub init: Option<OwnedFd>,
    /// The user namespace that is joined after the mount namespace, in which its path leads elsewhere.
    pub user_namespace: Option<OwnedFd>,
    /// Files for what hooks write.
    pub hook_outputs: [Option<OwnedFd>; 2],
}

/// The child's state between its steps.
pub struct Child<'a> {
    steps: &'a [Step],
    resources: &'a Resources,
    /// Who is told of barriers and failures: the parent, or after `AwaitStart` the process that started us.
    peer: BorrowedFd<'a>,
    /// The host's procfs, where a mount namespace was joined: what is at /proc there is up to whoever is in it.
    procfs: Option<BorrowedFd<'static>>,
    /// The container's root.
    root: Option<BorrowedFd<'a>>,
    /// What its paths are protected with.
    protection: Protection,
    /// File systems that become read-only when everything is in them.
    read_only_last: Vec<BorrowedFd<'static>>,
    /// The tmpfs that was mounted last, as long as everything since was mounted right in it.
    fresh: Option<(&'a CStr, BorrowedFd<'static>)>,
    /// The working directory, as long as it is where a mount was made last: several often go into one directory.
    within: Option<RawFd>,
    /// The directory in which the last device or link was made: most of them go into the same one.
    directory: Option<(&'a CStr, BorrowedFd<'static>)>,
    /// What will be executed.
    executable: Option<&'a CStr>,
    /// `HOME=...` from the container's passwd.
    home: Option<CString>,
    /// The process is where it is to begin.
    in_working_directory: bool,
    /// The working directory is the container's root, since that was changed.
    at_root: bool,
}

/// What to do after a step.
enum Next {
    Step,
    /// The work goes on in another process.
    Exit,
    /// It failed, and the parent knows all about it.
    Failed,
}

impl<'a> Child<'a> {
    /// A child at the beginning of `steps`, which speaks to `peer`.
    pub fn new(steps: &'a [Step], resources: &'a Resources, peer: BorrowedFd<'a>) -> Child<'a> {
        Child {
            steps,
            resources,
            peer,
            procfs: None,
            root: None,
            protection: Protection::default(),
            read_only_last: Vec::new(),
            fresh: None,
            within: None,
            directory: None,
            executable: None,
            home: None,
            in_working_directory: false,
            at_root: false,
        }
    }

    /// Walks the steps from `first` on. Returns an exit status only if a step failed, or in a helper stage.
    pub fn run(&mut self, first: usize) -> i32 {
        let steps = self.steps;
        for (index, step) in steps.iter().enumerate().skip(first) {
            match self.apply(&step.op, index) {
                Ok(Next::Step) => {}
                Ok(Next::Exit) => return 0,
                Ok(Next::Failed) => return FAILED,
                Err(errno) => {
                    // If nobody listens any more there is nobody to tell.
                    let _ = Message::Failure { step: index, errno }.send(self.peer);
                    return FAILED;
                }
            }
        }
        FAILED
    }

    fn apply(&mut self, op: &'a Op, step: usize) -> Result<Next, Errno> {
        match op {
            Op::Wait(_) => self.wait(step)?,
            Op::NamespaceRoot { dumpable } => identity::namespace_root(*dumpable)?,
            Op::JoinCgroup => self.join_cgroup()?,
            Op::JoinNamespace { kind, path } => self.join_namespace(*kind, path)?,
            Op::JoinInit { kinds } => self.join_init(*kinds)?,
            Op::Unshare(kinds) => namespace::unshare(*kinds)?,
            Op::TimeOffsets { offsets } => self.time_offsets(offsets)?,
            Op::Fork { namespaces } => return self.fork(*namespaces, step),
            Op::NewSession => drop(rustix::process::setsid()?),
            Op::Loopback => sys::network::loopback_up()?,
            Op::Hostname(name) => rustix::system::sethostname(name.as_bytes())?,
            Op::Domainname(name) => rustix::system::setdomainname(name.as_bytes())?,
            Op::WriteProc { path, value } => self.write_proc(path, value.as_bytes())?,
            Op::Propagation { flags } | Op::RootPropagation { flags } => propagation(*flags)?,
            Op::Root { source, over_shared, at } => {
                self.attach_root(*source, *over_shared, at.as_ref())?;
            }
            Op::RootOver => self.root_over()?,
            Op::Hook(hook) => return self.hook(hook, step),
            Op::OpenRoot => self.open_root()?,
            Op::Mount(mount) => self.mount(mount)?,
            Op::Bind(bind) => self.bind(bind, step)?,
            Op::Remount(remount) => self.remount(remount)?,
            Op::ReadOnlyMounts => self.read_only_mounts()?,
            Op::Cgroups(cgroups) => self.cgroups(cgroups)?,
            Op::Directory { target } => drop(target.ensure(self.root()?, false)?),
            Op::Device(device) => self.device(device)?,
            Op::Symlink { target, to } => self.symlink(target, to)?,
            Op::Console(console) => self.console(*console)?,
            Op::Pivot { shared } => self.pivot(*shared)?,
            Op::MoveRoot { bare } => self.move_root(bare)?,
            Op::Chroot { path } => self.chroot(path)?,
            Op::ReadOnly { target } => self.read_only(target)?,
            Op::Mask(mask) => self.hide(mask)?,
            Op::ReadOnlyRoot => self.read_only_root()?,
            Op::Rlimit { resource, soft, hard } => identity::rlimit(None, *resource, *soft, *hard)?,
            Op::CallersFiles => self.callers_files()?,
            Op::Attribute(attribute) => attributes::apply(attribute)?,
            Op::Keyring(name) => identity::keyring(name)?,
            Op::NoNewPrivileges => rustix::thread::set_no_new_privs(true)?,
            Op::Bounding(keep) => identity::bounding(*keep)?,
            Op::StandardStreams { uid } => identity::standard_streams(*uid)?,
            Op::User { uid, gid, groups, may_be_denied } => {
                identity::user(*uid, *gid, groups.as_deref(), *may_be_denied)?;
            }
            Op::Capabilities(sets) => identity::capabilities(sets)?,
            Op::NotDumpable => identity::not_dumpable()?,
            Op::Umask(mask) => drop(rustix::process::umask(Mode::from_raw_mode(*mask))),
            Op::Home { uid } => self.home = passwd::home(*uid),
            Op::WorkingDirectory { path, last } => self.working_directory(path, *last)?,
            Op::FindExecutable { candidates, .. } => self.find_executable(candidates)?,
            Op::EndWhenAsked => sys::signals::end_when_asked(),
            Op::CloseSetUp { first } => self.close_set_up(*first)?,
            Op::AwaitStart => self.await_start()?,
            Op::CloseFds { first } => sys::fd::cloexec_from(*first)?,
            Op::Seccomp { program, flags, sent, .. } => self.seal(program, *flags, *sent, step)?,
            Op::Exec { argv, env } => return Err(self.exec(argv, env)),
        }
        Ok(Next::Step)
    }

    /// The container's root.
    fn root(&self) -> Result<BorrowedFd<'a>, Errno> {
        self.root.ok_or(Errno::BADF)
    }

    fn wait(&self, step: usize) -> Result<(), Errno> {
        Message::Waiting { step }.send(self.peer)?;
        wire::wait_go(self.peer)
    }

    /// `0` is the writer itself (cgroups(7)), so that no process id has to be right in anybody's namespace.
    fn join_cgroup(&self) -> Result<(), Errno> {
        for entrance in &self.resources.cgroups {
            rustix::io::write(entrance, b"0")?;
        }
        Ok(())
    }

    /// With a mount namespace the paths of the host are gone.
    fn join_namespace(&mut self, kind: Kinds, path: &CStr) -> Result<(), Errno> {
        if let Some(namespace) =
            self.resources.user_namespace.as_ref().filter(|_| kind == Kinds::USER)
        {
            return namespace::join(namespace.as_fd(), kind);
        }
        let namespace = self.open_proc(path, OFlags::RDONLY)?;
        if kind == Kinds::MOUNT {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            self.procfs = Some(until_exec(rustix::fs::open(c"/proc", flags, Mode::empty())?));
        }
        namespace::join(namespace.as_fd(), kind)
    }

    /// Opens a file of the host's, which is below /proc where a mount namespace was joined before.
    fn open_proc(&self, path: &CStr, flags: OFlags) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::CLOEXEC;
        let below = path.to_bytes().strip_prefix(b"/proc/");
        match (self.procfs, below) {
            (Some(procfs), Some(below)) => rustix::fs::openat(procfs, below, flags, Mode::empty()),
            _ => rustix::fs::open(path, flags, Mode::empty()),
        }
    }

    /// Writes a file that is there, in one write: kernel files take a value as a whole.
    fn write_proc(&self, path: &CStr, value: &[u8]) -> Result<(), Errno> {
        rustix::io::write(self.open_proc(path, OFlags::WRONLY)?, value).map(drop)
    }

    /// Offsets can be written only while nobody is in the namespace; entering it comes after (time_namespaces(7)).
    fn time_offsets(&mut self, offsets: &CStr) -> Result<(), Errno> {
        namespace::unshare(Kinds::TIME)?;
        self.write_proc(c"/proc/self/timens_offsets", offsets.to_bytes())?;
        self.join_namespace(Kinds::TIME, c"/proc/self/ns/time_for_children")
    }

    fn join_init(&self, kinds: Kinds) -> Result<(), Errno> {
        let init = self.resources.init.as_ref().ok_or(Errno::BADF)?;
        namespace::join(init.as_fd(), kinds)
    }

    /// The grandchild goes on with the next step. It first waits for a `go`, so that the parent knows of it before it
    /// speaks: both use the same socket.
    fn fork(&mut self, namespaces: Kinds, step: usize) -> Result<Next, Errno> {
        let options = clone::Options { namespaces, sibling: true, ..clone::Options::default() };
        let child = clone::spawn(&options, || match wire::wait_go(self.peer) {
            Ok(()) => self.run(step + 1),
            Err(_) => FAILED,
        })?;
        Message::Forked { step, pid: child.pid.as_raw_nonzero().get() }.send(self.peer)?;
        Ok(Next::Exit)
    }

    /// Waits until `start` connects and says go. Whoever connects and leaves again has not started us.
    fn await_start(&mut self) -> Result<(), Errno> {
        let socket = self.resources.start.as_ref().ok_or(Errno::BADF)?;
        // Whoever created us is gone, or about to be.
        sys::fd::close_given_up(self.peer)?;
        loop {
            let peer = match rustix::net::accept_with(socket, rustix::net::SocketFlags::CLOEXEC) {
                Err(Errno::INTR | Errno::CONNABORTED) => continue,
                peer => peer?,
            };
            if wire::wait_go(peer.as_fd()).is_ok() {
                self.peer = until_exec(peer);
                return Ok(());
            }
        }
    }

    /// What is open of the container's files was found before they were covered, and the caller's files are the host's: of both there is
    /// nothing left when the first path of the process is looked up, which may lead through /proc/self/fd or /proc/self/cwd. And `start`
    /// may never come: a detached mount tree that stays open keeps the host's mounts in use.
    fn close_set_up(&mut self, first: u32) -> Result<(), Errno> {
        if self.within.take().is_some() {
            rustix::process::chdir(c"/")?;
            self.at_root = true;
        }
        self.root = None;
        self.protection = Protection::default();
        self.directory = None;
        self.fresh = None;
        self.read_only_last.clear();
        let Resources { start, hook_outputs: [output, errors], .. } = self.resources;
        // A standard stream stands for one that is not there: it is not closed anyway.
        let number = |fd: Option<BorrowedFd<'_>>| fd.map_or(0, |fd| fd.as_raw_fd().unsigned_abs());
        let kept = [start, output, errors].map(|fd| fd.as_ref().map(OwnedFd::as_fd));
        let [start, output, errors] = kept.map(number);
        sys::fd::close_others(first, &mut [start, output, errors, number(Some(self.peer))])
    }

    /// Whoever follows us gets a copy of a listener's fd and answers before we go on. It is told by its number, which needs nothing of
    /// the filter, and taken from us; who may not do that is sent it.
    fn seal(
        &self,
        program: &[sys::seccomp::Instruction],
        flags: u32,
        sent: bool,
        step: usize,
    ) -> Result<(), Errno> {
        let Some(listener) = sys::seccomp::install(program, flags)? else { return Ok(()) };
        let listener = until_exec(listener);
        let message = Message::Listener { step, fd: listener.as_raw_fd() };
        if sent {
            message.send_with(listener, self.peer)?;
        } else {
            message.send(self.peer)?;
        }
        wire::wait_go(self.peer)
    }

    fn callers_files(&self) -> Result<(), Errno> {
        let set = |limit| rustix::process::setrlimit(rustix::process::Resource::Nofile, limit);
        self.resources.files.map_or(Ok(()), set)
    }

    fn find_executable(&mut self, candidates: &'a [CString]) -> Result<(), Errno> {
        self.executable = Some(find_executable(candidates)?);
        Ok(())
    }

    fn exec(&self, argv: &sys::exec::CStringArray, env: &sys::exec::CStringArray) -> Errno {
        let Some(executable) = self.executable else { return Errno::NOENT };
        sys::signals::reset_for_exec();
        match &self.home {
            Some(home) => {
                let mut env = env.clone();
                env.push(home.clone());
                sys::exec::execve(executable, argv, &env)
            }
            None => sys::exec::execve(executable, argv, env),
        }
    }
}

impl Child<'_> {
    /// Goes there once: at the first attempt, or at the last one where that was not permitted.
    fn working_directory(&mut self, path: &CStr, last: bool) -> Result<(), Errno> {
        let is_there = path == c"/" && self.at_root;
        if is_there || last && self.in_working_directory {
            return Ok(());
        }
        match working_directory(path) {
            Err(Errno::ACCESS | Errno::PERM) if !last => Ok(()),
            Err(errno) => Err(errno),
            Ok(()) => {
                self.in_working_directory = true;
                Ok(())
            }
        }
    }
}

/// Through no magic link: /proc/PID/fd of whoever set us up has what lies below the masks, too, and a directory of a volume can be swapped
/// for such a link at any time. After the change of directory, the path of where we are tells whether it is inside the root: the
/// kernel puts `(unreachable)` before it otherwise. A leaked fd of the host would lead out (CVE-2024-21626).
fn working_directory(path: &CStr) -> Result<(), Errno> {
    if path == c"/" {
        return rustix::process::chdir(path);
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::openat2(
        rustix::fs::CWD,
        path,
        flags,
        Mode::empty(),
        ResolveFlags::NO_MAGICLINKS,
    )?;
    rustix::process::fchdir(directory)?;
    match rustix::process::getcwd(Vec::new())?.to_bytes() {
        [b'/', ..] => Ok(()),
        _ => Err(Errno::XDEV),
    }
}

/// The first candidate that may be executed. A bare name that is found but may not be executed is looked for further, and the
/// refusal is reported if nothing better turns up, as execvp(3) does.
fn find_executable(candidates: &[CString]) -> Result<&CStr, Errno> {
    let mut refusal = Errno::NOENT;
    for candidate in candidates {
        match executable(candidate) {
            Ok(()) => return Ok(candidate),
            Err(Errno::NOENT | Errno::NOTDIR) if candidates.len() > 1 => {}
            Err(errno) => refusal = errno,
        }
    }
    Err(refusal)
}

fn executable(path: &CStr) -> Result<(), Errno> {
    let stat = rustix::fs::stat(path)?;
    if rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Directory {
        return Err(Errno::ISDIR);
    }
    rustix::fs::accessat(rustix::fs::CWD, path, rustix::fs::Access::EXEC_OK, AtFlags::EACCESS)
}
