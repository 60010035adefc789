//! OCI bundles, image layouts and layers: the library `bundle` and the program `nbundle`

pub mod digest;
pub mod layer;
pub mod reason;
pub mod tarball;
