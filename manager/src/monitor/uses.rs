//! Events of what a container has while it runs: its volumes, and the networks that are no networks, `none` and `host`.
//!
//! Others are told by who connects to them. Told when the monitor begins and when it cleans up, so that each beginning has its end.

use crate::connection;
use crate::container::{Dir, MountKind, Record};
use crate::event::{Kind, emit};
use crate::settings::Settings;

/// They are used from now on.
pub(super) fn tell_begin(settings: &Settings, record: &Record, dir: &Dir) {
    connection::tell_alone(settings, "connect", record, dir);
    for point in record.mounts.iter().filter(|point| point.kind == MountKind::Volume) {
        let writable = point.writable.to_string();
        let attributes = [
            ("container", record.id.as_str()),
            ("destination", &point.destination),
            ("driver", "local"),
            ("propagation", &point.propagation),
            ("read/write", &writable),
        ];
        emit(settings, Kind::Volume, "mount", &point.name, &attributes);
    }
}

/// They are not any more.
pub(super) fn tell_end(settings: &Settings, record: &Record, dir: &Dir) {
    connection::tell_alone(settings, "disconnect", record, dir);
    for point in record.mounts.iter().filter(|point| point.kind == MountKind::Volume) {
        let attributes = [("container", record.id.as_str()), ("driver", "local")];
        emit(settings, Kind::Volume, "unmount", &point.name, &attributes);
    }
}
