//! How `nman` is linked.

use std::env;

fn main() {
    // Seven thousand addresses of its own data have to be set right when the program starts, which a container's monitor does once more.
    // As bits of a map instead of entries of 24 bytes they take 2 KB of the file instead of 170.
    println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    // The functions that every container needs lie together, so that the rest of the file is not even mapped. A development build has
    // others.
    if env::var("OPT_LEVEL").is_ok_and(|level| level != "0") {
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{}/layout.ld", env!("CARGO_MANIFEST_DIR"));
    }
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=layout.ld");
}
