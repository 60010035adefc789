//! criu's messages (criu's images/rpc.proto): one request with its options, and the answers.
//!
//! The numbers of fields are criu's and never change. What a newer criu has and an older one does not is an unknown field to the
//! latter, which it skips: the version is asked before an option is relied on.

use super::protobuf::{self, Message};

/// What is asked for, and what an answer answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Write a process tree to disk.
    Dump = 1,
    /// Make one from what is on disk.
    Restore = 2,
    /// Write memory only.
    PreDump = 4,
    /// criu reports where it is, and waits for an answer.
    Notify = 6,
    /// Ask what kernel and criu can do.
    FeatureCheck = 9,
    /// Ask for criu's version.
    Version = 10,
}

impl Kind {
    const ALL: [Kind; 6] =
        [Kind::Dump, Kind::Restore, Kind::PreDump, Kind::Notify, Kind::FeatureCheck, Kind::Version];

    /// criu's name for it, which runc's errors have.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Dump => "DUMP",
            Kind::Restore => "RESTORE",
            Kind::PreDump => "PRE_DUMP",
            Kind::Notify => "NOTIFY",
            Kind::FeatureCheck => "FEATURE_CHECK",
            Kind::Version => "VERSION",
        }
    }
}

/// What criu does with the cgroups of what it dumps and restores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CgroupMode {
    /// Nothing.
    Ignore = 0,
    /// Restore those that it has to make itself.
    Soft = 3,
    /// Restore all, and their values too.
    Full = 4,
    /// Fail if there is one already.
    Strict = 5,
    /// criu's own default: soft.
    #[default]
    Default = 6,
}

/// A mount whose source is outside of the container: a dump gives its place the name, a restore gives the name a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalMount {
    /// Dump: where it is mounted. Restore: its name in the images.
    pub key: String,
    /// Dump: the name that it gets in the images. Restore: the host's path that is mounted for it.
    pub value: String,
}

/// Options of a dump, pre-dump or restore. File descriptors are numbers of this process, unless criu inherits them.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The directory of the images.
    pub images: i32,
    /// The directory of the log.
    pub work: Option<i32>,
    /// The root of what is dumped.
    pub pid: Option<i32>,
    /// Switches and numbers that are on, as (field, value).
    pub numbers: Vec<(u32, u64)>,
    /// Strings, as (field, value).
    pub strings: Vec<(u32, String)>,
    /// Where a page server listens.
    pub page_server: Option<(String, i32)>,
    /// External mounts.
    pub mounts: Vec<ExternalMount>,
    /// Cgroups that take the place of those in the images: controllers as in /proc/PID/cgroup, and path.
    pub cgroup_roots: Vec<(String, String)>,
    /// Inherited file descriptors and what they stand for in the images.
    pub inherited: Vec<(String, i32)>,
    /// Namespaces to join: criu's name of the kind, and file.
    pub join: Vec<(String, String)>,
}

/// Fields of `criu_opts`, which criu's rpc.proto explains.
#[expect(missing_docs, reason = "the names are criu's")]
pub mod field {
    pub const LEAVE_RUNNING: u32 = 3;
    pub const EXT_UNIX_SK: u32 = 4;
    pub const TCP_ESTABLISHED: u32 = 5;
    pub const EVASIVE_DEVICES: u32 = 6;
    pub const SHELL_JOB: u32 = 7;
    pub const FILE_LOCKS: u32 = 8;
    pub const LOG_LEVEL: u32 = 9;
    pub const LOG_FILE: u32 = 10;
    pub const NOTIFY_SCRIPTS: u32 = 12;
    pub const ROOT: u32 = 13;
    pub const PARENT_IMG: u32 = 14;
    pub const TRACK_MEM: u32 = 15;
    pub const AUTO_DEDUP: u32 = 16;
    pub const LINK_REMAP: u32 = 18;
    pub const MANAGE_CGROUPS: u32 = 24;
    pub const RST_SIBLING: u32 = 26;
    pub const MANAGE_CGROUPS_MODE: u32 = 34;
    pub const EXTERNAL: u32 = 37;
    pub const EMPTY_NS: u32 = 38;
    pub const FREEZE_CGROUP: u32 = 44;
    pub const TCP_SKIP_IN_FLIGHT: u32 = 46;
    pub const LAZY_PAGES: u32 = 48;
    pub const ORPHAN_PTS_MASTER: u32 = 50;
    pub const CONFIG_FILE: u32 = 51;
    pub const TCP_CLOSE: u32 = 52;
    pub const LSM_PROFILE: u32 = 53;
    pub const LSM_MOUNT_CONTEXT: u32 = 63;
}

impl Options {
    /// Turns a switch on, where `on` says so.
    pub fn switch(&mut self, field: u32, on: bool) -> &mut Options {
        if on { self.number(field, 1) } else { self }
    }

    /// Sets a number.
    pub fn number(&mut self, field: u32, value: u64) -> &mut Options {
        self.numbers.push((field, value));
        self
    }

    /// Sets a string, or adds one to those of a field that may be repeated.
    pub fn string(&mut self, field: u32, value: impl Into<String>) -> &mut Options {
        self.strings.push((field, value.into()));
        self
    }

