//! The longer words of help and manual: what a command is for, and what its command lines look like.
//!
//! Data beside the table of commands, by the command's name: parsing never reads it.

/// The groups in which help lists the commands, in this order.
pub(super) const GROUPS: &[(&str, &[&str])] = &[
    ("Life of a container", &["create", "start", "run", "exec", "kill", "delete"]),
    ("Looking at containers", &["list", "state", "ps", "events", "explain"]),
    ("Changing containers that run", &["pause", "resume", "update", "checkpoint", "restore"]),
    ("Bundles", &["spec", "check", "plan"]),
    ("nrun itself", &["features", "help", "completion", "man"]),
];

/// What nrun is, for the first page of the manual.
pub(super) const NRUN: &str = "nrun makes and runs containers as config.json of a bundle describes them: a directory \
    with that file and a root file system. It follows the OCI runtime specification 1.3, and takes the command \
    lines of runc, so that containerd, Docker, Podman and Kubernetes can use it in runc's place.";

/// The words for a command.
#[derive(Debug)]
pub(super) struct Words {
    /// The command.
    pub(super) command: &'static str,
    /// Paragraphs.
    pub(super) paragraphs: &'static [&'static str],
    /// Command lines, each with what it does.
    pub(super) examples: &'static [(&'static str, &'static str)],
}

const fn words(
    command: &'static str,
    paragraphs: &'static [&'static str],
    examples: &'static [(&'static str, &'static str)],
) -> Words {
    Words { command, paragraphs, examples }
}

/// The words for a command, if there are any.
pub(super) fn of(command: &str) -> Option<&'static Words> {
    WORDS.iter().find(|words| words.command == command)
}

