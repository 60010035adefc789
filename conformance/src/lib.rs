//! Conformance tests and benchmarks for any OCI runtime, and the fixtures they are made of.
//!
//! [`fixture`] holds what a test needs to run real containers without touching the host, [`leaks`]
//! finds what a run left behind, [`suite`] takes runtimes through the specification with the [`probe`] inside their
//! containers, [`bench`] compares runtimes side by side. The crate only
//! ever executes runtime binaries: it links none, so every runtime is judged by the same means.

pub mod attack;
pub mod bench;
pub mod contender;
pub mod engines;
pub mod fixture;
mod junit;
pub mod leaks;
pub mod managers;
pub mod probe;
pub mod suite;
mod sweep;
pub mod validation;
