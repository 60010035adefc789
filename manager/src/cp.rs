//! `nman cp`: files between a container and the host, or a tar archive on stdin or stdout.
//!
//! Both ends are trees that are entered by a descriptor of their root; from there on every step takes one name from an open
//! directory and follows no link (class I of the attack classes). Nothing of the container's image is run, and what changes
//! meanwhile can make a copy fail, but cannot lead it out of either tree.

pub(crate) mod attributes;
mod content;
pub(crate) mod place;
pub(crate) mod tree;

use crate::cli::CpArgs;
use crate::container::{Containers, Record};
use crate::error::{Error, Result};
use crate::event::emit_container;
use crate::listing::human_size;
use crate::output::Output;
use crate::privilege::is_in_namespace;
use crate::reach::{Reach, View};
use crate::settings::Settings;
use crate::user_namespace::as_root_of;
use bundle::layer::{self, Accepted, Clash, Limits, Options, OwnerMap, PackOptions, Whiteouts};
use place::{Destination, Found, Place, Plan, Root, Source, basename, plan};
use rustix::fs::Mode;
use std::os::fd::AsFd as _;
use tree::{Copier, Owners};

/// One end of a copy, as it was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    /// A path in a container.
    Container { name: String, path: String },
    /// A path here.
    Host(String),
    /// A tar archive on stdin or stdout.
    Stream,
}

impl End {
    /// `CONTAINER:PATH`, unless what stands before the colon can only be a path.
    fn parse(text: &str) -> Self {
        match text.split_once(':') {
            _ if text == "-" => Self::Stream,
            Some((name, path)) if !name.is_empty() && !name.starts_with(['/', '.']) => {
                Self::Container { name: name.to_owned(), path: path.to_owned() }
            }
            _ => Self::Host(text.to_owned()),
        }
    }
}

/// Copies; says what was copied, if that is to be said.
pub fn cp(settings: &Settings, args: &CpArgs) -> Result<Option<String>> {
    if args.source.is_empty() {
        return Err(Error::refusal("source can not be empty".to_owned()));
    }
    if args.target.is_empty() {
        return Err(Error::refusal("destination can not be empty".to_owned()));
    }
    // Modes are set as they are at the source.
    rustix::process::umask(Mode::empty());
    let ends = (End::parse(&args.source), End::parse(&args.target));
    if [&ends.0, &ends.1]
        .iter()
        .any(|end| matches!(end, End::Container { path, .. } if path.is_empty()))
    {
        // Not the root, which nobody means who has left something out.
        return Err(Error::refusal("bad parameter: path cannot be empty".to_owned()));
    }
    match ends {
        (End::Container { .. }, End::Container { .. }) => {
            Err(Error::refusal("copying between containers is not supported".to_owned()))
        }
        (End::Container { name, path }, target) => {
            let container = Container::open(settings, &name)?;
            let copied = match &target {
                End::Stream => container.pack(&path, args).map(|()| None)?,
                End::Host(to) => Some(container.copy_out(&path, to, args)?),
                End::Container { .. } => None,
            };
            container.tell(settings, "archive-path", &path);
            Ok(copied.and_then(|bytes| summary(args, bytes)))
        }
        (source, End::Container { name, path }) => {
            let container = Container::open(settings, &name)?;
            let copied = match &source {
                End::Stream => container.unpack(&path).map(|()| None)?,
                End::Host(from) => Some(container.copy_in(from, &path, args)?),
                End::Container { .. } => None,
            };
            container.tell(settings, "extract-to-dir", &path);
            Ok(copied.and_then(|bytes| summary(args, bytes)))
        }
        _ => Err(Error::Rejected {
            message: "must specify at least one container source".to_owned(),
            hint: Some("one of the two is `CONTAINER:PATH`".to_owned()),
        }),
    }
}

/// What is told of it, unless nobody looks on: what a script or cron calls is silent, as in Docker.
fn summary(args: &CpArgs, bytes: u64) -> Option<String> {
    let is_quiet = args.quiet.unwrap_or_else(|| !rustix::termios::isatty(rustix::stdio::stdout()));
    let text = format!("Successfully copied {} to {}\n", human_size(bytes), args.target);
    (!is_quiet).then_some(text)
}

/// The container's end.
struct Container {
    record: Record,
    typed: String,
    reach: Reach,
}

impl Container {
    fn open(settings: &Settings, name: &str) -> Result<Self> {
        let dir = Containers::open(&settings.containers())?.find(name)?;
        let record = dir.record()?;
        let reach = Reach::open(settings, &dir, &record, View::Whole)?;
        Ok(Self { record, typed: name.to_owned(), reach })
    }

