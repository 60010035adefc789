//! `nman commit`: an image of what a container has changed, on top of the image that it was made from.
//!
//! The same content gives the same digests, whenever and wherever it is committed: the layer's entries are in the order of
//! their names, what was changed after the base image was made (or after SOURCE_DATE_EPOCH) gets that time, and the image
//! itself has it too. When it really was made stands in the store's index.

use crate::cli::{CommitArgs, SupervisionArgs};
use crate::clock::Timestamp;
use crate::container::{Containers, Dir, Record, Status};
use crate::error::{Error, Result};
use crate::event::emit_container;
use crate::new_image::{NewImage, history, source_date_epoch};
use crate::privilege::is_in_namespace;
use crate::settings::Settings;
use crate::store::{Image, Store};
use crate::{change, diff, health, inspect, pause, tag, user_namespace};
use bundle::digest::DiffId;
use bundle::layer::{self, PackOptions};
use bundle::tarball::Timespec;
use oci_spec::image::Descriptor;
use rustix::process::Signal;
use serde_json::{Map, Value, json};
use std::fs::File;
use std::os::fd::AsFd as _;
use sys::signals::{Mask, set_mask};

/// Makes the image; its id as a line.
pub fn commit(settings: &Settings, args: &CommitArgs) -> Result<String> {
    let name = args.name.as_deref().map(tag::target).transpose()?;
    let dir = Containers::open(&settings.containers())?.find(&args.container)?;
    let record = dir.record()?;
    let store = Store::open(&settings.root)?;
    let base = store.find(&record.image.id).map_err(|_| gone(&record))?;
    let time = match source_date_epoch()? {
        Some(seconds) => Timestamp::from_unix(seconds, 0),
        None => base
            .created
            .as_deref()
            .and_then(Timestamp::parse)
            .unwrap_or_else(|| Timestamp::from_unix(0, 0)),
    };
    let mut document = store.config_document(&base)?;
    let mut config = container_config(document["config"].take(), &base, &record)?;
    change::apply(&mut config, &args.change)?;
    document["config"] = config.into();

    let image = NewImage::begin(&store)?;
    let frozen =
        Frozen::hold(settings, &dir, &record, args.pause && !args.no_pause && record.has_cgroup())?;
    let layer = pack(&image, &store, &dir, &record, time);
    frozen.release()?;
    let layer = layer?;

    describe(&mut document, args, &record, &layer, time);
    let mut layers = base.layers.clone();
    layers.extend(layer.map(|(descriptor, _)| descriptor));
    let image = image.finish(&document, layers, name.as_ref())?;
    tell(settings, &record, &image, name.map(|name| name.to_string()));
    Ok(format!("{}\n", image.id))
}

fn gone(record: &Record) -> Error {
    Error::Rejected {
        message: format!(
            "cannot commit container {}: its image `{}` is gone",
            record.name, record.image.name
        ),
        hint: Some(format!(
            "pull the image again, or make one from the files: `nman export {} | nman import - NAME`",
            record.name
        )),
    }
}

fn tell(settings: &Settings, record: &Record, image: &Image, name: Option<String>) {
    let reference = name.unwrap_or_default();
    let attributes = [("imageID", image.id.as_str()), ("imageRef", &reference)];
    emit_container(settings, record, "commit", &attributes);
}

/// What the container has changed as a layer; nothing if that is nothing.
fn pack(
    image: &NewImage<'_>,
    store: &Store,
    dir: &Dir,
    record: &Record,
    time: Timestamp,
) -> Result<Option<(Descriptor, DiffId)>> {
    let changes = diff::of_container(store, dir, record)?;
    if changes.list.is_empty() {
        return Ok(None);
    }
    let path = store.snapshots().layers(record.id.as_str())?.upper;
    let upper = File::open(&path).map_err(Error::io("open", &path))?;
    let latest = Some(Timespec { tv_sec: time.unix().0, tv_nsec: 0 });
    // In the layer, files belong to the container's ids, whatever these are here.
    let owner_map = user_namespace::layer_owners(record).on_disk().inverse();
    let omit = changes.incidental;
    let user_marks = is_in_namespace();
    let options = PackOptions { latest, owner_map, omit, user_marks, ..PackOptions::default() };
    let (descriptor, diff_id, _) =
        image.layer(|output| layer::diff(upper.as_fd(), &options, output))?;
    Ok(Some((descriptor, diff_id)))
}

