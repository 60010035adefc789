//! `nrun ps`: the processes of a container, as the host sees them.

use crate::args;
use crate::cli::Parsed;
use crate::error::{Error, Result};
use crate::id::ContainerId;
use crate::record::{self, Saved};
use std::process::Command;

/// Lists them: as JSON, or as the lines that ps(1) has about them.
///
/// # Errors
/// When the container does not exist or has no cgroup, and what ps(1) complains of.
pub fn run(parsed: &Parsed) -> Result<String> {
    let id = ContainerId::new(&parsed.operands[0])?;
    let json = parsed.wants_json()?;
    let (saved, _) = record::peek(&args::root(parsed), &id)?;
    let pids = processes(&saved)?;
    if json {
        // runc writes `null` for none, and parsers expect it.
        let shown = if pids.is_empty() { None } else { Some(pids) };
        return Ok(serde_json::to_string(&shown).unwrap_or_default() + "\n");
    }
    let own = parsed.operands.get(1..).filter(|own| !own.is_empty());
    let text = ps(own.map_or_else(|| vec!["-ef".to_owned()], <[String]>::to_vec))?;
    of_processes(&text, &pids)
}

fn processes(saved: &Saved) -> Result<Vec<i32>> {
    if saved.cgroups.is_empty() {
        return Err(Error::State(format!(
            "cannot list the processes of container `{}`: unable to get all container pids: it has no cgroup of its own",
            saved.id
        )));
    }
    let pids = saved.cgroup().processes()?;
    Ok(pids.iter().map(|pid| pid.as_raw_nonzero().get()).collect())
}

/// What ps(1) prints.
fn ps(args: Vec<String>) -> Result<String> {
    let output = Command::new("ps")
        .args(args)
        .output()
        .map_err(|error| Error::io("run the host's `ps`", &error))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    // runc's words, among them those for a status.
    let said = text(&[output.stdout, output.stderr].concat());
    let status = output.status.to_string().replace("exit status: ", "exit status ");
    Err(Error::State(format!("the host's `ps` failed: {status}: {}", said.trim())))
}

/// The heading, and the lines whose column `PID` names one of the processes.
fn of_processes(text: &str, pids: &[i32]) -> Result<String> {
    let mut lines = text.lines();
    let heading = lines.next().unwrap_or_default();
    let Some(column) = heading.split_whitespace().position(|title| title == "PID") else {
        return Err(Error::Usage("couldn't find PID field in ps output".into()));
    };
    let mut shown = format!("{heading}\n");
    for line in lines.filter(|line| !line.trim().is_empty()) {
        let pid = line.split_whitespace().nth(column).and_then(|pid| pid.parse().ok());
        let Some(pid) = pid else {
            return Err(Error::State(format!("unable to parse pid in ps output: `{line}`")));
        };
        if pids.contains(&pid) {
            shown.push_str(line);
            shown.push('\n');
        }
    }
    Ok(shown)
}

#[cfg(test)]
mod tests {
    use super::of_processes;

    #[test]
    fn the_column_is_found_by_its_title() {
        let text = "  PID COMMAND\n    1 init\n   12 sleep\n  123 x 12\n";
        assert_eq!(of_processes(text, &[12, 99]).unwrap(), "  PID COMMAND\n   12 sleep\n");
        let text = "UID PID PPID\nroot 1 12\nroot 12 1\n";
        assert_eq!(of_processes(text, &[12]).unwrap(), "UID PID PPID\nroot 12 1\n");
    }

    #[test]
    fn without_the_column_nothing_can_be_told() {
        let error = of_processes("COMMAND\nsleep\n", &[12]).unwrap_err().to_string();
        assert_eq!(error, "couldn't find PID field in ps output");
        assert!(of_processes("", &[]).is_err());
        assert!(of_processes("A PID\nb c\n", &[]).is_err());
    }
}
