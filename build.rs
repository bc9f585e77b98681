//! Links the program that holds the converter at a fixed address: relocating tract's tables at every start would cost more memory than a network needs.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = |key: &str| env::var(format!("CARGO_CFG_TARGET_{key}")).unwrap_or_default();
    let dynamic = target("OS") == "linux" && target("ENV") == "gnu" && !target("FEATURE").split(',').any(|f| f == "crt-static");
    if dynamic && env::var_os("CARGO_FEATURE_CONVERT").is_some() {
        println!("cargo::rustc-link-arg-bins=-no-pie");
    }
}
