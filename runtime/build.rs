//! How `nrun` is linked.

fn main() {
    // Twelve thousand addresses of its own data have to be set right when the program starts. As bits of a map instead of entries of
    // 24 bytes they take 15 KB of the file instead of 390 KB, and as much less has to be read at each start.
    println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    println!("cargo::rerun-if-changed=build.rs");
}
