//! `nman events`: what happened, and what happens.

use crate::cli::EventsArgs;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::event::{Event, Kind, is_current, path, path_before};
use crate::listing::{Filters, object};
use crate::settings::Settings;
use crate::table::plain;
use crate::terminal::write_out;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::stdio;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::mem::MaybeUninit;
use std::path::PathBuf;
use std::time::Duration;

const FILTERS: [&str; 7] = ["container", "event", "image", "label", "network", "type", "volume"];

/// Prints events: those since a time, then those that come, until a time.
pub fn events(settings: &Settings, args: &EventsArgs) -> Result<()> {
    let filters = Filters::parse(&args.filter, &FILTERS)?;
    // As in Docker: who says how long alone is shown what is kept.
    let from_the_first = args.until.map(|_| Timestamp::from_unix(0, 0));
    let since = args.since.or(from_the_first).unwrap_or_else(Timestamp::now);
    // A template that is wrong is found before anything is waited for.
    let form = Form::of(args.format.as_deref());
    let is_watched = match crate::container::make_private(&settings.state) {
        // Nothing has happened there, and nothing can.
        Err(error) if error.is_read_only() => false,
        made => made.map(|()| true)?,
    };
    let changes = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)
        .map_err(Error::system("watch for events"))?;
    let flags =
        WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR;
    if is_watched {
        inotify::add_watch(&changes, &settings.state, flags)
            .map_err(Error::io("watch", &settings.state))?;
    }
    let mut tail = Tail::open(path(settings));
    loop {
        let left = args.until.map(Timestamp::left);
        for event in tail.read_on()? {
            let in_time = event.time >= since && args.until.is_none_or(|until| event.time <= until);
            if in_time && fits(&event, &filters) {
                write_out(stdio::stdout(), form.line(&event)?.as_bytes())?;
            }
        }
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(());
        }
        let patience = left.map(|left| left + Duration::from_millis(1));
        let patience = patience.and_then(|left| Timespec::try_from(left).ok());
        let _ = poll(&mut [PollFd::new(&changes, PollFlags::IN)], patience.as_ref());
        let mut space = [MaybeUninit::uninit(); 4096];
        let mut changed = inotify::Reader::new(&changes, &mut space);
        while changed.next().is_ok() {}
    }
}

/// The file of events and the one before it, as one.
struct Tail {
    path: PathBuf,
    files: Vec<BufReader<File>>,
    partial: String,
}

impl Tail {
    fn open(path: PathBuf) -> Self {
        let files = [path_before(&path), path.clone()];
        let files = files.iter().filter_map(|path| File::open(path).ok()).map(BufReader::new);
        Self { files: files.collect(), path, partial: String::new() }
    }

    /// Everything that has not been read yet.
    fn read_on(&mut self) -> Result<Vec<Event>> {
        let mut events = Vec::new();
        loop {
            if self.files.is_empty() {
                match File::open(&self.path) {
                    Ok(file) => self.files.push(BufReader::new(file)),
                    // Nothing has happened since the last file was put aside.
                    Err(_) => return Ok(events),
                }
            }
            // Looked at before reading: a file that was put aside before is complete after.
            let last = self.files.len() == 1 && is_current(self.files[0].get_ref(), &self.path);
            self.read_file(&mut events)?;
            if last {
                return Ok(events);
            }
            self.files.remove(0);
        }
    }

    fn read_file(&mut self, events: &mut Vec<Event>) -> Result<()> {
        let Some(file) = self.files.first_mut() else { return Ok(()) };
        loop {
            let read = file.read_line(&mut self.partial).map_err(Error::io("read", &self.path))?;
            if read == 0 || !self.partial.ends_with('\n') {
                return Ok(());
            }
            // What somebody else has written there is not ours to report.
            events.extend(serde_json::from_str::<Event>(&self.partial));
            self.partial.clear();
        }
    }
}

fn fits(event: &Event, filters: &Filters) -> bool {
    let of_kind = |kind: Kind| event.kind == kind;
    let attribute = |name: &str| event.attributes.get(name).map_or("", String::as_str);
    let named = |wanted: &str| event.id == wanted || attribute("name") == wanted;
    // `exec_start: ls` and `health_status: healthy` are also found by what stands before the colon.
    let action = event.action.split(':').next().unwrap_or_default();
    filters.any("type", |wanted| wanted == event.kind.as_str())
        && filters.any("event", |wanted| wanted == event.action || wanted == action)
        && filters.labelled(&event.attributes)
        && filters.any("container", |wanted| {
            let of_container =
                if of_kind(Kind::Container) { event.id.as_str() } else { attribute("container") };
            !of_container.is_empty()
                && (named(wanted) || (wanted.len() >= 4 && of_container.starts_with(wanted)))
        })
        && filters.any("image", |wanted| match event.kind {
            Kind::Container => is_image(attribute("image"), wanted),
            Kind::Image => {
                named(wanted) || is_image(&event.id, wanted) || is_image(attribute("name"), wanted)
            }
            _ => false,
        })
        && filters.any("network", |wanted| of_kind(Kind::Network) && named(wanted))
        && filters.any("volume", |wanted| of_kind(Kind::Volume) && event.id == wanted)
}

