//! `nbundle completion`.

use clap::CommandFactory as _;

use super::{Failure, Outcome, print};
use crate::cli::{Cli, Completion};

pub(crate) fn run(args: &Completion) -> Result<Outcome, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "nbundle", &mut script);
    print(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Outcome::Done)
}
