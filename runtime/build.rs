//! How `nrun` is linked.

use std::env;

fn main() {
    // Twelve thousand addresses of its own data have to be set right when the program starts. As bits of a map instead of entries of
    // 24 bytes they take 15 KB of the file instead of 390 KB, and as much less has to be read at each start.
    println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    // The functions that every container needs lie together, so that the rest of the file is not even mapped, and the tables by which
    // panics would be unwound are left out, because they end a release build at once. A development build
    // has others.
    if env::var("OPT_LEVEL").is_ok_and(|level| level != "0") {
        println!("cargo::rustc-link-arg-bins=-Wl,-T,{}/layout.ld", env!("CARGO_MANIFEST_DIR"));
    }
    // What `sys::early!` defines, with musl on x86-64, comes before the C library's own entry.
    let is = |variable, value| env::var(variable).is_ok_and(|text| text == value);
    if is("CARGO_CFG_TARGET_ARCH", "x86_64") && is("CARGO_CFG_TARGET_ENV", "musl") {
        println!("cargo::rustc-link-arg-bins=-Wl,--entry=nrun_entry");
    }
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=layout.ld");
}
