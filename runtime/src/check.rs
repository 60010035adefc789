//! `nrun check`: everything that is wrong with a bundle, without making anything.

use crate::cli::Parsed;
use crate::create::{self, Args};
use crate::error::Result;

/// Checks a bundle.
///
/// # Errors
/// Every finding.
pub fn run(parsed: &Parsed) -> Result<String> {
    let args = Args::for_id("container", parsed, true)?;
    let checked = create::check(&args)?;
    let path = checked.config_path().display();
    let mut text: String =
        checked.warnings.iter().map(|warning| format!("{path}:{warning}\n")).collect();
    text.push_str(&format!("{path}: ok\n"));
    Ok(text)
}
