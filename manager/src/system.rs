//! `nman system`: what there is as a whole.

mod check;
mod df;
mod prune;

pub use check::{Report, check};
pub use df::df;
pub use prune::SystemPrune;
pub(crate) use prune::section;
