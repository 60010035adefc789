//! `nrun check`: everything that is wrong with a bundle, without making anything.

use crate::args::Args;
use crate::cli::Parsed;
use crate::create;
use crate::diagnosis::Subject;
use crate::error::{Error, Result};
use crate::host::{Asked, Host};
use crate::plan;
use bundle::Checked;

/// Checks a bundle: its config.json, whether this host and this version can do what it asks, and, as warnings, whether its program
/// could be executed.
///
/// # Errors
/// Every finding in config.json; or what cannot be planned, with the warnings.
pub fn run(parsed: &Parsed) -> Result<String> {
    let args = Args::for_id("container", parsed, true)?;
    let checked = create::check(&args)?;
    let path = checked.config_path().display();
    let known = checked.warnings.iter().map(|warning| format!("{path}:{}", warning.as_warning()));
    let mut lines: Vec<String> = known.chain(program(&checked)).collect();
    let host = Host::probe(Asked::by(&checked.spec).with_options(&args.options))?;
    match plan::create(&checked, &host, &args.options) {
        Ok(_) => {
            lines.push(format!("{path}: ok\n"));
            Ok(lines.join("\n"))
        }
        Err(error) if lines.is_empty() => Err(error),
        Err(error) => Err(Error::Unplanned { error: Box::new(error), warnings: lines.join("\n") }),
    }
}

/// What would keep the program from being executed. A warning: a hook or a volume may put it right before the start.
fn program(checked: &Checked) -> Option<String> {
    let subject = Subject::of_bundle(&checked.spec, &checked.bundle, &checked.rootfs)?;
    let diagnosis = subject.examine()?;
    let place = checked.position("/process/args");
    Some(format!(
        "{}:{}:{}: warning: /process/args: {}",
        checked.config_path().display(),
        place.line,
        place.column,
        diagnosis.hint()
    ))
}