const WORDS: &[Words] = &[
    words(
        "check",
        &[
            "Reports every fault of config.json with its line, column and JSON pointer, what this host or this version \
             cannot do, and, as warnings, what would go wrong at the start: a program that is not in the root file system, \
             is built for another machine, or whose interpreter is missing. Nothing is made.",
            "The exit status is 1 if there are faults. Warnings alone leave it at 0.",
        ],
        &[("nrun check --bundle /srv/web", "find out what is wrong with a bundle")],
    ),
    words(
        "checkpoint",
        &["Writes the state of a running container to files, from which `restore` continues it."],
        &[("nrun checkpoint --image-path /srv/image web1", "save a container and stop it")],
    ),
    words(
        "completion",
        &[
            "The script completes commands, flags, files and the ids of containers, under --root if it is given.",
        ],
        &[
            (
                "nrun completion bash > /etc/bash_completion.d/nrun",
                "install it for every user of bash",
            ),
            (
                "nrun completion zsh > /usr/local/share/zsh/site-functions/_nrun",
                "install it for every user of zsh",
            ),
            (
                "nrun completion fish > ~/.config/fish/completions/nrun.fish",
                "install it for yourself in fish",
            ),
        ],
    ),
    words(
        "create",
        &[
            "Makes everything of a container but the program: namespaces, mounts, cgroups. Its first process then waits for \
             `start`. A failed create leaves nothing behind; `nrun explain ID` tells more about the reason.",
        ],
        &[
            ("nrun create --bundle /srv/web web1", "make a container"),
            (
                "nrun create --bundle /srv/web --config /srv/debug.json web1",
                "the same with another config.json",
            ),
        ],
    ),
    words(
        "delete",
        &[
            "Removes the cgroups and the state of a container that has stopped or was never started. With --force it is \
             killed first, whatever it does, and an id that does not exist is no error: this also clears away what a \
             killed nrun has left.",
        ],
        &[("nrun delete --force web1", "remove a container, running or not")],
    ),
    words(
        "events",
        &[
            "Prints statistics of a container's cgroups at an interval, and a line when it ran out of memory, as JSON.",
        ],
        &[("nrun events --stats web1", "print the statistics once")],
    ),
    words(
        "exec",
        &[
            "Runs a process in the namespaces and cgroups of a container. What the command line leaves open is as for the \
             container's own process.",
            "The exit status is the process's own, or 255 if it could not be executed.",
        ],
        &[
            ("nrun exec web1 ps", "run a program"),
            ("nrun exec -t -e TERM=xterm web1 sh", "run a shell on a terminal"),
            ("nrun exec --detach --process process.json web1", "take the process from a file"),
        ],
    ),
    words(
        "explain",
        &[
            "Tells what was tried last under this id and failed, the most likely reason, and what to do. The root file system \
             is looked at again: is the program there, may it be executed, is it built for this machine, is its \
             interpreter there? For a container that started and ended at once it looks at how it ended, and whether \
             the kernel killed it for its memory limit.",
            "The last failures are kept for this in /run/nrun-failures (XDG_RUNTIME_DIR/nrun-failures for a user who is \
             not root): at most 32, until the same id is deleted with --force.",
        ],
        &[("nrun explain web1", "find out why web1 did not start")],
    ),
    words(
        "features",
        &[
            "The structure is that of the runtime specification: what this version can do on any host.",
        ],
        &[("nrun features | jq .linux.seccomp.archs", "the architectures that a filter may name")],
    ),
    words("help", &[], &[("nrun help create", "show the options of `create`")]),
    words(
        "kill",
        &["The signal is a number or a name, with or without SIG."],
        &[
            ("nrun kill web1 KILL", "end a container"),
            ("nrun kill --all web1 TERM", "tell every process of it to end"),
        ],
    ),
    words(
        "list",
        &["Lists the containers under --root."],
        &[
            ("nrun list", "a table"),
            ("nrun --root /run/containerd/runc/k8s.io list -q", "the ids of what Kubernetes runs"),
        ],
    ),
    words(
        "man",
        &["Without a command or --output it prints the first page."],
        &[
            ("nrun man create | man -l -", "read a page"),
            ("nrun man --output /usr/local/share/man/man8", "install all pages"),
        ],
    ),
    words(
        "pause",
        &["Freezes every process of a container until `resume`."],
        &[("nrun pause web1", "freeze a container")],
    ),
    words(
        "plan",
        &[
            "Prints the cgroups, the id mappings and every step of the first process in order, each with the place in \
             config.json that asks for it.",
        ],
        &[("nrun plan --bundle /srv/web", "show what `create` would do")],
    ),
    words(
        "ps",
        &["Shows the processes of a container: those in its cgroup, as the host sees them."],
        &[("nrun ps web1", "a table"), ("nrun ps --format json web1", "the process ids")],
    ),
    words(
        "restore",
        &["Continues a container from the files that `checkpoint` wrote."],
        &[(
            "nrun restore --detach --image-path /srv/image --bundle /srv/web web1",
            "continue a container",
        )],
    ),
    words(
        "resume",
        &["Thaws a container that `pause` froze."],
        &[("nrun resume web1", "let a container go on")],
    ),
    words(
        "run",
        &[
            "In the foreground, the exit status is that of the container's process, and the container is deleted when it \
             ends. With --detach nrun returns as soon as the program was executed.",
        ],
        &[
            ("nrun run --bundle /srv/web web1", "run a container in the foreground"),
            ("nrun run --detach --pid-file pid --bundle /srv/web web1", "run it in the background"),
        ],
    ),
    words(
        "spec",
        &[
            "The file is what `runc spec` writes, with few and listed differences. One that is there is never written over.",
        ],
        &[("nrun spec --rootless", "a config.json for a user who is not root")],
    ),
    words(
        "start",
        &["Returns when the program was executed, or tells why it could not be."],
        &[("nrun start web1", "start the program of a container")],
    ),
    words(
        "state",
        &["The state is that of the runtime specification, with runc's additions."],
        &[("nrun state web1", "show the state of a container")],
    ),
    words(
        "update",
        &[
            "Changes the limits of a container while it runs. Limits that are not given stay as they are.",
        ],
        &[
            ("nrun update --memory 64m web1", "change the limit on memory"),
            ("nrun update --resources - web1 < limits.json", "take all limits from a file"),
        ],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::COMMANDS;

    #[test]
    fn every_command_has_its_words_and_stands_in_one_group() {
        for command in COMMANDS {
            let words = of(command.name).unwrap_or_else(|| panic!("no words for {}", command.name));
            assert!(!words.examples.is_empty(), "no example for {}", command.name);
            let groups = GROUPS.iter().filter(|(_, names)| names.contains(&command.name)).count();
            assert_eq!(groups, 1, "{} stands in {groups} groups", command.name);
        }
    }

    #[test]
    fn examples_are_command_lines_that_are_taken() {
        for words in COMMANDS.iter().filter_map(|command| of(command.name)) {
            for (line, _) in words.examples {
                let line = line.split(['|', '>', '<']).next().unwrap_or_default();
                let args = line.split_whitespace().skip(1).map(str::to_owned);
                let parsed =
                    crate::cli::parse(args).unwrap_or_else(|error| panic!("{line}: {error}"));
                assert_eq!(
                    parsed.command.map(|command| command.name),
                    Some(words.command),
                    "{line}"
                );
            }
        }
    }
}
