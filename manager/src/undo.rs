//! What has to be undone when a later step fails, in reverse order.
//!
//! A step is pushed before it is taken (invariant I8). Undoing never stops at its first error: it goes on and
//! returns every one.

use crate::error::{Error, Result};

type Step<'a> = Box<dyn FnOnce() -> Result<()> + 'a>;

/// The steps taken so far.
#[derive(Default)]
pub struct Undo<'a> {
    steps: Vec<Step<'a>>,
}

impl<'a> Undo<'a> {
    /// Nothing to undo yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Remembers how to undo the step that is about to be taken.
    pub fn push(&mut self, step: impl FnOnce() -> Result<()> + 'a) {
        self.steps.push(Box::new(step));
    }

    /// Undoes everything, last step first, and returns `error` followed by whatever went wrong on the way back.
    #[must_use]
    pub fn after(self, error: Error) -> Error {
        let mut errors = vec![error];
        errors.extend(self.run());
        if errors.len() == 1 { errors.remove(0) } else { Error::Several(errors) }
    }

    /// Undoes everything, last step first; returns what went wrong.
    #[must_use]
    pub fn run(self) -> Vec<Error> {
        self.steps.into_iter().rev().filter_map(|step| step().err()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    #[test]
    fn steps_are_undone_in_reverse_and_an_error_does_not_stop_them() {
        let seen = RefCell::new(Vec::new());
        let mut undo = Undo::new();
        for step in 0..3 {
            let seen = &seen;
            undo.push(move || {
                seen.borrow_mut().push(step);
                if step == 1 { Err(Error::NoSuchContainer("one".into())) } else { Ok(()) }
            });
        }
        let error = undo.after(Error::NoSuchContainer("first".into()));
        assert_eq!(*seen.borrow(), [2, 1, 0]);
        assert_eq!(error.to_string(), "No such container: first\nNo such container: one");
    }
}
