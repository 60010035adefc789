//! `nbundle check`.

use super::{Failure, Outcome, print};
use crate::cli;

pub(crate) fn run(args: &cli::Check) -> Result<Outcome, Failure> {
    let loaded = bundle::load(&args.bundle)?;
    match bundle::check(loaded) {
        Ok(checked) => {
            for warning in &checked.warnings {
                print(format!("{}:{}", checked.config_path().display(), warning.as_warning()))?;
            }
            Ok(Outcome::Done)
        }
        Err(findings) => {
            print(findings.to_string().trim_end())?;
            Ok(Outcome::Faults)
        }
    }
}
