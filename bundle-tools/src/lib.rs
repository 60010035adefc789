//! OCI bundles, image layouts and layers: the library `bundle` and the program `nbundle`

pub mod config;
pub mod generate;

pub use config::{
    Checked, Error, Finding, Findings, Loaded, check, check_process, load, load_process, parse,
};
