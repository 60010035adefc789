//! From a parsed command to the library's function for it, and from what that returns to what is printed.

use crate::said::{print, tell, warn};
use nman::cli::{
    Cli, Command, ContainerCommand, Global, LoginArgs, Names, SystemCommand, VolumeCommand,
};
use nman::error::{Error, Result};
use nman::run::Outcome;
use nman::settings::{Places, Settings};
use nman::{
    attach, complete, create, doctor, events, exec, info, inspect, kill, listing, login, logs,
    pause, port, prune, ps, rename, rm, rootless, run, start, stats, stop, terminal, top, transfer,
    unshare, update, volume, wait,
};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

mod network;
mod store;

/// Runs the command; returns the program's exit code. For a user it may enter a namespace, in which [`settings`] would say something else.
pub(crate) fn dispatch(cli: &Cli, settings: &Settings) -> Result<u8> {
    // Another process does the work, and finds its own way.
    if matches!(&cli.command, Command::Exec(args) if args.detach && !is_reaper()) {
        return exec::exec_in_background();
    }
    if settings.rootless && works_on_stores(&cli.command) {
        rootless::enter(settings, &mut warn)?;
    }
    call(cli, settings)
}

fn call(cli: &Cli, settings: &Settings) -> Result<u8> {
    match &cli.command {
        Command::Run(args) => match run::run(settings, args, &mut warn)? {
            Outcome::Ended(code) => Ok(code),
            Outcome::Running(id) => print(&format!("{id}\n")).map(|()| 0),
        },
        Command::Create(args) => {
            print(&(create::create_only(settings, args, &mut warn)? + "\n")).map(|()| 0)
        }
        Command::Start(args) if args.by_policy => lines(start::start_by_policy(settings, args)?),
        Command::Start(args) if args.attach || args.interactive => {
            start::start_attached(settings, args)
        }
        Command::Start(args) => lines(start::start_detached(settings, &args.names)?),
        Command::Attach(args) => attach::attach(settings, args),
        Command::Exec(args) => exec::exec(settings, args),
        Command::Ps(args) => print(&ps::ps(settings, args)?).map(|()| 0),
        Command::Logs(args) => shown(logs::logs(settings, args)),
        Command::Stop(args) => lines(stop::stop(settings, args)?),
        Command::Kill(args) => lines(kill::kill(settings, args)?),
        Command::Top(args) => print(&top::top(settings, args)?).map(|()| 0),
        Command::Stats(args) => shown(stats::stats(settings, args)),
        Command::Port(args) => print(&port::port(settings, args)?).map(|()| 0),
        Command::Events(args) => shown(events::events(settings, args)),
        Command::Restart(args) => lines(stop::restart(settings, args)?),
        Command::Pause(Names { names }) => lines(pause::pause(settings, names)?),
        Command::Unpause(Names { names }) => lines(pause::unpause(settings, names)?),
        Command::Wait(args) => lines(wait::wait(settings, args)?),
        Command::Rm(args) => lines(rm::rm(settings, args)?),
        Command::Rename(args) => rename::rename(settings, args).map(|()| 0),
        Command::Update(args) => lines(update::update(settings, args, &mut warn)?),
        Command::Volume(command) => volumes(settings, command),
        Command::Inspect(args) => {
            let (found, errors) = inspect::inspect(settings, args)?;
            print(&listing::objects(args.format.as_deref(), &found)?)?;
            several(errors).map(|()| 0)
        }
        Command::Pull(args) => print(&transfer::pull_named(settings, args)?).map(|()| 0),
        Command::Push(args) => print(&transfer::push_named(settings, args)?).map(|()| 0),
        Command::Login(args) => log_in(args),
        Command::Logout(args) => print(&login::log_out(args)?).map(|()| 0),
        Command::Network(command) => network::dispatch(settings, command),
        Command::Info(args) => print(&info::info(settings, args)?).map(|()| 0),
        Command::Version(args) => print(&info::version(settings, args)?).map(|()| 0),
        Command::Doctor(args) => {
            let (text, is_broken) = doctor::doctor(settings, args)?;
            print(&text).map(|()| u8::from(is_broken))
        }
        Command::Unshare(args) => unshare::unshare(settings, args),
        Command::Completion { shell } => print(shell.script()).map(|()| 0),
        Command::Complete { words } => {
            let root = <Cli as clap::CommandFactory>::command();
            print(&complete::complete(settings, root, words)).map(|()| 0)
        }
        Command::Container(ContainerCommand::Prune(args)) => {
            print(&prune::containers(settings, args)?).map(|()| 0)
        }
        // Its other commands have been given their short names.
        Command::Container(_) => Ok(0),
        command => store::dispatch(settings, command),
    }
}

