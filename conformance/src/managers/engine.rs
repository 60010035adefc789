//! The managers: how each is told to do the same.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::fixture::{Capture, find_tool};

/// Which manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Ours.
    Nman,
    /// Without a daemon, too.
    Podman,
    /// A client and two daemons.
    Docker,
    /// A client and a daemon.
    Ctr,
}

/// A manager that is there.
#[derive(Debug)]
pub struct Engine {
    /// Which one.
    pub kind: Kind,
    /// What it says of its version.
    pub version: String,
    program: PathBuf,
    globals: Vec<OsString>,
    env: Vec<(&'static str, OsString)>,
}

impl Kind {
    /// How tables call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Nman => "nman",
            Self::Podman => "podman",
            Self::Docker => "docker",
            Self::Ctr => "ctr",
        }
    }
}

/// Where the daemons listen, and where each manager keeps its things.
#[derive(Debug)]
pub(crate) struct Places {
    pub(crate) directory: PathBuf,
    pub(crate) containerd: PathBuf,
    pub(crate) docker: PathBuf,
}

impl Places {
    /// Everything below one directory.
    pub(crate) fn below(directory: &Path) -> Self {
        Self {
            containerd: directory.join("containerd.sock"),
            docker: directory.join("docker.sock"),
            directory: directory.to_owned(),
        }
    }
}

impl Engine {
    pub(super) fn nman(program: &Path, runtime: &Path, places: &Places) -> Self {
        let own = places.directory.join("nman");
        let env = vec![
            ("NMAN_ROOT", own.join("root").into()),
            ("NMAN_STATE", own.join("state").into()),
            ("NMAN_RUNTIME", runtime.into()),
        ];
        let mut engine = Self {
            kind: Kind::Nman,
            version: String::new(),
            program: program.to_owned(),
            globals: Vec::new(),
            env,
        };
        engine.version = engine.said(&["--version"]);
        engine
    }

    /// podman, with a runtime by path or name.
    pub(crate) fn podman(places: &Places, runtime: &Path) -> Option<Self> {
        let own = places.directory.join("podman");
        let globals = ["root", "runroot", "tmpdir"]
            .iter()
            .flat_map(|name| [OsString::from(format!("--{name}")), own.join(name).into()])
            .chain(
                ["--cgroup-manager", "cgroupfs", "--events-backend", "file", "--runtime"]
                    .map(Into::into),
            )
            .chain([runtime.into()])
            .collect();
        Self::peer(Kind::Podman, find_tool("podman")?, globals, Vec::new())
    }

    /// The client of the same package as the daemon: another one may come first in PATH.
    pub(crate) fn docker(places: &Places) -> Option<Self> {
        find_tool("dockerd")?;
        let client = Some(PathBuf::from("/usr/bin/docker")).filter(|path| path.exists());
        let host = format!("unix://{}", places.docker.display());
        let env = vec![("DOCKER_CONFIG", places.directory.join("docker-config").into())];
        Self::peer(
            Kind::Docker,
            client.or_else(|| find_tool("docker"))?,
            vec!["-H".into(), host.into()],
            env,
        )
    }

    pub(crate) fn ctr(places: &Places) -> Option<Self> {
        find_tool("containerd")?;
        let globals = vec!["-a".into(), places.containerd.clone().into()];
        Self::peer(Kind::Ctr, find_tool("ctr")?, globals, Vec::new())
    }

    /// The same with a further variable in its environment.
    pub(crate) fn with_env(mut self, name: &'static str, value: impl Into<OsString>) -> Self {
        self.env.push((name, value.into()));
        self
    }

