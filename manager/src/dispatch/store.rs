//! The commands for images, for the files of containers, and for all that is on disk.

use super::{confirmed, lines, several, shown};
use crate::said::{placed, print, tell};
use nman::build::BuilderPrune;
use nman::cli::{BuilderCommand, Command, ImageCommand, ManifestCommand, SystemCommand};
use nman::error::Result;
use nman::images::{ImagePrune, prune_report};
use nman::settings::Settings;
use nman::system::SystemPrune;
use nman::{
    build, commit, cp, diff, events, export, images, import, info, load, manifest, rmi, save,
    system, tag,
};

/// Runs the command, if it is one of these.
pub(super) fn dispatch(settings: &Settings, command: &Command) -> Result<u8> {
    match command {
        Command::Build(args) => print(&build::build(settings, args)?).map(|()| 0),
        Command::Commit(args) => print(&commit::commit(settings, args)?).map(|()| 0),
        Command::Cp(args) => {
            tell(&cp::cp(settings, args)?.unwrap_or_default());
            Ok(0)
        }
        Command::Diff(args) => print(&diff::diff(settings, &args.container)?).map(|()| 0),
        Command::Export(args) => export::export(settings, args).map(|()| 0),
        Command::Save(args) => save::save(settings, args).map(|()| 0),
        Command::Load(args) => print(&load::load_archive(settings, args)?).map(|()| 0),
        Command::Import(args) => print(&import::import(settings, args)?).map(|()| 0),
        Command::Tag(args) => tag::tag(settings, args).map(|()| 0),
        Command::Images(args) => print(&images::images(settings, args)?).map(|()| 0),
        Command::History(args) => print(&images::history(settings, args)?).map(|()| 0),
        Command::Rmi(args) => lines(rmi::rmi(settings, args)?),
        Command::Manifest(command) => manifests(settings, command),
        Command::Image(command) => image(settings, command),
        Command::Builder(BuilderCommand::Prune(args)) => {
            let prune = BuilderPrune::new(args)?;
            if !args.force && !confirmed(prune.warning())? {
                return Ok(0);
            }
            print(&prune.run(settings)?).map(|()| 0)
        }
        Command::System(command) => system(settings, command),
        // Whoever calls this has all the others.
        _ => Ok(0),
    }
}

fn manifests(settings: &Settings, command: &ManifestCommand) -> Result<u8> {
    let text = match command {
        ManifestCommand::Create(args) => manifest::create(settings, args)?,
        ManifestCommand::Add(args) => manifest::add(settings, args)?,
        ManifestCommand::Annotate(args) => manifest::annotate(settings, args)?,
        ManifestCommand::Remove(args) => manifest::remove(settings, args)?,
        ManifestCommand::Rm { lists } => return lines(manifest::rm(settings, lists)?),
        ManifestCommand::Exists { list } => {
            return Ok(u8::from(!manifest::exists(settings, list)?));
        }
        ManifestCommand::Push(args) => manifest::push(settings, args)?,
        ManifestCommand::Inspect(args) => manifest::inspect(settings, args)?,
    };
    print(&text).map(|()| 0)
}

fn image(settings: &Settings, command: &ImageCommand) -> Result<u8> {
    match command {
        ImageCommand::Inspect(args) => {
            let (text, errors) = images::inspect(settings, args)?;
            print(&text)?;
            several(errors).map(|()| 0)
        }
        ImageCommand::Prune(args) => {
            let prune = ImagePrune::new(args)?;
            if !args.force && !confirmed(prune.warning())? {
                return Ok(0);
            }
            let (lines, freed) = prune.run(settings)?;
            print(&prune_report(&lines, freed)).map(|()| 0)
        }
        // Its other commands have been given their short names.
        _ => Ok(0),
    }
}

fn system(settings: &Settings, command: &SystemCommand) -> Result<u8> {
    match command {
        SystemCommand::Df(args) => print(&system::df(settings, args)?).map(|()| 0),
        SystemCommand::Events(args) => shown(events::events(settings, args)),
        SystemCommand::Info(args) => print(&info::info(settings, args)?).map(|()| 0),
        SystemCommand::Prune(args) => {
            let prune = SystemPrune::new(args)?;
            if !args.force && !confirmed(&prune.warning())? {
                return Ok(0);
            }
            let (text, errors) = prune.run(settings)?;
            print(&text)?;
            several(errors).map(|()| 0)
        }
        SystemCommand::Check(args) => {
            let report = system::check(settings, args.repair)?;
            print(&placed(&report.text))?;
            Ok(u8::from(report.broken > 0))
        }
    }
}