/// `nman volume`
fn volumes(settings: &Settings, command: &VolumeCommand) -> Result<u8> {
    match command {
        VolumeCommand::Create(args) => print(&(volume::create(settings, args)? + "\n")).map(|()| 0),
        VolumeCommand::Ls(args) => print(&volume::ls(settings, args)?).map(|()| 0),
        VolumeCommand::Rm(args) => lines(volume::rm(settings, args)?),
        VolumeCommand::Inspect(args) => {
            let (found, errors) = volume::inspect(settings, &args.names)?;
            print(&listing::objects(args.format.as_deref(), &found)?)?;
            several(errors).map(|()| 0)
        }
        VolumeCommand::Prune(args) => {
            let which = if args.all { "all" } else { "anonymous" };
            let question = format!(
                "WARNING! This will remove {which} local volumes not used by at least one container."
            );
            if !args.force && !confirmed(&question)? {
                return Ok(0);
            }
            print(&volume::prune_report(&volume::prune(settings, args)?)).map(|()| 0)
        }
    }
}

/// Tells what was met on the way, unless the command has that for its result, or a shell is waiting for its words.
pub(crate) fn tell_notices(cli: &Cli) {
    let is_silent =
        matches!(cli.command, Command::Complete { .. } | Command::System(SystemCommand::Check(_)));
    if !is_silent {
        nman::notice::take().iter().for_each(|text| warn(text));
    }
}

/// Asks before something is removed. A no, as an end of the input is one, ends the command without a word and with 0, as
/// it ends Docker's.
fn confirmed(warning: &str) -> Result<bool> {
    terminal::confirm(&format!("{warning}\nAre you sure you want to continue? [y/N] "))
}

fn log_in(args: &LoginArgs) -> Result<u8> {
    tell(&login::log_in(args)?.warnings);
    print("Login Succeeded\n").map(|()| 0)
}

/// Whether this process is the one that `exec -d` has started to do the work.
fn is_reaper() -> bool {
    std::env::args_os().next().is_some_and(|name| name == exec::REAPER)
}

/// The path of one of our directories: absolute, since it is handed to processes with another working directory, and one that JSON can
/// name, since it is handed to the runtime in a config.json.
fn directory(path: &Path) -> Result<std::path::PathBuf> {
    let path = std::path::absolute(path).map_err(Error::io("find", path))?;
    if path.to_str().is_none() {
        return Err(Error::Rejected {
            message: format!("{path:?} cannot hold images and containers: the path is not UTF-8"),
            hint: Some(
                "a container's config.json could not name it: choose another directory with `--root` and `--state`"
                    .to_owned(),
            ),
        });
    }
    Ok(path)
}

/// The directories that commands work on.
pub(crate) fn settings(cli: &Cli) -> Result<Settings> {
    let rootless = rootless::is_called_by_user();
    let places = if rootless {
        let uid = rustix::process::geteuid().as_raw();
        let is_own = |path: &Path| {
            std::fs::metadata(path).is_ok_and(|data| data.is_dir() && data.uid() == uid)
        };
        Places::of_user(uid, &|name| std::env::var_os(name), &is_own)
    } else {
        Some(Places::of_root())
    };
    let Global { root, state, runtime, debug } = &cli.global;
    let homeless = || Error::Rejected {
        message: "cannot tell where images and containers are to be: HOME is not set".to_owned(),
        hint: Some("set HOME, or give --root and --state".to_owned()),
    };
    let place = |given: &Option<std::path::PathBuf>, default: Option<std::path::PathBuf>| {
        directory(&given.clone().or(default).ok_or_else(homeless)?)
    };
    Ok(Settings {
        root: place(root, places.as_ref().map(|places| places.root.clone()))?,
        state: place(state, places.map(|places| places.state))?,
        runtime: runtime.clone(),
        debug: *debug,
        rootless,
    })
}

/// Whether a command looks into what is on disk, where a user's files belong to the ids of the user's namespace, or at what runs.
fn works_on_stores(command: &Command) -> bool {
    !matches!(
        command,
        Command::Login(_)
            | Command::Logout(_)
            | Command::Version(_)
            | Command::Doctor(_)
            | Command::Info(_)
            | Command::System(SystemCommand::Info(_))
            | Command::Completion { .. }
            | Command::Complete { .. }
    )
}

/// One line for each that went well; then what went wrong.
fn lines((done, errors): (Vec<String>, Vec<Error>)) -> Result<u8> {
    print(&done.iter().map(|name| format!("{name}\n")).collect::<String>())?;
    several(errors).map(|()| 0)
}

/// What a command that prints as it goes along has come to. A reader that has gone has seen enough, as of one that prints at its end.
fn shown(result: Result<()>) -> Result<u8> {
    match result {
        Err(Error::System { source, .. }) if source.kind() == std::io::ErrorKind::BrokenPipe => {
            Ok(0)
        }
        result => result.map(|()| 0),
    }
}

fn several(mut errors: Vec<Error>) -> Result<()> {
    match errors.len() {
        0 => Ok(()),
        1 => Err(errors.remove(0)),
        _ => Err(Error::Several(errors)),
    }
}
