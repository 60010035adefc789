//! Yes and no, as Go reads them: what Docker takes for a flag, for an option of a network or of a log, and for a filter.

/// Its words for yes.
const ON: [&str; 6] = ["1", "t", "T", "true", "TRUE", "True"];
/// Its words for no.
pub(crate) const OFF: [&str; 6] = ["0", "f", "F", "false", "FALSE", "False"];

/// Go's `strconv.ParseBool`.
///
/// # Errors
/// In its words.
pub(crate) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        on if ON.contains(&on) => Ok(true),
        off if OFF.contains(&off) => Ok(false),
        _ => Err(format!("strconv.ParseBool: parsing {text:?}: invalid syntax")),
    }
}
