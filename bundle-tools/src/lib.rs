//! OCI bundles, image layouts and layers: the library `bundle` and the program `nbundle`