    fn root(&self) -> Root<'_> {
        Root::Container { root: self.reach.root(), name: &self.typed }
    }

    /// Whose on the host what belongs to an id of the container is with `-a`. With root, ids stay numbers. Without, what is the user's
    /// on one side is the user's on the other, whoever it is in the container, and so for its further ids.
    fn kept(&self) -> OwnerMap {
        match is_in_namespace() {
            true => OwnerMap::default(),
            false => self.reach.owners().clone(),
        }
    }

    fn copy_out(&self, from: &str, to: &str, args: &CpArgs) -> Result<u64> {
        let owners = if args.archive {
            Owners::Kept(self.kept().inverse())
        } else {
            Owners::One(rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
        };
        copy(&self.root(), from, &Root::Host, to, args, owners)
    }

    fn copy_in(&self, from: &str, to: &str, args: &CpArgs) -> Result<u64> {
        let map = self.reach.owners();
        let (uid, gid) = map.map(0, 0);
        let owners = if args.archive { Owners::Kept(self.kept()) } else { Owners::One(uid, gid) };
        as_root_of(&self.record, || copy(&Root::Host, from, &self.root(), to, args, owners))
    }

    /// Writes what is at `path` to stdout.
    fn pack(&self, path: &str, args: &CpArgs) -> Result<()> {
        if rustix::termios::isatty(rustix::stdio::stdout()) {
            return Err(Error::refusal(
                "cowardly refusing to copy an archive to a terminal: redirect it".to_owned(),
            ));
        }
        let root = self.root();
        let source = root.source(path, args.follow_link)?;
        let mut output = Output::open(None, "copy")?;
        let Place { parent, name: own, .. } = &source.place;
        // What is unpacked from it goes where `path/.` says: into the directory, not into one of its name.
        let name = if source.contents {
            b".".to_vec()
        } else if args.follow_link && !path.ends_with('/') {
            own.clone()
        } else {
            basename(path).into_bytes()
        };
        let options = PackOptions {
            owner_map: self.reach.owners().inverse(),
            without_kernel: true,
            ..PackOptions::default()
        };
        layer::archive(parent.as_fd(), own, &name, &options, &mut output)
            .map_err(|error| failed(&args.source, &error))?;
        output.keep()
    }

    /// Unpacks the archive on stdin into the directory `path`.
    fn unpack(&self, path: &str) -> Result<()> {
        let place = self.root().destination(path)?.place;
        if place.found != Found::Directory {
            return Err(Error::Rejected {
                message: format!("destination \"{}:{path}\" must be a directory", self.typed),
                hint: None,
            });
        }
        let directory = place.open_directory().map_err(Error::system(format!("open `{path}`")))?;
        let owner_map = self.reach.owners().clone();
        let options = Options {
            whiteouts: Whiteouts::None,
            clash: Clash::Refused,
            owner_map,
            accepted: Accepted::Archives,
            limits: Limits::on_disk(&directory),
            ..Options::default()
        };
        as_root_of(&self.record, || {
            layer::unpack(std::io::stdin(), directory.as_fd(), &options)
                .map_err(|error| failed("-", &error))
        })?;
        Ok(())
    }

    fn tell(&self, settings: &Settings, action: &str, path: &str) {
        emit_container(settings, &self.record, action, &[("path", path)]);
    }
}

fn failed(what: &str, error: &layer::Error) -> Error {
    Error::Rejected { message: format!("cannot copy `{what}`: {error}"), hint: error.hint() }
}

/// Copies between two trees by Docker's rules for what the two paths mean.
fn copy(
    from: &Root<'_>,
    source: &str,
    to: &Root<'_>,
    target: &str,
    args: &CpArgs,
    owners: Owners,
) -> Result<u64> {
    let Source { place, contents } = from.source(source, args.follow_link)?;
    let Destination { place: there, must_be_directory } = to.destination(target)?;
    let is_directory = place.found == Found::Directory;
    let plan = plan(is_directory, contents, there.found, must_be_directory).map_err(|why| {
        Error::Rejected { message: format!("{why}: {}", to.show(target)), hint: None }
    })?;
    let mut copier = Copier::new(owners, matches!(from, Root::Container { .. }));
    let copied = match plan {
        Plan::As => copier.copy(&place, &there.parent, &there.name),
        Plan::Into => {
            let directory = there.open_directory().map_err(tree::Fault::at(&there.name, "open"));
            let name = basename(source);
            directory.and_then(|directory| copier.copy(&place, &directory, name.as_bytes()))
        }
        Plan::Merge => copier.merge(&place, &there),
    };
    copied.map_err(|fault| fault.explain(&args.source, &args.target))?;
    Ok(copier.bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_only_be_a_path_is_one() {
        let container = |name: &str, path: &str| End::Container {
            name: name.to_owned(),
            path: path.to_owned(),
        };
        for (text, end) in [
            ("web:/etc", container("web", "/etc")),
            ("web:", container("web", "")),
            ("-", End::Stream),
            ("/a:b", End::Host("/a:b".to_owned())),
            ("./a:b", End::Host("./a:b".to_owned())),
            ("../a:b", End::Host("../a:b".to_owned())),
            ("plain", End::Host("plain".to_owned())),
        ] {
            assert_eq!(End::parse(text), end, "{text}");
        }
    }
}
