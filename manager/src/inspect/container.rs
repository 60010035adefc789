//! A container, in Docker's structure.

use super::{network, state};
use crate::bundle::Confinement;
use crate::container::{Dir, LogDriver, MountKind, Record};
use crate::error::{Error, Result};
use crate::exec;
use crate::settings::Settings;
use crate::store::Store;
use serde_json::{Map, Value, json};
use std::path::PathBuf;

/// Everything about a container; with `size`, how much its own files take up, which is dear to find out.
pub(super) fn object(settings: &Settings, dir: &Dir, size: bool) -> Result<Value> {
    let (record, state) = (dir.record()?, dir.state()?);
    let confinement = Confinement::of(&record.host_config);
    let mut object = json!({
        "Id": record.id,
        "Created": record.created,
        "Path": record.command.first(),
        "Args": record.command.get(1..),
        "State": state::state(dir, &record, &state),
        "Image": record.image.id,
        "ResolvConfPath": dir.join("resolv.conf"),
        "HostnamePath": dir.join("hostname"),
        "HostsPath": dir.join("hosts"),
        "LogPath": log_path(&record, dir),
        "Name": format!("/{}", record.name),
        "RestartCount": state.supervised.restart_count,
        "Driver": "overlayfs",
        "Platform": "linux",
        "MountLabel": record.selinux.as_ref().map_or("", |labels| &labels.mount),
        "ProcessLabel": record.selinux.as_ref().map_or("", |labels| &labels.process),
        "AppArmorProfile": record.apparmor.as_deref().unwrap_or_default(),
        "ExecIDs": exec::ids(settings, &record.id),
        "HostConfig": host_config(&record, &confinement)?,
        "GraphDriver": graph_driver(settings, &record, dir),
        "Mounts": mounts(&record)?,
        "Config": config(&record)?,
        "NetworkSettings": network::settings(settings, dir, &record)?,
    });
    if size {
        let store = Store::open(&settings.root)?;
        let own = store
            .snapshots()
            .resume(record.id.as_str())
            .map_or(0, |prepared| crate::disk::usage(&prepared.upper));
        let of_image = store.find(&record.image.id).map_or(0, |image| image.size);
        object["SizeRw"] = own.into();
        object["SizeRootFs"] = (own + of_image).into();
    }
    Ok(object)
}

/// The file that the container's log is; a copy of what goes elsewhere is nobody's business.
fn log_path(record: &Record, dir: &Dir) -> PathBuf {
    match record.supervision.log.driver {
        LogDriver::JsonFile | LogDriver::Local => dir.log(),
        _ => PathBuf::new(),
    }
}

fn to_object(value: &impl serde::Serialize, record: &Record) -> Result<Map<String, Value>> {
    match serde_json::to_value(value) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Ok(Map::new()),
        Err(source) => Err(Error::Damaged { path: record.id.as_str().into(), source }),
    }
}

/// The recorded options, and those that are recorded elsewhere.
fn host_config(record: &Record, confinement: &Confinement) -> Result<Value> {
    let mut object = to_object(&record.host_config, record)?;
    let more = json!({
        "NetworkMode": record.network.network,
        "Runtime": record.runtime,
        // There are no links: containers on one network find each other by name.
        "Links": null,
        "MaskedPaths": confinement.masked,
        "ReadonlyPaths": confinement.read_only,
    });
    object.extend(to_object(&more, record)?);
    let mut object = Value::Object(object);
    let limits = &record.host_config.limits;
    if limits.memory > 0 && limits.memory_swap == 0 {
        // What it comes to, as Docker writes it down: an update of the memory takes it along here.
        object["MemorySwap"] = limits.memory.saturating_mul(2).into();
    }
    state::add_host_config(record, &mut object);
    network::add_host_config(record, &mut object);
    Ok(object)
}

fn config(record: &Record) -> Result<Value> {
    let mut object = to_object(&record.config, record)?;
    let attached = record.attachment.attached();
    let more = json!({
        "AttachStdin": attached.stdin,
        "AttachStdout": attached.stdout,
        "AttachStderr": attached.stderr,
        "Tty": record.attachment.terminal,
        "OpenStdin": record.attachment.stdin,
        "StdinOnce": record.attachment.stdin && record.attachment.stdin_once,
        "Image": record.image.name,
        "ExposedPorts": network::exposed(record),
        "Labels": record.labels,
        "Healthcheck": state::health_check(record),
        "StopTimeout": record.stop.timeout,
    });
    object.extend(to_object(&more, record)?);
    Ok(Value::Object(object))
}

/// What was mounted; as in Docker, file systems of `--tmpfs` are shown among the options only.
fn mounts(record: &Record) -> Result<Vec<Value>> {
    let shown = record.mounts.iter().filter(|point| {
        point.kind != MountKind::Tmpfs || !record.host_config.tmpfs.contains_key(&point.destination)
    });
    shown
        .map(|point| {
            let mut object = to_object(point, record)?;
            object.remove("Detail");
            Ok(Value::Object(object))
        })
        .collect()
}

/// The directories of the container's layers.
fn graph_driver(settings: &Settings, record: &Record, dir: &Dir) -> Value {
    let store = Store::open(&settings.root);
    let prepared = store.ok().and_then(|store| store.snapshots().resume(record.id.as_str()).ok());
    let data = prepared.map(|prepared| {
        let lower: Vec<String> =
            prepared.lower.iter().map(|path| path.display().to_string()).collect();
        json!({
            "LowerDir": lower.join(":"),
            "MergedDir": dir.rootfs(),
            "UpperDir": prepared.upper,
            "WorkDir": prepared.work,
        })
    });
    json!({ "Data": data, "Name": "overlay2" })
}