/// The image's own configuration with what the container was given instead.
fn container_config(of_image: Value, base: &Image, record: &Record) -> Result<Map<String, Value>> {
    let mut config = match of_image {
        Value::Object(config) => config,
        _ => Map::new(),
    };
    let own = &record.config;
    let mut set = |key: &str, value: Value, is_set: bool| {
        if is_set {
            config.insert(key.to_owned(), value);
        } else {
            config.remove(key);
        }
    };
    set("User", json!(own.user), !own.user.is_empty());
    set("Env", json!(own.env), !own.env.is_empty());
    set("Cmd", json!(own.cmd), own.cmd.is_some());
    set("Entrypoint", json!(own.entrypoint), own.entrypoint.is_some());
    set("WorkingDir", json!(own.working_dir), !own.working_dir.is_empty());
    set("Volumes", json!(own.volumes), !own.volumes.is_empty());
    set("Labels", json!(record.labels), !record.labels.is_empty());
    set("StopSignal", json!(own.stop_signal), own.stop_signal.is_some());
    let exposed = inspect::exposed(record);
    set("ExposedPorts", exposed.clone().into(), !exposed.is_empty());
    // The image's own words stay where they say what the container has.
    if record.supervision.health != health::plan(&SupervisionArgs::default(), base.health.clone())?
    {
        let check = match inspect::state::health_check(record) {
            Value::Null => json!({ "Test": ["NONE"] }),
            check => check,
        };
        set("Healthcheck", check, true);
    }
    Ok(config)
}

/// Adds what is new to the image's configuration, and takes out what older engines wrote of other containers.
fn describe(
    document: &mut Value,
    args: &CommitArgs,
    record: &Record,
    layer: &Option<(Descriptor, DiffId)>,
    time: Timestamp,
) {
    let created = time.to_string();
    if let Some(document) = document.as_object_mut() {
        for old in ["container", "container_config", "id", "parent", "parent_id", "docker_version"]
        {
            document.remove(old);
        }
    }
    document["created"] = created.clone().into();
    if let Some(author) = &args.author {
        document["author"] = author.as_str().into();
    }
    let mut entry =
        history(&created, &record.command.join(" "), args.message.as_deref(), layer.is_none());
    if let Some(author) = &args.author {
        entry["author"] = author.as_str().into();
    }
    match document["history"].as_array_mut() {
        Some(history) => history.push(entry),
        None => document["history"] = json!([entry]),
    }
    if let Some((_, diff_id)) = layer
        && let Some(diff_ids) = document["rootfs"]["diff_ids"].as_array_mut()
    {
        diff_ids.push(diff_id.to_string().into());
    }
}

/// A container that is paused as long as its changes are read. What would end us meanwhile has to wait, so that it is not left
/// behind like that.
struct Frozen<'a> {
    settings: &'a Settings,
    container: Option<(&'a Dir, &'a Record)>,
    mask: Option<Mask>,
}

impl<'a> Frozen<'a> {
    fn hold(
        settings: &'a Settings,
        dir: &'a Dir,
        record: &'a Record,
        wanted: bool,
    ) -> Result<Self> {
        if !wanted || dir.state()?.status != Status::Running {
            return Ok(Self { settings, container: None, mask: None });
        }
        let mask = set_mask(&Mask::of(&[Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT]));
        let frozen = Self { settings, container: Some((dir, record)), mask: Some(mask) };
        let (_, errors) = pause::pause(settings, &[record.id.to_string()])?;
        match errors.into_iter().next() {
            // It has ended, or somebody else has paused it.
            Some(_) if dir.state()?.status != Status::Running => Ok(frozen),
            Some(error) => Err(error),
            None => Ok(frozen),
        }
    }

    fn release(mut self) -> Result<()> {
        self.resume()
    }

    fn resume(&mut self) -> Result<()> {
        let Some((dir, record)) = self.container.take() else { return Ok(()) };
        let resumed = match dir.state()?.status {
            Status::Paused => pause::resume(self.settings, dir, record),
            _ => Ok(()),
        };
        if let Some(mask) = self.mask.take() {
            set_mask(&mask);
        }
        resumed
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        // The error that is on its way says more.
        let _ = self.resume();
    }
}
