//! `nbundle check`.

use super::{Failure, Outcome, print};
use crate::cli;

pub(crate) fn run(args: &cli::Check) -> Result<Outcome, Failure> {
    let loaded = bundle::load(&args.bundle)?;
    match bundle::check(loaded) {
        Ok(_) => Ok(Outcome::Done),
        Err(findings) => {
            print(findings.to_string().trim_end());
            Ok(Outcome::Faults)
        }
    }
}
