//! The kernel's word that it has killed a process of the container for want of memory.

use crate::cgroup::Groups;
use crate::container::Record;
use crate::event::emit_of_running;
use crate::settings::Settings;
use crate::source::Source;
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd};
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};

/// What is polled.
enum Bell {
    /// v1: an eventfd that was registered.
    Eventfd(OwnedFd),
    /// v2: the file itself.
    Events(File),
    /// Neither: the count is looked at when the container has ended.
    None,
}

/// Watches one life of a container.
pub struct OomWatch<'a> {
    settings: &'a Settings,
    record: &'a Record,
    groups: Groups,
    bell: Bell,
    seen: u64,
}

impl<'a> OomWatch<'a> {
    /// Begins to watch the container with this init. `None` when that has ended already, or has no cgroup of its own.
    pub fn new(settings: &'a Settings, record: &'a Record, init: i32) -> Option<Self> {
        let groups = Groups::of_memory(init).filter(|_| record.has_cgroup())?;
        let seen = groups.oom_kills();
        let bell = bell(&groups).unwrap_or(Bell::None);
        Some(Self { settings, record, groups, bell, seen })
    }

    /// Looks at the count; whether there ever was anything.
    pub fn look(&mut self) -> bool {
        let count = self.groups.oom_kills();
        if count > self.seen {
            self.seen = count;
            emit_of_running(self.settings, self.record, "oom", &[]);
        }
        self.seen > 0
    }
}

fn bell(groups: &Groups) -> std::io::Result<Bell> {
    let Some(path) = groups.file("memory", "memory.oom_control", "memory.events") else {
        return Ok(Bell::None);
    };
    let file = File::open(&path)?;
    if !groups.is_v1("memory") {
        return Ok(Bell::Events(file));
    }
    let eventfd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let control = path.with_file_name("cgroup.event_control");
    let line = format!("{} {}", eventfd.as_raw_fd(), file.as_raw_fd());
    OpenOptions::new().write(true).open(control)?.write_all(line.as_bytes())?;
    Ok(Bell::Eventfd(eventfd))
}

impl Source for OomWatch<'_> {
    fn watch<'b>(&'b self, watched: &mut Vec<PollFd<'b>>) {
        match &self.bell {
            Bell::Eventfd(eventfd) => watched.push(PollFd::new(eventfd, PollFlags::IN)),
            Bell::Events(file) => watched.push(PollFd::new(file, PollFlags::PRI)),
            Bell::None => {}
        }
    }

    fn turn(&mut self, _ready: &[PollFlags]) {
        let mut buffer = [0; 512];
        let rung = match &mut self.bell {
            Bell::Eventfd(eventfd) => rustix::io::read(&*eventfd, &mut buffer[..8]).is_ok(),
            // Reading it from its beginning is what makes it silent again.
            Bell::Events(file) => file.rewind().and_then(|()| file.read(&mut buffer)).is_ok(),
            Bell::None => false,
        };
        if !rung {
            // Its cgroup is gone.
            self.bell = Bell::None;
        }
        self.look();
    }
}
