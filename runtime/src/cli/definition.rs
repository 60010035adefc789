//! What there is: every command and every flag, with the words of its help.

mod checkpoint;
mod update;

/// A flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flag {
    /// Its name, without dashes.
    pub name: &'static str,
    /// A single letter for it.
    pub short: Option<char>,
    /// What its value is called; `None` for a switch.
    pub value: Option<&'static str>,
    /// What it does.
    pub about: &'static str,
}

/// A command.
#[derive(Debug, PartialEq, Eq)]
pub struct Command {
    /// Its name.
    pub name: &'static str,
    /// The operands, as they are shown.
    pub operands: &'static str,
    /// How many operands it takes at least and at most.
    pub count: (usize, usize),
    /// What follows the first operand belongs to somebody else, dashes and all.
    pub raw: bool,
    /// What it does.
    pub about: &'static str,
    /// Its flags.
    pub flags: &'static [Flag],
}

const fn switch(name: &'static str, about: &'static str) -> Flag {
    Flag { name, short: None, value: None, about }
}

const fn value(name: &'static str, value: &'static str, about: &'static str) -> Flag {
    Flag { name, short: None, value: Some(value), about }
}

const fn short(letter: char, flag: Flag) -> Flag {
    Flag { short: Some(letter), ..flag }
}

/// Flags before the command.
pub const GLOBALS: &[Flag] = &[
    value(
        "root",
        "DIR",
        "keep the state of containers in DIR, which should be on tmpfs (default: /run/nrun)",
    ),
    value("log", "FILE", "append errors to FILE as well as writing them to stderr"),
    value("log-format", "text|json", "the form of the log (default: text)"),
    switch("debug", "log what is done, to stderr if there is no --log"),
    value("rootless", "true|false|auto", "do without cgroups that may not be made (default: auto)"),
    switch("systemd-cgroup", "let systemd make the container's cgroup"),
    value("cgroup-manager", "cgroupfs|systemd|disabled", "who makes cgroups (default: cgroupfs)"),
    value("criu", "PATH", "the criu to checkpoint and restore with (default: criu, found by PATH)"),
    short('h', switch("help", "show help")),
    short('v', switch("version", "show the version")),
];

const BUNDLE: Flag = short(
    'b',
    value("bundle", "DIR", "the bundle: a directory with config.json (default: the current one)"),
);
const CONFIG: Flag = value("config", "FILE", "read this file and not the bundle's config.json");
const CONSOLE_SOCKET: Flag = value(
    "console-socket",
    "PATH",
    "send the master of the container's terminal to this unix socket",
);
const PIDFD_SOCKET: Flag =
    value("pidfd-socket", "PATH", "send a pidfd of the process to this unix socket");
const PID_FILE: Flag = value("pid-file", "FILE", "write the process id to FILE");
const NO_PIVOT: Flag =
    switch("no-pivot", "do not use pivot_root, for a host that runs from an initramfs");
const NO_NEW_KEYRING: Flag = switch("no-new-keyring", "keep the caller's session keyring");
const PRESERVE_FDS: Flag = value("preserve-fds", "N", "pass N more file descriptors, from 3 on");

