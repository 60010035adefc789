//! OCI bundles, image layouts and layers: the library `bundle` and the program `nbundle`

pub mod digest;
mod reason;
pub mod tarball;
