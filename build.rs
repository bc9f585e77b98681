//! Says which kernel sets of ARM a target can have: `arm64` for 64-bit ARM with the byte order and the registers that the sets are written for, `neon32` for ARMv7,
//! which Rust does not say itself.
//!
//! Links the program that holds the converter at a fixed address, and what tract runs before `main` in one place: relocating its tables at every start, and a
//! piece of code here and there among its megabytes, would cost more memory than a network needs. Takes the tables for unwinding out of the static programs of
//! the profile `device`, which ends at a panic.

use std::path::PathBuf;
use std::{env, fs};

// A program that ends at a panic needs no tables for unwinding.
const ABORT: &str = "SECTIONS { /DISCARD/ : { *(.eh_frame .eh_frame_hdr .gcc_except_table .gcc_except_table.*) } } INSERT AFTER .text;";

// tract registers its operators by constructors of the crate `inventory`. The system maps 64 KiB of a program around each place that runs.
const EARLY: &str = "SECTIONS { .text.early : { *(.text.startup .text.*inventory*) } } INSERT BEFORE .text;";

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
        link_with("early.ld", EARLY);
    }
    // Of the profile Cargo says no more than its folder: target/…/device/build/skipstone-…/out
    if target("ENV") == "musl" && out_dir().ancestors().nth(3).is_some_and(|folder| folder.ends_with("device")) {
        link_with("abort.ld", ABORT);
    }
}

fn out_dir() -> PathBuf {
    env::var_os("OUT_DIR").unwrap_or_default().into()
}

/// Adds a script to those of the linker.
fn link_with(name: &str, script: &str) {
    let path = out_dir().join(name);
    fs::write(&path, script).expect("OUT_DIR can be written to");
    println!("cargo::rustc-link-arg-bins=-T{}", path.display());
}
