//! `nman top`: the processes of a container, as the host's ps(1) shows them. Nothing of the image is run.

use crate::cgroup::Groups;
use crate::cli::TopArgs;
use crate::container::{Containers, Record};
use crate::error::{Error, Result};
use crate::event::emit_container;
use crate::process::{self, share_namespace};
use crate::settings::Settings;
use crate::table::{Table, plain};
use std::process::{Command, Stdio};

/// Docker's default.
const DEFAULT: [&str; 1] = ["-ef"];

/// The table: the head that ps prints, and its lines about processes of the container.
pub fn top(settings: &Settings, args: &TopArgs) -> Result<String> {
    let dir = Containers::open(&settings.containers())?.find(&args.name)?;
    let (record, state) = (dir.record()?, dir.state()?);
    let running = state.pid.filter(|_| state.status.has_process());
    let Some(processes) = running.and_then(|init| processes(&record, init)) else {
        return Err(Error::WrongState {
            message: format!("container {} is not running", record.id),
            hint: None,
        });
    };
    let options: Vec<&str> = match args.options.as_slice() {
        [] => DEFAULT.to_vec(),
        options => options.iter().map(String::as_str).collect(),
    };
    let table = select(&ps(&options)?, &processes)?;
    emit_container(settings, &record, "top", &[]);
    Ok(table)
}

/// Those of its cgroup; where it has none, those in its init's pid namespace, if that is not the host's, or mount namespace.
fn processes(record: &Record, init: i32) -> Option<Vec<i32>> {
    if record.has_cgroup() {
        return Some(Groups::of(init)?.processes());
    }
    let own = i32::try_from(std::process::id()).ok()?;
    let kind = if share_namespace(own, init, "pid") { "mnt" } else { "pid" };
    let mut all = process::all();
    all.retain(|&pid| share_namespace(pid, init, kind));
    Some(all)
}

fn ps(options: &[&str]) -> Result<String> {
    let output = Command::new("ps")
        .args(options)
        .stdin(Stdio::null())
        // A table as wide as it needs to be, in the language that its head is looked for in.
        .env("LC_ALL", "C")
        .env("COLUMNS", "10000")
        .output()
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::Rejected {
                message: "cannot run `ps`: executable file not found in PATH".to_owned(),
                hint: Some("install the host's package `procps`".to_owned()),
            },
            _ => Error::system("run `ps`")(error),
        })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let line = said.lines().find(|line| !line.trim().is_empty()).unwrap_or("it failed");
        return Err(Error::Rejected {
            message: format!(
                "ps {}: {}",
                options.join(" "),
                plain(line.trim_start_matches("error: "))
            ),
            hint: None,
        });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The head, and the lines whose PID is one of these. The last column may have spaces in it.
fn select(text: &str, processes: &[i32]) -> Result<String> {
    let mut lines = text.lines();
    let heads: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
    let Some(column) = heads.iter().position(|head| *head == "PID") else {
        return Err(Error::Rejected {
            message: "Couldn't find PID field in ps output".to_owned(),
            hint: Some("ask ps for the column `pid`, too".to_owned()),
        });
    };
    let mut table = Table::new(&heads);
    for line in lines {
        let cells = cells(line, heads.len());
        let pid = cells.get(column).and_then(|cell| cell.parse::<i32>().ok());
        if pid.is_some_and(|pid| processes.contains(&pid)) {
            table.push(cells.into_iter().map(|cell| plain(&cell)).collect());
        }
    }
    Ok(table.render())
}

fn cells(line: &str, count: usize) -> Vec<String> {
    let mut cells = Vec::new();
    let mut rest = line.trim();
    while cells.len() + 1 < count {
        let Some((cell, after)) = rest.split_once(char::is_whitespace) else { break };
        cells.push(cell.to_owned());
        rest = after.trim_start();
    }
    cells.push(rest.to_owned());
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_selected_by_the_column_of_process_ids() {
        let text =
            "UID   PID  PPID CMD\nroot    1     0 /sbin/init splash\nroot   70     1 sleep  1000\n";
        let table = select(text, &[70]).unwrap();
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 2, "{table}");
        assert!(lines[0].starts_with("UID  ") && lines[0].ends_with("   CMD"), "{table}");
        assert!(lines[1].starts_with("root ") && lines[1].ends_with("   sleep  1000"), "{table}");
        let error = select("USER CMD\nroot x\n", &[1]).unwrap_err();
        assert_eq!(error.to_string(), "Couldn't find PID field in ps output");
    }
}