/// All commands.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "check",
        operands: "",
        count: (0, 0),
        raw: false,
        about: "report everything that is wrong with a bundle",
        flags: &[BUNDLE, CONFIG],
    },
    Command {
        name: "completion",
        operands: "bash|zsh|fish",
        count: (1, 1),
        raw: false,
        about: "print a script that completes command lines in a shell",
        flags: &[],
    },
    checkpoint::CHECKPOINT,
    Command {
        name: "create",
        operands: "ID",
        count: (1, 1),
        raw: false,
        about: "make a container, whose process waits for `start`",
        flags: &[
            BUNDLE,
            CONFIG,
            CONSOLE_SOCKET,
            PIDFD_SOCKET,
            PID_FILE,
            NO_PIVOT,
            NO_NEW_KEYRING,
            PRESERVE_FDS,
        ],
    },
    Command {
        name: "delete",
        operands: "ID",
        count: (1, 1),
        raw: false,
        about: "remove a stopped container",
        flags: &[short(
            'f',
            switch("force", "kill it first, if it still runs; no error if it does not exist"),
        )],
    },
    Command {
        name: "events",
        operands: "ID",
        count: (1, 1),
        raw: false,
        about: "show what a container uses, and when it is out of memory, as lines of JSON",
        flags: &[
            value("interval", "TIME", "show it every TIME, such as 500ms or 1m (default: 5s)"),
            switch("stats", "show it once"),
        ],
    },
    Command {
        name: "exec",
        operands: "ID COMMAND [ARG...]",
        count: (1, usize::MAX),
        raw: true,
        about: "run a further process in a container",
        flags: &[
            CONSOLE_SOCKET,
            PIDFD_SOCKET,
            PID_FILE,
            PRESERVE_FDS,
            short(
                'p',
                value(
                    "process",
                    "FILE",
                    "take the process from a JSON file, in the form of config.json's `process`",
                ),
            ),
            short('d', switch("detach", "do not wait for it to end")),
            short('t', switch("tty", "give it a terminal")),
            value("cwd", "DIR", "its working directory in the container"),
            short('e', value("env", "NAME=VALUE", "set an environment variable; may be repeated")),
            short('u', value("user", "UID[:GID]", "run it as this user")),
            short(
                'g',
                value("additional-gids", "GID", "add a supplementary group; may be repeated"),
            ),
            value("apparmor", "PROFILE", "confine it by this AppArmor profile"),
            value("process-label", "LABEL", "give it this SELinux label"),
            switch("no-new-privs", "set no_new_privs"),
            short('c', value("cap", "CAP", "add a capability; may be repeated")),
            value(
                "cgroup",
                "[CONTROLLER,...:]PATH",
                "run it in a cgroup below the container's; may be repeated with other controllers",
            ),
            switch("ignore-paused", "run it in a paused container, where it waits for `resume`"),
        ],
    },
    Command {
        name: "explain",
        operands: "ID",
        count: (1, 1),
        raw: false,
        about: "tell why a container did not start, and what to do",
        flags: &[],
    },
    Command {
        name: "features",
        operands: "",
        count: (0, 0),
        raw: false,
        about: "show what this runtime can do, as JSON",
        flags: &[],
    },
    Command {
        name: "help",
        operands: "[COMMAND]",
        count: (0, 1),
        raw: false,
        about: "show help for nrun or for a command",
        flags: &[],
    },
    Command {
        name: "kill",
        operands: "ID [SIGNAL]",
        count: (1, 2),
        raw: false,
        about: "send a signal (default SIGTERM) to a container's init",
        flags: &[short('a', switch("all", "send it to every process of the container"))],
    },
    Command {
        name: "list",
        operands: "",
        count: (0, 0),
        raw: false,
        about: "list the containers under the root",
        flags: &[
            short('f', value("format", "table|json", "how to show them (default: table)")),
            short('q', switch("quiet", "show ids only")),
        ],
    },
    Command {
        name: "man",
        operands: "[COMMAND]",
        count: (0, 1),
        raw: false,
        about: "print a manual page, or write all of them",
        flags: &[value("output", "DIR", "write every page to DIR, as nrun.8, nrun-create.8, ...")],
    },
    Command {
        name: "pause",
        operands: "ID",
        count: (1, 1),
        raw: false,
        about: "stop all processes of a container, until `resume`",
        flags: &[],
    },
    Command {
        name: "plan",
        operands: "[ID]",
        count: (0, 1),
        raw: false,
        about: "show what `create` would do, and do nothing",
        flags: &[BUNDLE, CONFIG, NO_PIVOT, NO_NEW_KEYRING, PRESERVE_FDS],
    },
    Command {
        name: "ps",
        operands: "ID [PS OPTIONS]",
        count: (1, usize::MAX),
        raw: true,
        about: "list the processes of a container, as ps(1) shows them (default: ps -ef)",
        flags: &[short('f', value("format", "table|json", "how to show them (default: table)"))],
    },
    checkpoint::RESTORE,
    Command {
        name: "resume",
        operands: "ID",
        count: (1, 1),
        raw: false,
        about: "let the processes of a paused container go on",
        flags: &[],
    },
    Command {
        name: "run",
        operands: "ID",
        count: (1, 1),
        raw: false,
        about: "make a container and start it",
        flags: &[
            BUNDLE,
            CONFIG,
            CONSOLE_SOCKET,
            PIDFD_SOCKET,
            PID_FILE,
            NO_PIVOT,
            NO_NEW_KEYRING,
            PRESERVE_FDS,
            short('d', switch("detach", "do not wait for it to end")),
            switch("keep", "do not delete it when it ends"),
            switch("no-subreaper", "do not become the parent of its orphaned processes"),
        ],
    },
    Command {
        name: "spec",
        operands: "",
        count: (0, 0),
        raw: false,
        about: "write a config.json to start from",
        flags: &[
            short(
                'b',
                value("bundle", "DIR", "the directory to write it to (default: the current one)"),
            ),
            switch("rootless", "for a caller who is not root"),
        ],
    },
    Command {
        name: "start",
        operands: "ID",
        count: (1, 1),
        raw: false,
        about: "start a container that was created",
        flags: &[],
    },
    Command {
        name: "state",
        operands: "ID",
        count: (1, 1),
        raw: false,
        about: "show the state of a container, as JSON",
        flags: &[],
    },
    Command {
        name: "update",
        operands: "ID",
        count: (1, 1),
        raw: false,
        about: "change the limits of a container that runs",
        flags: update::FLAGS,
    },
];