/// Whether an image is the wanted one, with or without its tag.
fn is_image(name: &str, wanted: &str) -> bool {
    name == wanted || name.strip_prefix(wanted).is_some_and(|rest| rest.starts_with(':'))
}

/// How an event is printed.
enum Form<'a> {
    Sentence,
    Json,
    Template(&'a str),
}

impl<'a> Form<'a> {
    fn of(format: Option<&'a str>) -> Self {
        match format.map(str::trim) {
            None | Some("") => Self::Sentence,
            Some("json" | "{{json .}}" | "{{ json . }}") => Self::Json,
            Some(template) => Self::Template(template),
        }
    }

    fn line(&self, event: &Event) -> Result<String> {
        match self {
            Self::Sentence => Ok(sentence(event)),
            Self::Json => Ok(format!("{}\n", docker_object(event))),
            Self::Template(template) => {
                let text = object(template, &template_object(event))?;
                Ok(if text.ends_with('\n') { text } else { text + "\n" })
            }
        }
    }
}

fn sentence(event: &Event) -> String {
    let pairs: Vec<String> =
        event.attributes.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let attributes = match pairs.as_slice() {
        [] => String::new(),
        pairs => format!(" ({})", pairs.join(", ")),
    };
    let text =
        format!("{} {} {} {}{attributes}", event.time, event.kind.as_str(), event.action, event.id);
    plain(&text) + "\n"
}

fn nanoseconds(time: Timestamp) -> (i64, i64) {
    let (seconds, nanos) = time.unix();
    (seconds, seconds.saturating_mul(1_000_000_000).saturating_add(nanos.into()))
}

/// The object of Docker's API, with its older fields in front.
fn docker_object(event: &Event) -> Value {
    let (seconds, nanoseconds) = nanoseconds(event.time);
    let mut object = json!({});
    if event.kind == Kind::Container || event.kind == Kind::Image {
        object["status"] = json!(event.action);
        object["id"] = json!(event.id);
        if let Some(image) = event.attributes.get("image") {
            object["from"] = json!(image);
        }
    }
    object["Type"] = json!(event.kind.as_str());
    object["Action"] = json!(event.action);
    object["Actor"] = json!({ "ID": event.id, "Attributes": event.attributes });
    object["scope"] = json!("local");
    object["time"] = json!(seconds);
    object["timeNano"] = json!(nanoseconds);
    object
}

/// The same under the names that templates use.
fn template_object(event: &Event) -> Value {
    let (seconds, nanoseconds) = nanoseconds(event.time);
    json!({
        "Type": event.kind.as_str(),
        "Action": event.action,
        "Actor": { "ID": event.id, "Attributes": event.attributes },
        "Status": event.action,
        "ID": event.id,
        "From": event.attributes.get("image").map_or("", String::as_str),
        "Scope": "local",
        "Time": seconds,
        "TimeNano": nanoseconds,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: Kind, action: &str) -> Event {
        let attributes = [("name", "web"), ("image", "busybox:latest"), ("app", "x")];
        Event {
            kind,
            action: action.to_owned(),
            id: "0123456789".to_owned(),
            attributes: attributes.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect(),
            time: Timestamp::parse("2024-05-01T10:00:00Z").unwrap(),
        }
    }

    fn let_through(event: &Event, filters: &[&str]) -> bool {
        let filters: Vec<String> = filters.iter().map(|&text| text.to_owned()).collect();
        fits(event, &Filters::parse(&filters, &FILTERS).unwrap())
    }

    #[test]
    fn filters_of_one_key_are_alternatives_and_keys_must_all_hold() {
        let start = event(Kind::Container, "exec_start: ls");
        for good in [
            &["container=web"][..],
            &["container=0123"],
            &["event=die", "event=exec_start"],
            &["event=exec_start: ls"],
            &["image=busybox", "type=container"],
            &["label=app=x"],
        ] {
            assert!(let_through(&start, good), "{good:?}");
        }
        for bad in [
            &["container=we"][..],
            &["event=start"],
            &["type=image"],
            &["label=app=y"],
            &["image=busy"],
            &["volume=web"],
        ] {
            assert!(!let_through(&start, bad), "{bad:?}");
        }
    }

    #[test]
    fn an_event_reads_as_in_docker() {
        let die = event(Kind::Container, "die");
        assert_eq!(
            sentence(&die),
            "2024-05-01T10:00:00.000000000Z container die 0123456789 (app=x, image=busybox:latest, name=web)\n"
        );
        let object = docker_object(&die);
        assert_eq!((&object["status"], &object["from"]), (&"die".into(), &"busybox:latest".into()));
        assert_eq!(object["timeNano"], 1_714_557_600_000_000_000_i64);
        let form = Form::of(Some("{{.Actor.Attributes.name}} {{.Action}}"));
        assert_eq!(form.line(&die).unwrap(), "web die\n");
    }
}
