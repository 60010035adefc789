//! Writing the id mappings of the child's user namespace.

use crate::error::{Error, Result};
use crate::plan::idmap::{IdMap, IdMaps};
use rustix::process::Pid;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

/// Writes both, groups first denied where the kernel asks for that.
///
/// # Errors
/// When the kernel or the program refuses a mapping.
pub(crate) fn write(maps: &IdMaps, pid: Pid) -> Result<()> {
    if maps.deny_setgroups {
        write_file(pid, "setgroups", "deny")?;
    }
    write_one(pid, "uid_map", &maps.uid)?;
    write_one(pid, "gid_map", &maps.gid)
}

fn write_one(pid: Pid, name: &str, map: &IdMap) -> Result<()> {
    match &map.tool {
        Some(tool) => run(tool, pid, &map.lines),
        None => write_file(pid, name, &map.lines),
    }
}

fn write_file(pid: Pid, name: &str, text: &str) -> Result<()> {
    let path = format!("/proc/{}/{name}", pid.as_raw_nonzero());
    std::fs::write(&path, text)
        .map_err(|error| Error::io(format!("write {} to `{path}`", brief(text)), &error))
}

/// More of its complaint than this is of no help.
const COMPLAINT: u64 = 1024;

/// `newuidmap PID INSIDE OUTSIDE COUNT...`. It gets no environment: what it needs to know is in files of root's.
fn run(tool: &Path, pid: Pid, lines: &str) -> Result<()> {
    let failed = |error: &std::io::Error| Error::io(format!("execute `{}`", tool.display()), error);
    let mut child = Command::new(tool)
        .arg(pid.as_raw_nonzero().to_string())
        .args(lines.split_ascii_whitespace())
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(&error))?;
    let mut said = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        // Closed before we wait: whoever has more to say gets a broken pipe, and does not wait for us.
        let _ = stderr.take(COMPLAINT).read_to_end(&mut said);
    }
    let status = child.wait().map_err(|error| failed(&error))?;
    if status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&said);
    let said =
        said.lines().next().map_or_else(|| status.to_string(), |line| line.trim().to_owned());
    Err(Error::IdTool { tool: tool.to_owned(), said })
}

/// What was written, as it can stand in a line: a list of mappings may have thousands. The kernel reads no more than a page of them
/// (user_namespaces(7)).
fn brief(text: &str) -> String {
    let (lines, first) = (text.lines().count(), text.lines().next().unwrap_or_default());
    match lines {
        0 | 1 => format!("`{first}`"),
        _ if text.len() >= 4096 => {
            format!("{lines} mappings, {} bytes where 4095 are the most,", text.len())
        }
        _ => format!("{lines} mappings from `{first}` on"),
    }
}
