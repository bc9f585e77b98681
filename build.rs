//! Says which kernel sets of ARM a target can have: `arm64` for 64-bit ARM with the byte order and the registers that the sets are written for, `neon32` for ARMv7,
//! which Rust does not say itself.
//!
//! Links the program that holds the converter at a fixed address: relocating tract's tables at every start would cost more memory than a network needs.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(arm64, neon32)");
    let target = |key: &str| env::var(format!("CARGO_CFG_TARGET_{key}")).unwrap_or_default();
    let has = |feature: &str| target("FEATURE").split(',').any(|f| f == feature);
    if target("ARCH") == "aarch64" && target("ENDIAN") == "little" && has("neon") {
        println!("cargo::rustc-cfg=arm64");
    }
    let name = env::var("TARGET").unwrap_or_default();
    if ["armv7", "thumbv7neon"].iter().any(|start| name.starts_with(start)) && name.contains("linux") {
        println!("cargo::rustc-cfg=neon32");
    }
    let dynamic = target("OS") == "linux" && target("ENV") == "gnu" && !has("crt-static");
    if dynamic && env::var_os("CARGO_FEATURE_CONVERT").is_some() {
        println!("cargo::rustc-link-arg-bins=-no-pie");
    }
}
