//! What is worth telling beside a command's result: collected here, for `main` to print once.
//!
//! A damaged record is met wherever containers or images are looked through, and keeps none of the others from being
//! shown; nothing but `main` prints. What the same command meets twice is told once.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

static NOTICES: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Remembers a sentence to be told.
pub fn note(text: String) {
    NOTICES.lock().unwrap_or_else(PoisonError::into_inner).insert(text);
}

/// What there is to tell, each thing once.
#[must_use]
pub fn take() -> Vec<String> {
    let mut notices = NOTICES.lock().unwrap_or_else(PoisonError::into_inner);
    std::mem::take(&mut *notices).into_iter().collect()
}