    fn peer(
        kind: Kind,
        program: PathBuf,
        globals: Vec<OsString>,
        env: Vec<(&'static str, OsString)>,
    ) -> Option<Self> {
        let mut engine = Self { kind, version: String::new(), program, globals, env };
        engine.version = engine.said(&["--version"]);
        (!engine.version.is_empty()).then_some(engine)
    }

    fn said(&self, args: &[&str]) -> String {
        let output = Command::new(&self.program).args(args).output();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        text.unwrap_or_default().lines().next().unwrap_or_default().to_owned()
    }

    /// The manager with these arguments.
    pub(crate) fn command<S: AsRef<std::ffi::OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
    ) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.globals).args(args);
        for (name, value) in &self.env {
            command.env(name, value);
        }
        command
    }

    /// The same with everything captured and a limit on time.
    pub(crate) fn capture<S: AsRef<std::ffi::OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
    ) -> Capture {
        let capture = Capture::of(&self.program).args(&self.globals).args(args);
        self.env.iter().fold(capture, |capture, (name, value)| capture.env(name, value))
    }

    /// The same as words for a shell.
    pub(crate) fn command_line(&self, args: &[&str]) -> Vec<String> {
        let env = self.env.iter().map(|(name, value)| format!("{name}={}", value.display()));
        let program = [self.program.as_os_str()].into_iter();
        let words = program.chain(self.globals.iter().map(OsString::as_os_str));
        ["env".to_owned()]
            .into_iter()
            .chain(env)
            .chain(words.map(|word| word.to_string_lossy().into_owned()))
            .chain(args.iter().map(|arg| (*arg).to_owned()))
            .collect()
    }

    /// The same with its things in another place: a first pull has nothing to build on.
    pub(super) fn elsewhere(&self, directory: &Path) -> Self {
        let mut env = self.env.clone();
        for (name, value) in &mut env {
            match *name {
                "NMAN_ROOT" => *value = directory.join("root").into(),
                "NMAN_STATE" => *value = directory.join("state").into(),
                _ => {}
            }
        }
        let Self { kind, version, program, globals, .. } = self;
        Self {
            kind: *kind,
            version: version.clone(),
            program: program.clone(),
            globals: globals.clone(),
            env,
        }
    }

    /// Pulls and unpacks.
    pub(super) fn pull(&self, image: &str) -> Command {
        match self.kind {
            Kind::Nman => self.command(["pull", "-q", "--tls-verify=false", image]),
            Kind::Podman => self.command(["pull", "-q", "--tls-verify=false", image]),
            Kind::Docker => self.command(["pull", "-q", image]),
            Kind::Ctr => self.command(["images", "pull", "--plain-http", image]),
        }
    }

    /// Removes an image and what only it needs.
    pub(super) fn remove_image(&self, image: &str) -> Command {
        match self.kind {
            Kind::Ctr => self.command(["images", "rm", "--sync", image]),
            _ => self.command(["rmi", "-f", image]),
        }
    }

    /// `run --rm IMAGE true` without a network. `name` has not been used before.
    pub(super) fn run(&self, image: &str, name: &str) -> Command {
        match self.kind {
            Kind::Ctr => self.command(["run", "--rm", image, name, "true"]),
            // Its default of a million open files may be more than root has.
            Kind::Podman => self.command([
                "run",
                "--rm",
                "--network",
                "none",
                "--ulimit",
                "nofile=1024:1024",
                "--ulimit",
                "nproc=4096:4096",
                image,
                "true",
            ]),
            _ => self.command(["run", "--rm", "--network", "none", image, "true"]),
        }
    }

    /// The same on a bridge with a published port; nothing for a manager that has none.
    pub(super) fn run_published(&self, image: &str, port: u16) -> Option<Command> {
        let port = format!("{port}:80");
        match self.kind {
            Kind::Ctr => None,
            Kind::Podman => Some(self.command([
                "run",
                "--rm",
                "-p",
                &port,
                "--ulimit",
                "nofile=1024:1024",
                "--ulimit",
                "nproc=4096:4096",
                image,
                "true",
            ])),
            _ => Some(self.command(["run", "--rm", "-p", &port, image, "true"])),
        }
    }
}
