//! Compiles the small init that `nman run --init` puts into containers: see `init/main.rs`.

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=init/main.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("init");
    let mut command = Command::new(env::var_os("RUSTC").expect("cargo sets it"));
    command
        .args(["--edition", "2024", "--crate-name", "init", "--crate-type", "bin"])
        .args(["-C", "opt-level=s", "-C", "panic=abort", "-C", "strip=symbols"])
        // At a fixed address: nothing has to be relocated, and all pages but one stay shared.
        .args(["-C", "relocation-model=static", "-C", "target-feature=+crt-static"])
        // It is static, whatever the rest is linked against.
        .arg("--target")
        .arg(env::var("TARGET").expect("cargo sets it").replace("-gnu", "-musl"))
        .arg("-o")
        .arg(&out)
        .arg("init/main.rs");
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        command.arg("-C").arg(format!("linker={}", PathBuf::from(linker).display()));
    }
    let status = command.status().expect("rustc can be run");
    assert!(status.success(), "rustc: {status}");
}
