//! What a new container's monitor is asked to do: from the command line and the image to a [`Supervision`]. Pure.

pub mod log;

use crate::cli::SupervisionArgs;
use crate::container::{Dir, Record, RestartPolicy, Supervision};
use crate::error::{Error, Result};
use crate::health;
use crate::store;
use std::collections::BTreeMap;

/// What options may depend on.
pub struct Inputs<'a> {
    /// What was typed.
    pub args: &'a SupervisionArgs,
    /// The image's HEALTHCHECK.
    pub health: Option<store::HealthCheck>,
    /// The container's labels.
    pub labels: &'a BTreeMap<String, String>,
    /// Its environment, as far as it is known.
    pub env: &'a [(String, Option<String>)],
}

/// Plans it. What contradicts itself is refused.
pub fn plan(inputs: Inputs<'_>) -> Result<Supervision> {
    let args = inputs.args;
    if args.rm && args.restart != RestartPolicy::No {
        return Err(Error::Usage(
            "conflicting options: cannot specify both --restart and --rm".to_owned(),
        ));
    }
    Ok(Supervision {
        restart: args.restart,
        log: log::plan(args, inputs.labels, inputs.env)?,
        health: health::plan(args, inputs.health)?,
        init: args.init,
    })
}

/// Where the init of `--init` is in a container: Docker's place.
pub const INIT: &str = "/sbin/docker-init";

/// Its copy in a container's directory.
pub const INIT_FILE: &str = "init";

/// Puts a copy of the init into the container's directory, if it is asked for.
pub fn provide_init(record: &Record, dir: &Dir) -> Result<()> {
    if record.supervision.init {
        dir.write_program(INIT_FILE, sys::init::PROGRAM, record.selinux.as_ref())?;
    }
    Ok(())
}

/// What is executed in a container: its command, or the init with the command behind it.
#[must_use]
pub fn command(record: &Record) -> Vec<String> {
    let init = [INIT.to_owned(), "--".to_owned()];
    let init = init.into_iter().filter(|_| record.supervision.init);
    init.chain(record.command.iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_removes_itself_is_not_restarted() {
        let args =
            SupervisionArgs { rm: true, restart: RestartPolicy::Always, ..Default::default() };
        let inputs = Inputs { args: &args, health: None, labels: &BTreeMap::new(), env: &[] };
        let error = plan(inputs).unwrap_err();
        assert_eq!(
            error.to_string(),
            "conflicting options: cannot specify both --restart and --rm"
        );
    }
}