    fn encode(&self) -> Message {
        let pair = |first: &str, second: &str| {
            let mut pair = Message::default();
            pair.string(1, Some(first)).string(2, Some(second));
            pair
        };
        let mut message = Message::default();
        message.number(1, self.images);
        if let Some(pid) = self.pid {
            message.number(2, pid);
        }
        if let Some(work) = self.work {
            message.number(17, work);
        }
        for (field, value) in &self.numbers {
            message.unsigned(*field, *value);
        }
        for (field, value) in &self.strings {
            message.string(*field, Some(value));
        }
        if let Some((address, port)) = &self.page_server {
            let mut server = Message::default();
            message.message(11, server.string(1, Some(address)).number(2, *port));
        }
        for mount in &self.mounts {
            message.message(23, &pair(&mount.key, &mount.value));
        }
        for (controllers, path) in &self.cgroup_roots {
            message.message(25, &pair(controllers, path));
        }
        for (key, fd) in &self.inherited {
            let mut inherited = Message::default();
            message.message(27, inherited.string(1, Some(key)).number(2, *fd));
        }
        for (kind, file) in &self.join {
            message.message(39, &pair(kind, file));
        }
        message
    }
}

/// A request for a dump, a pre-dump or a restore.
pub fn request(kind: Kind, options: &Options) -> Message {
    let mut request = Message::default();
    request.number(1, kind as i32).message(2, &options.encode());
    request
}

/// The question for criu's version.
pub fn version_request() -> Message {
    let mut request = Message::default();
    request.number(1, Kind::Version as i32);
    request
}

/// The question whether memory can be tracked, and brought over later.
pub fn feature_request() -> Message {
    let (mut request, mut features) = (Message::default(), Message::default());
    features.switch(1, true).switch(2, true);
    request.number(1, Kind::FeatureCheck as i32).message(5, &features);
    request
}

/// The answer to a notification.
pub fn notified(success: bool) -> Message {
    let mut answer = Message::default();
    answer.number(1, Kind::Notify as i32).switch(3, success);
    answer
}

/// What criu says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// What it answers; `None` for what we never ask.
    pub kind: Option<Kind>,
    /// Whether it was done.
    pub success: bool,
    /// Where criu is, with a notification: the name of a script that could be run.
    pub script: String,
    /// The process id that goes with a notification or a restore, in our pid namespace.
    pub pid: i32,
    /// criu's errno.
    pub errno: i32,
    /// criu's words for it.
    pub message: String,
    /// Whether memory can be tracked, and brought over later.
    pub features: (bool, bool),
    /// criu's version: 31701 is 3.17.1.
    pub version: i32,
}

/// Reads an answer; `None` when it is none.
pub fn response(bytes: &[u8]) -> Option<Response> {
    let mut response = Response::default();
    for (field, value) in protobuf::fields(bytes)? {
        match field {
            1 => response.kind = Kind::ALL.into_iter().find(|kind| *kind as i32 == value.number()),
            2 => response.success = value.number() != 0,
            4 => response.pid = pick(value.bytes(), 1)?.number(),
            5 => {
                response.script = pick(value.bytes(), 1)?.text();
                response.pid = pick(value.bytes(), 2)?.number();
            }
            7 => response.errno = value.number(),
            8 => {
                let on = |field| Some(pick(value.bytes(), field)?.number() != 0);
                response.features = (on(1)?, on(2)?);
            }
            9 => response.message = value.text(),
            10 => {
                let part = |field| Some(pick(value.bytes(), field)?.number().clamp(0, 99));
                response.version = part(1)? * 10_000 + part(2)? * 100 + part(4)?;
            }
            _ => {}
        }
    }
    Some(response)
}

/// The last value of a field, as the format has it; `Other` where it is missing.
fn pick(bytes: &[u8], wanted: u32) -> Option<protobuf::Value<'_>> {
    let found = protobuf::fields(bytes)?.into_iter().rev().find(|(field, _)| *field == wanted);
    Some(found.map_or(protobuf::Value::Other, |(_, value)| value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_what_was_asked_for_in_its_fields() {
        let mut options = Options { images: 7, pid: Some(42), ..Options::default() };
        options.switch(field::SHELL_JOB, true).switch(field::FILE_LOCKS, false);
        options.string(field::LOG_FILE, "dump.log");
        options.mounts.push(ExternalMount { key: "/data".into(), value: "/data".into() });
        options.page_server = Some(("::1".into(), 27));
        let bytes = request(Kind::Dump, &options);
        let outer = protobuf::fields(bytes.as_bytes()).unwrap();
        assert_eq!((outer[0].0, outer[0].1.number()), (1, 1));
        let inner = protobuf::fields(outer[1].1.bytes()).unwrap();
        let numbers: Vec<u32> = inner.iter().map(|(field, _)| *field).collect();
        assert_eq!(numbers, [1, 2, 7, 10, 11, 23]);
        assert_eq!(inner[3].1.bytes(), b"dump.log");
        assert_eq!(pick(inner[5].1.bytes(), 2).unwrap().bytes(), b"/data");
    }

    #[test]
    fn an_answer_is_read_whatever_else_it_has() {
        let mut notify = Message::default();
        notify.string(1, Some("post-restore")).number(2, 4711);
        let mut bytes = Message::default();
        bytes.number(1, 6).switch(2, true).message(5, &notify).string(99, Some("later"));
        let read = response(bytes.as_bytes()).unwrap();
        assert_eq!(read.kind, Some(Kind::Notify));
        assert!(read.success);
        assert_eq!((read.script.as_str(), read.pid), ("post-restore", 4711));

        let mut version = Message::default();
        version.number(1, 3).number(2, 17).number(4, 1);
        let mut bytes = Message::default();
        bytes.number(1, 10).switch(2, true).message(10, &version);
        assert_eq!(response(bytes.as_bytes()).unwrap().version, 31701);
        assert_eq!(response(b"\x08"), None);
    }
}
