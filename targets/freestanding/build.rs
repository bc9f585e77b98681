//! Without std nobody asks for the C library, which brings the start-up code.

fn main() {
    println!("cargo::rerun-if-env-changed=STONE");
    println!("cargo::rustc-link-arg-bins=-lc");
}
