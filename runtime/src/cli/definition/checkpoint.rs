//! `checkpoint` and `restore`: what criu is asked for.

use super::{BUNDLE, CONSOLE_SOCKET, Command, Flag, NO_PIVOT, PID_FILE, short, switch, value};

const IMAGE_PATH: Flag =
    value("image-path", "DIR", "the directory of the images (default: ./checkpoint)");
const WORK_PATH: Flag =
    value("work-path", "DIR", "the directory of criu's log and statistics (default: the images')");
const TCP_ESTABLISHED: Flag = switch("tcp-established", "take open TCP connections along");
const EXT_UNIX_SK: Flag =
    switch("ext-unix-sk", "allow unix sockets whose other end is outside of the container");
const SHELL_JOB: Flag = switch("shell-job", "allow a session or terminal of the caller's");
const LAZY_PAGES: Flag = switch("lazy-pages", "bring memory over when it is first used");
const FILE_LOCKS: Flag = switch("file-locks", "take file locks along");
const CGROUPS_MODE: Flag = value(
    "manage-cgroups-mode",
    "MODE",
    "what criu does with cgroups: `soft` (default), `full`, `strict` or `ignore`",
);
const EMPTY_NS: Flag =
    value("empty-ns", "KIND", "make this namespace without what was in it: `network`");
const AUTO_DEDUP: Flag = switch("auto-dedup", "drop memory from the images that a later one has");

/// `nrun checkpoint`
pub(super) const CHECKPOINT: Command = Command {
    name: "checkpoint",
    operands: "ID",
    count: (1, 1),
    raw: false,
    about: "write a running container to disk, and end it",
    flags: &[
        IMAGE_PATH,
        WORK_PATH,
        value("parent-path", "DIR", "images of an earlier --pre-dump, relative to --image-path"),
        switch("leave-running", "do not end the container"),
        TCP_ESTABLISHED,
        switch("tcp-skip-in-flight", "leave out TCP connections that are not established yet"),
        switch("link-remap", "give a name to deleted files that are open, next to where they were"),
        EXT_UNIX_SK,
        SHELL_JOB,
        LAZY_PAGES,
        value(
            "status-fd",
            "FD",
            "with --lazy-pages: write a zero byte to FD when pages are served",
        ),
        value("page-server", "ADDRESS:PORT", "send memory to the page server there"),
        FILE_LOCKS,
        switch("pre-dump", "write memory only, and leave the container running"),
        CGROUPS_MODE,
        EMPTY_NS,
        AUTO_DEDUP,
    ],
};

/// `nrun restore`
pub(super) const RESTORE: Command = Command {
    name: "restore",
    operands: "ID",
    count: (1, 1),
    raw: false,
    about: "make a container from what `checkpoint` wrote",
    flags: &[
        CONSOLE_SOCKET,
        IMAGE_PATH,
        WORK_PATH,
        TCP_ESTABLISHED,
        switch("tcp-close", "restore TCP connections as closed ones"),
        EXT_UNIX_SK,
        SHELL_JOB,
        FILE_LOCKS,
        CGROUPS_MODE,
        BUNDLE,
        short('d', switch("detach", "do not wait for it to end")),
        PID_FILE,
        switch("no-subreaper", "do not become the parent of its orphaned processes"),
        NO_PIVOT,
        EMPTY_NS,
        AUTO_DEDUP,
        LAZY_PAGES,
        value("lsm-profile", "TYPE:NAME", "restore processes under this profile or label"),
        value("lsm-mount-context", "CONTEXT", "restore mounts with this SELinux context"),
    ],
};
