//! OCI bundles, image layouts and layers: the library `bundle` and the program `nbundle`

pub mod archive;
pub mod config;
pub mod digest;
pub mod generate;
pub mod image;
pub mod layer;
pub mod layout;
pub mod platform;
pub mod reason;
pub mod tarball;

pub use config::{
    Checked, Error, Finding, Findings, Loaded, check, check_process, load, load_process, load_with,
    parse,
};
