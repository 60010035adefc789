//! Reports of a run, for people and for programs.

mod text;

pub use text::text;
