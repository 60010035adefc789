//! `nrun plan`: what `create` would do, without doing it.

use crate::args::Args;
use crate::cli::Parsed;
use crate::create;
use crate::error::Result;
use crate::host::{Asked, Host};
use crate::plan;

/// Shows the plan for a bundle.
///
/// # Errors
/// As `create`, as far as it can be known without doing anything.
pub fn run(parsed: &Parsed) -> Result<String> {
    let id = parsed.operands.first().map_or("container", String::as_str);
    let args = Args::for_id(id, parsed, true)?;
    let checked = create::check(&args)?;
    let asked = Asked::by(&checked.spec).with_options(&args.options);
    let host = Host::probe(asked)?;
    Ok(plan::create(&checked, &host, &args.options)?.to_string())
}
