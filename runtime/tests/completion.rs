//! The completion scripts, each in its own shell: commands, flags, choices, files, and ids of containers that are there.

use std::fmt::Write;
use std::fs;

use nconform::fixture::{BundleDir, Capture, Output, Runtime, Sandbox, scratch_dir};

/// What is typed, and what must be offered. `ROOT` is the directory of a container with the id `ID`.
const CASES: &[(&str, &[&str])] = &[
    ("nrun cre", &["create"]),
    ("nrun st", &["start", "state"]),
    ("nrun create --bun", &["--bundle"]),
    ("nrun --log-for", &["--log-format"]),
    ("nrun --log-format ", &["json", "text"]),
    ("nrun list --format t", &["table"]),
    ("nrun help ex", &["exec", "explain"]),
    ("nrun kill x KI", &["KILL"]),
    ("nrun completion f", &["fish"]),
    ("nrun create --bundle ROOT/some", &["something"]),
    ("nrun --root ROOT state ", &["ID"]),
    ("nrun --root ROOT exec ", &["ID"]),
];

/// A runtime with one container, and a directory beside it that a path can be completed to.
struct World {
    runtime: Runtime,
    _bundle: BundleDir,
    id: String,
}

impl World {
    fn new() -> World {
        let (runtime, bundle) = (Runtime::under_test(), BundleDir::new());
        let id = runtime.create(&bundle, [""; 0]).id().to_owned();
        fs::create_dir(runtime.root().join("something,else")).expect("a directory");
        World { runtime, _bundle: bundle, id }
    }

    fn fill(&self, text: &str) -> String {
        text.replace("ROOT", &self.runtime.root().display().to_string()).replace("ID", &self.id)
    }

    /// Runs a script in a shell that finds the binary under test.
    fn run(&self, shell: &str, script: &str) -> Output {
        let directory = scratch_dir();
        let file = directory.path().join("script");
        fs::write(&file, script).expect("write a script");
        let programs = self.runtime.program().parent().expect("a directory").display().to_string();
        let path = std::env::var("PATH").unwrap_or_default();
        Capture::of(nconform::fixture::tool(shell))
            .env("PATH", format!("{programs}:{path}"))
            .env("HOME", directory.path())
            .args([file])
            .run()
            .ok()
    }

    /// Every case has a line `TYPED => offered words`, and the words are among them.
    #[track_caller]
    fn check(&self, output: &Output) {
        let said = output.stdout();
        for (typed, offered) in CASES {
            let typed = self.fill(typed);
            let line = said.lines().find_map(|line| line.strip_prefix(&format!("{typed} => ")));
            let line = line.unwrap_or_else(|| panic!("nothing for `{typed}`: {output}"));
            for word in *offered {
                assert!(line.contains(&self.fill(word)), "`{typed}` offers: {line}");
            }
            assert!(!line.contains("Cargo"), "`{typed}` offers files: {line}");
        }
    }
}

#[test]
fn bash_completes_with_its_script() {
    let _sandbox = Sandbox::enter();
    let world = World::new();
    let mut script = String::from(
        "source <(nrun completion bash)\n\
         complete -p nrun >/dev/null || exit 1\n\
         ask() {\n\
             COMP_LINE=$1; read -ra COMP_WORDS <<<\"$1\"; [[ $1 == *' ' ]] && COMP_WORDS+=('')\n\
             COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMPREPLY=()\n\
             _nrun nrun \"${COMP_WORDS[COMP_CWORD]}\"; echo \"$1 => ${COMPREPLY[*]}\"\n\
         }\n",
    );
    for (typed, _) in CASES {
        let _ = writeln!(script, "ask '{}'", world.fill(typed));
    }
    // An equals sign is a word of its own there.
    let _ =
        writeln!(script, "COMP_WORDS=(nrun --root = {} state '')", world.runtime.root().display());
    script.push_str(
        "COMP_CWORD=5; COMPREPLY=(); _nrun nrun ''; echo \"equals => ${COMPREPLY[*]}\"\n",
    );
    script.push_str("COMP_WORDS=(nrun exec x ''); COMP_CWORD=3; COMPREPLY=(); _nrun nrun ''; echo \"exec => ${COMPREPLY[*]}\"\n");
    let output = world.run("bash", &script);
    world.check(&output);
    assert!(output.stdout().contains(&format!("equals => {}", world.id)), "{output}");
    assert!(output.stdout().contains("exec => \n"), "the container's own words: {output}");
}

#[test]
fn fish_completes_with_its_script() {
    let _sandbox = Sandbox::enter();
    let world = World::new();
    let mut script = String::from("nrun completion fish | source\n");
    for (typed, _) in CASES {
        let typed = world.fill(typed);
        let _ = writeln!(script, "echo '{typed} => '(complete -C '{typed}' | string join ' ')");
    }
    world.check(&world.run("fish", &script));
}

#[test]
fn zsh_completes_with_its_script() {
    let _sandbox = Sandbox::enter();
    let world = World::new();
    // A shell on a pseudo-terminal: its line editor lists what the key offers.
    let mut script = String::from(
        "zmodload zsh/zpty\n\
         mkdir $HOME/functions; nrun completion zsh > $HOME/functions/_nrun\n\
         zpty shell zsh -f -i\n\
         zpty -w shell \"PS1=; fpath=($HOME/functions \\$fpath); autoload -U compinit; compinit -u -D; bindkey '^I' list-choices; stty columns 200; LISTMAX=10000; echo REA''DY\"\n\
         zpty -r shell said '*READY*'\n\
         ask() {\n\
             local said='' part word missing=1 tries=0\n\
             zpty -w -n shell \"$1\"$'\\t'\n\
             while (( missing && tries++ < 200 )); do\n\
                 while zpty -r -t shell part; do said+=$part; done\n\
                 missing=0; for word in ${@:2}; do [[ $said == *$word* ]] || missing=1; done\n\
                 (( missing )) && sleep 0.1\n\
             done\n\
             print -r -- \"$1 => ${said//[$'\\n\\r']/ }\"\n\
             zpty -w -n shell $'\\x15'\n\
         }\n",
    );
    // What is typed ahead keeps it from showing a list: each answer is waited for.
    for (typed, offered) in CASES {
        let _ = writeln!(script, "ask '{}' {}", world.fill(typed), world.fill(&offered.join(" ")));
    }
    script.push_str("zpty -d shell\n");
    world.check(&world.run("zsh", &script));
}
