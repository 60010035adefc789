//! RUN: a container as `nman run` has it, whose changes become a layer.
//!
//! It ends with the build, however the build ends, and is removed then: its monitor sees to that.

use super::state::Run;
use super::workshop::{self, Layer};
use crate::attach::{self, Shown, Wish};
use crate::cli::{BuildArgs, CreateArgs, NetworkChoice};
use crate::container::{Attached, Containers, Dir, MountPoint, Record};
use crate::create::create_for_build;
use crate::detach::DetachKeys;
use crate::diff;
use crate::error::{Error, Result};
use crate::forget::{Volumes, forget};
use crate::journal::{Format, Output, Reader, Selection};
use crate::monitor;
use crate::new_image::NewImage;
use crate::settings::Settings;
use crate::store::{Image, Store};
use clap::{Args as _, Command, FromArgMatches as _};
use serde_json::Value;

/// What a step is run by.
pub(super) struct Runner<'a> {
    pub(super) settings: &'a Settings,
    pub(super) store: &'a Store,
    pub(super) args: &'a BuildArgs,
    /// The build's session.
    pub(super) session: String,
    /// Its output is not shown, unless it fails.
    pub(super) quiet: bool,
}

/// A container that has ended, and that nobody else touches.
struct Ended<'a> {
    settings: &'a Settings,
    containers: Containers,
    record: Record,
    dir: Dir,
}

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        // What stays now the next build removes.
        let _ = forget(self.settings, &self.containers, &self.record, Volumes::Remove);
    }
}

impl Runner<'_> {
    /// Runs the command on the layers of `base`, with the configuration in `document` and these mounts and variables; what it has changed.
    pub(super) fn run(
        &self,
        run: &Run,
        (base, document): (&Image, &Value),
        (mounts, variables): (Vec<MountPoint>, Vec<(String, String)>),
        image: &NewImage<'_>,
        latest: Option<i64>,
    ) -> Result<Option<Layer>> {
        let mut args = self.create_args(run, base)?;
        args.storage.mount = mounts;
        args.process.env.extend(variables.into_iter().map(|(name, value)| (name, Some(value))));
        let created = create_for_build(
            self.settings,
            &args,
            configured(base, document)?,
            self.session.clone(),
        )?;
        let containers = Containers::open(&self.settings.containers())?;
        let (record, assembled) = created.assemble(self.settings)?;
        let dir = containers.dir(&record.id);
        let mut monitor = monitor::launch(self.settings, &record.id, assembled)?;
        let output = if self.quiet { Shown::Nowhere } else { Shown::OnStderr };
        let streams = Attached::to_output(false);
        let keys = DetachKeys::find(None)?;
        let wish = Wish { streams, terminal: false, signals: false, keys, redraw: false, output };
        let code = attach::follow(self.settings, &record.id, &mut monitor, wish)?;
        let _guard = dir.try_lock()?.ok_or_else(|| taken(&record))?;
        let ended = Ended { settings: self.settings, containers, record, dir };
        if code != 0 {
            if self.quiet {
                ended.show()?;
            }
            return Err(failed(run, code));
        }
        let changes = diff::of_container(self.store, &ended.dir, &ended.record)?;
        let upper = self.store.snapshots().layers(ended.record.id.as_str())?.upper;
        workshop::pack(image, &upper, changes, latest)
    }

    /// What a command is connected to, if it or the build says so.
    pub(super) fn network(&self, run: &Run) -> Result<Option<NetworkChoice>> {
        match &run.network {
            Some(name) => name.parse().map(Some).map_err(Error::Usage),
            None => Ok(self.args.network.clone()),
        }
    }

    /// The options of `create` that come to what the build was asked for.
    fn create_args(&self, run: &Run, base: &Image) -> Result<CreateArgs> {
        let words = ["run".to_owned(), base.id.to_string()];
        let matches = CreateArgs::augment_args(Command::new("run")).try_get_matches_from(words);
        let mut args = matches
            .and_then(|matches| CreateArgs::from_arg_matches(&matches))
            .map_err(|error| Error::refusal(error.to_string()))?;
        args.words.extend(run.words.iter().cloned());
        args.process.entrypoint = Some(String::new());
        args.process.env = run
            .args
            .iter()
            .chain(&run.proxies)
            .map(|(name, value)| (name.clone(), Some(value.clone())))
            .collect();
        args.supervision.rm = true;
        args.security.privileged = run.insecure;
        args.network.network = self.network(run)?.into_iter().collect();
        args.network.add_host.clone_from(&self.args.add_host);
        args.resources.limits = self.args.limits.clone();
        args.resources.ulimit.clone_from(&self.args.ulimit);
        args.resources.cgroup_parent.clone_from(&self.args.cgroup_parent);
        args.storage.shm_size.clone_from(&self.args.shm_size);
        Ok(args)
    }
}

/// The image with the configuration that a step is to have: what is written to its volumes stays, and nobody asks for its health.
fn configured(base: &Image, document: &Value) -> Result<Image> {
    let mut document = document.clone();
    if let Some(config) = document["config"].as_object_mut() {
        for key in ["Volumes", "ExposedPorts", "StopSignal"] {
            config.remove(key);
        }
    }
    let config = serde_json::from_value(document).map_err(|error| {
        Error::refusal(format!("the image's configuration cannot be used: {error}"))
    })?;
    Ok(Image { config, health: None, ..base.clone() })
}

fn taken(record: &Record) -> Error {
    Error::WrongState {
        message: format!("container {} of the build was taken by another nman", record.id.short()),
        hint: Some("build again".to_owned()),
    }
}

impl Ended<'_> {
    /// Shows what it has written.
    fn show(&self) -> Result<()> {
        let Some(format) = Format::of(&self.record.supervision.log) else { return Ok(()) };
        let mut out = Output::on_stderr();
        Reader::open(&self.dir.log(), format, Selection::default())?.read_all(&mut out)?;
        out.flush()
    }
}

/// A command that has ended with this code.
fn failed(run: &Run, code: u8) -> Error {
    let line = run.words.last().map_or("", |line| line.trim_start());
    let is_broken_list = run.is_shell && (line.starts_with("[\"") || line.starts_with("['"));
    Error::Rejected {
        message: format!(
            "The command '{}' returned a non-zero code: {code}",
            run.words.join(" ")
        ),
        hint: is_broken_list.then(|| {
            "a shell has read the list, as it is not JSON: that has each word in double quotes, and a comma between two"
                .to_owned()
        }),
    }
}
