//! Where nrun is otherwise than Debian's runc, and why.

/// A difference.
pub(crate) struct Difference {
    /// The case; for a command's output `COMMAND: /pointer`.
    pub(crate) case: &'static str,
    /// Why.
    pub(crate) reason: &'static str,
}

const fn row(case: &'static str, reason: &'static str) -> Difference {
    Difference { case, reason }
}

pub(crate) const DIFFERENCES: &[Difference] = &[
    row(
        "create without an id",
        "the message has the command's usage, where runc prints its help to standard output",
    ),
    row(
        "start without an id",
        "the message has the command's usage, where runc prints its help to standard output",
    ),
    row(
        "kill without an id",
        "the message has the command's usage, where runc prints its help to standard output",
    ),
    row(
        "exec without an id",
        "the message has the command's usage, where runc prints its help to standard output",
    ),
    row(
        "state of two",
        "the message has the command's usage, where runc prints its help to standard output",
    ),
    row(
        "list with an operand",
        "the message has the command's usage, where runc prints its help to standard output",
    ),
    row(
        "an unknown option",
        "the option is named as it was typed, with both dashes, and where its help is",
    ),
    row(
        "an unknown global option",
        "the option is named as it was typed, with both dashes, and where its help is",
    ),
    row(
        "an option without its value",
        "what is missing is told first; runc takes the option for the container's id and counts operands",
    ),
    row(
        "restore without images",
        "the option is named as it was typed, with both dashes; Podman looks for the words before it",
    ),
    row(
        "list of a root that is missing",
        "a root that was asked for and is not there is a mistake; runc makes it, where later releases complain as well",
    ),
    row("a log in an empty format", "refused like any other that is not known"),
    row(
        "kill with a name that runc does not know",
        "the names of signal(7) are known, real-time signals and second names (`IOT`, `POLL`) among them",
    ),
    row("exec after dashes", "`--` before the command ends the options and is not a program"),
    row("exec as a user by name", "the option is named, and what it takes"),
    row("exec as an empty user", "refused: what a script has left empty would be root"),
    row(
        "exec with a group by name",
        "an error of `exec`, so the status is 255; runc's parser of options has 1 for it",
    ),
    row("exec with a variable without a value", "the option is named, and what it takes"),
    row("exec in a relative directory", "the option is named, and what it takes"),
    row("exec of a process that is missing", "what was to be done with the file is told"),
    row(
        "exec with a console socket that is missing",
        "what was to be done with the socket is told",
    ),
    row("ps with an option that it lacks", "the program is named that refused it"),
    row("update from a file that is missing", "what was to be done with the file is told"),
    row(
        "no PATH",
        "without PATH programs are looked for in `/usr/local/sbin` to `/bin`; runc finds none at all",
    ),
    row("an id with a slash", "the message has the id and the character that cannot be in it"),
    row("an empty id", "one form of message for every id that is none"),
    row(
        "kill with a number that is no signal",
        "refused before the process is looked for; the kernel's answer is `invalid argument`",
    ),
    row(
        "exec of a directory",
        "`is a directory` is what is wrong; runc's `permission denied` follows, of which engines make status 126",
    ),
    row(
        "run of a directory",
        "`is a directory` is what is wrong; runc's `permission denied` follows, of which engines make status 126",
    ),
    row(
        "exec in a missing directory",
        "it is not config.json that names the directory, but the command line",
    ),
    row("exec with a terminal that nobody takes", "the option that is missing is named"),
    row("a terminal that nobody takes", "the option that is missing is named"),
    row(
        "a relative working directory",
        "every fault of config.json is told at once, with line, column and JSON pointer",
    ),
    row(
        "no arguments",
        "every fault of config.json is told at once, with line, column and JSON pointer",
    ),
    row(
        "no process",
        "every fault of config.json is told at once, with line, column and JSON pointer",
    ),
    row(
        "no root",
        "every fault of config.json is told at once, with line, column and JSON pointer",
    ),
    row(
        "a root that is missing",
        "every fault of config.json is told at once, with line, column and JSON pointer",
    ),
    row(
        "a mount without a type",
        "every fault of config.json is told at once, with line, column and JSON pointer",
    ),
    row(
        "a namespace twice",
        "every fault of config.json is told at once, with line, column and JSON pointer",
    ),
    row(
        "a host name without its namespace",
        "every fault of config.json is told at once, with line, column and JSON pointer",
    ),
    row(
        "an unknown namespace",
        "every fault of config.json is told at once, with line, column and JSON pointer",
    ),
    row(
        "JSON that ends early",
        "every fault of config.json is told at once, with line, column and JSON pointer",
    ),
    row(
        "JSON of the wrong type",
        "every fault of config.json is told at once, with line, column and JSON pointer",
    ),
    row(
        "a version that is none",
        "runtime-spec asks for a version of SemVer 2.0.0; runc takes any text",
    ),
    row(
        "a working directory that is a file",
        "what failed is named: entering the directory, at /process/cwd, not making it",
    ),
    row(
        "a mount source that is missing",
        "found before anything is made, with the place in config.json",
    ),
    row(
        "no config.json",
        "the file is named with its whole path, and a hint says what a bundle is",
    ),
    row(
        "a bundle that is missing",
        "the file is named with its whole path, and a hint says what a bundle is",
    ),
    row(
        "a console socket without a terminal",
        "the place in config.json is named that has to be changed",
    ),
    row(
        "a pid file that cannot be",
        "the file is named as it was given, not the temporary one that is renamed to it",
    ),
    row("spec over a config.json", "the file is named with the directory that was given"),
    row(
        "state: /ociVersion",
        "the version that config.json has: runc shows its own specification's instead",
    ),
    row("state: /owner", "the name of the user, as in `list`: runc leaves it empty in `state`"),
    row("list: /ociVersion", "the version that config.json has, as in `state`"),
    row(
        "features: /annotations/io.github.seccomp.libseccomp.version",
        "nrun compiles filters itself: there is no libseccomp in it",
    ),
    row(
        "features: /annotations/org.opencontainers.runc.checkpoint.enabled",
        "an annotation in runc's name, about runc itself",
    ),
    row(
        "features: /annotations/org.opencontainers.runc.commit",
        "an annotation in runc's name, about runc itself",
    ),
    row(
        "features: /annotations/org.opencontainers.runc.version",
        "an annotation in runc's name, about runc itself",
    ),
    row(
        "features: /mountOptions",
        "options of file systems (`acl`, `iversion`) are handed on to them, not known by name",
    ),
    row("features: /ociVersionMax", "nrun has runtime-spec 1.3, Debian's runc a draft of 1.0.2"),
];
